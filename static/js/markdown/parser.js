// Markdown to HTML that is not safe yet, the same way as the server does it in chat/markdown.py. Pure: no page needed.

import { Lexer, Marked, Renderer } from "../../vendor/marked.js";
import { formulaBlockIn, formulaIn } from "./formulas.js";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const LONGEST_LANGUAGE = 30; // characters
const LONGEST_PARAGRAPH = 5000; // characters in which a formula is looked for

const skip = () => undefined; // a tokenizer's "nothing of mine begins here"

const renderer = {
  code({ text, lang }) {
    const language = (lang?.match(/\S+/)?.[0] ?? "text").slice(0, LONGEST_LANGUAGE);
    const code = text.endsWith("\n") ? text : `${text}\n`;
    return `<div class="code"><div class="code__bar"><span>${escapeHtml(language)}</span></div><pre><code>${escapeHtml(code)}</code></pre></div>\n`;
  },
  table(token) {
    return `<div class="table">${Renderer.prototype.table.call(this, token)}</div>\n`;
  },
  tablecell({ tokens, header, align }) {
    const tag = header ? "th" : "td";
    const side = align ? ` class="align-${align}"` : "";
    return `<${tag}${side}>${this.parser.parseInline(tokens)}</${tag}>\n`;
  },
  link({ href, raw, tokens }) {
    const target = targetOf(href);
    if (target === null) {
      return escapeHtml(raw);
    }
    const outer = this.inLink;
    this.inLink = true;
    const words = this.parser.parseInline(tokens);
    this.inLink = outer;
    return `<a href="${escapeHtml(target)}" title="${escapeHtml(target)}">${words}</a>`;
  },
  // An image is fetched without a click, and its address can carry away what was said.
  image({ href, raw, text }) {
    const target = targetOf(href);
    const words = escapeHtml(text || href);
    if (this.inLink) {
      return words;
    }
    return target === null
      ? escapeHtml(raw)
      : `<a href="${escapeHtml(target)}" title="${escapeHtml(target)}">${words}</a>`;
  },
  del({ tokens }) {
    return `<s>${this.parser.parseInline(tokens)}</s>`;
  },
  checkbox({ checked }) {
    return checked ? '<span class="task task--done">☑</span> ' : '<span class="task">☐</span> ';
  },
  html({ raw }) {
    return escapeHtml(raw);
  },
};

const FOOTNOTE_MARK = /^\[\^([^\]\s]{1,30})\]/;
// The lines behind a footnote's first belong to it, up to an empty one or the next footnote.
const FOOTNOTE = /^ {0,3}\[\^([^\]\s]{1,30})\]:[ \t]+(?=\S)(.*(?:\n(?! {0,3}\[\^[^\]\s]{1,30}\]:)[ \t]*\S.*)*)/;

const formula = {
  name: "formula",
  level: "block",
  // Where a paragraph may end and a formula begin.
  start: (text) => /\n {0,3}(?:\$\$|\\\[)/.exec(text.slice(0, LONGEST_PARAGRAPH))?.index + 1 || undefined,
  tokenizer(text) {
    const found = formulaBlockIn(text);
    return found ? { type: "formula", ...found } : undefined;
  },
  renderer: ({ raw, isOpen }) => `<div class="formula">${isOpen ? "" : escapeHtml(raw.trim())}</div>\n`,
};

const formulaInLine = {
  name: "formulaInLine",
  level: "inline",
  start: (text) => text.slice(0, LONGEST_PARAGRAPH).indexOf("$"),
  tokenizer(text, tokens) {
    const raw = formulaIn(text, tokens.at(-1)?.raw ?? "");
    return raw ? { type: "formulaInLine", raw } : undefined;
  },
  renderer: ({ raw }) => `<span class="formula">${escapeHtml(raw)}</span>`,
};

const footnote = {
  name: "footnote",
  level: "block",
  tokenizer(text) {
    const found = FOOTNOTE.exec(text);
    if (found === null) {
      return undefined;
    }
    const [raw, label, words] = found;
    return { type: "footnote", raw, label, tokens: this.lexer.inline(words.replaceAll(/^[ \t]+|[ \t]+$/gm, "")) };
  },
  renderer({ label, tokens }) {
    return `<div class="footnote"><sup>${escapeHtml(label)}</sup> ${this.parser.parseInline(tokens)}</div>\n`;
  },
};

// A mark stands before its footnote comes: where none does, the server's HTML has it as text.
const footnoteMark = {
  name: "footnoteMark",
  level: "inline",
  tokenizer(text) {
    const [raw, label] = FOOTNOTE_MARK.exec(text) ?? [];
    return raw ? { type: "footnoteMark", raw, label } : undefined;
  },
  renderer: ({ label }) => `<sup class="footnote-mark">${escapeHtml(label)}</sup>`,
};

const marked = new Marked({
  breaks: true,
  renderer,
  tokenizer: { html: skip, tag: skip, url: skip }, // HTML and bare addresses are text
}).use({ extensions: [formula, formulaInLine, footnote, footnoteMark] });

/**
 * Split Markdown into block tokens.
 *
 * @param {string} text
 * @param {Object} links the definitions (`[a]: …`) that stand before it, by name
 */
export function lex(text, links = {}) {
  const lexer = new Lexer(marked.defaults);
  Object.assign(lexer.tokens.links, links);
  return lexer.lex(text);
}

/** Return the HTML of block tokens. It must go through the sanitizer. */
export function toHtml(tokens) {
  return marked.parser(tokens);
}

/** Return where a link leads, if it may lead there: somewhere else, by its full address. */
function targetOf(href) {
  try {
    const url = new URL(href);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function escapeHtml(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}
