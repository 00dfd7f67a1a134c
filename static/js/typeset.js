// Shows formulas as people write them. KaTeX is large: it is fetched when there is a formula to show.

import { persist } from "./persist.js";

const SLICE = 20; // milliseconds that may pass before the page gets its turn
const OPTIONS = { maxExpand: 300, maxSize: 20, strict: "ignore", throwOnError: true, trust: false };

let katex = null;
const waiting = new Set();

/**
 * Show each of the elements, which hold a formula's source between its marks, as that formula. What KaTeX cannot read
 * stays as it was written.
 */
export async function typeset(elements) {
  const isBusy = waiting.size > 0;
  for (const element of elements) {
    waiting.add(element);
  }
  if (isBusy || waiting.size === 0) {
    return;
  }
  katex ??= load();
  await showAll(await katex);
}

async function load() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("../vendor/katex.css", import.meta.url);
  document.head.append(style);
  try {
    return (await persist(() => import("../vendor/katex.js"))).default;
  } catch {
    katex = null; // the next formula tries again
    return null;
  }
}

async function showAll(library) {
  let begin = performance.now();
  for (const element of waiting) {
    waiting.delete(element);
    if (library && element.isConnected && !element.hasAttribute("typeset")) {
      show(library, element);
    }
    if (performance.now() - begin > SLICE) {
      await new Promise((go) => setTimeout(go));
      begin = performance.now();
    }
  }
}

function show(library, element) {
  const source = element.textContent;
  const marks = /^\$(?!\$)/.test(source) ? 1 : 2;
  const shown = document.createElement("span");
  shown.className = "formula__shown";
  try {
    const options = { ...OPTIONS, displayMode: /^(?:\$\$|\\\[)/.test(source) };
    const formula = library.__renderToDomTree(source.slice(marks, -marks), options);
    keepStyles(formula);
    shown.append(formula.toNode());
  } catch {
    return;
  }
  const kept = document.createElement("span");
  kept.className = "formula__source";
  kept.textContent = source;
  element.replaceChildren(kept, shown);
  element.toggleAttribute("typeset", true);
}

/** Have the parts of a formula set their styles by script: the CSP allows no `style` attribute. */
function keepStyles(part) {
  const style = part.attributes?.style;
  if (style) {
    delete part.attributes.style;
    const toNode = part.toNode;
    part.toNode = () => {
      const node = toNode.call(part);
      node.style.cssText = style;
      return node;
    };
  }
  part.children?.forEach(keepStyles);
}
