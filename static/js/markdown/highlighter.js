// Has the server highlight code that is finished while the rest of its answer is still being written: what comes is
// what the stored answer will have. One request at a time; what is finished meanwhile goes with the next.

import { KINDS } from "./allowed.js";

const ADDRESS = "/highlight/";
const LONGEST = 15_000; // characters of a block; the server takes no longer one
const MOST = 8; // blocks that wait; of a long text that came at once, the last ones
const PATIENCE = 5000; // milliseconds

// Those of chat/markdown.py.
const LANGUAGES = new Set([
  ...["bash", "c", "c#", "c++", "clojure", "cpp", "cs", "csharp", "css", "dart", "diff", "docker", "dockerfile"],
  ...["elixir", "erlang", "go", "graphql", "haskell", "html", "ini", "java", "javascript", "js", "json", "jsx"],
  ...["julia", "kotlin", "lua", "make", "makefile", "markdown", "md", "nginx", "objective-c", "perl", "php"],
  ...["powershell", "ps1", "py", "py3", "pycon", "python", "python3", "r", "rb", "ruby", "rs", "rust", "scala"],
  ...["scss", "sh", "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "vim", "xml", "yaml", "yml"],
  ...["zig", "zsh"],
]);

let isAsking = false;
let waiting = [];

/** Return the code in colours that a page has, by its text. */
export function coloredIn(page) {
  return new Map([...page.querySelectorAll("pre > code:has(span)")].map((code) => [code.textContent, code]));
}

/**
 * Have the code of a block shown in colours, if its language is known. Where the server cannot, it stays plain.
 *
 * @param {Element} block
 * @param {Map<string, Element>} colored code that is known in colours, by its text
 */
export async function highlight(block, colored) {
  const code = block.querySelector("code");
  const known = colored.get(code.textContent);
  if (known) {
    replace(code, known);
    return;
  }
  if (!LANGUAGES.has(languageOf(block)) || code.textContent.length > LONGEST) {
    return;
  }
  waiting = [...waiting, block].slice(-MOST);
  if (isAsking) {
    return;
  }
  isAsking = true;
  await Promise.resolve(); // what was finished in the same moment goes along
  while (waiting.length > 0) {
    const blocks = waiting.filter((block) => block.isConnected);
    waiting = [];
    await highlightAll(blocks);
  }
  isAsking = false;
}

async function highlightAll(blocks) {
  const asked = blocks.map((block) => ({ language: languageOf(block), code: block.querySelector("code").textContent }));
  const answers = asked.length > 0 ? await ask(asked) : [];
  for (const [place, pieces] of answers.entries()) {
    show(blocks[place], asked[place].code, pieces);
  }
}

/** Return the pieces of each, `[kind, text]`; nothing where the server cannot be asked or says no. */
async function ask(blocks) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  try {
    const response = await fetch(ADDRESS, {
      method: "POST",
      body: JSON.stringify({ blocks }),
      headers: { "Content-Type": "application/json", "X-CSRFToken": token },
      signal: AbortSignal.timeout(PATIENCE),
    });
    return response.ok && !response.redirected ? (await response.json()).blocks : [];
  } catch {
    return [];
  }
}

function show(block, source, pieces) {
  const plain = block.querySelector("code");
  if (!block.isConnected || plain.textContent !== source || isSelected(plain)) {
    return;
  }
  const code = document.createElement("code");
  code.append(...pieces.map(toNode));
  if (code.textContent === source) {
    replace(plain, code);
  }
}

function replace(plain, code) {
  code.toggleAttribute("highlighted", true);
  plain.replaceWith(code);
}

function toNode([kind, text]) {
  if (!KINDS.has(kind)) {
    return text;
  }
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  return span;
}

function isSelected(node) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(node, true);
}

function languageOf(block) {
  return block.querySelector(".code__bar > span").textContent.toLowerCase();
}
