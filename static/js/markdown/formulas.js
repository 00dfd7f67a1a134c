// Where a formula stands in Markdown: `$$…$$`, `\[…\]`, `\(…\)` and, guarded, `$…$`; chat/formulas.py finds the same ones.

const LONGEST = 2000; // characters of a formula: what opens and never closes must not be slow
const LONGEST_OPEN = 300; // characters that are held back: it may be no formula at all
const MOST_LINES = 50; // of a formula that is a block of its own
const CLOSINGS = { $$: "$$", "\\[": "\\]", "\\(": "\\)" };

// Prices: a dollar sign behind a letter opens nothing, one before a letter or a digit closes nothing.
const DOLLARS = /^\$(?![\s$])((?:\\[^\n]|[^$\\\n]){1,500})(?<!\s)\$(?![\p{L}\p{N}_$])/u;
const PRICE = /^\d(?!\S*$)[^\\^_=+<>{}]*$/;
const BEHIND_LETTER = /[\p{L}\p{N}$\\]$/u;

/**
 * Return the formula that `text` begins with, or null.
 *
 * @param {string} text
 * @param {string} before what stands before it, or its last character
 */
export function formulaIn(text, before) {
  const closing = CLOSINGS[text.slice(0, 2)];
  if (closing === undefined) {
    return formulaBetweenDollars(text, before);
  }
  const end = text.slice(0, LONGEST).indexOf(closing, 2);
  return text.slice(2, Math.max(end, 2)).trim() ? text.slice(0, end + 2) : null;
}

const NO_MORE = /^\s*(?:$|\\\[)/; // lines that are in no formula: empty ones, and the beginning of another

/**
 * Return the lines that `text` begins with, if they are a formula and nothing else, or null. One that is not closed yet
 * is open: its lines could be those of a list or a table, but are not.
 *
 * @returns {?{raw: string, isOpen: boolean}}
 */
export function formulaBlockIn(text) {
  const opening = /^ {0,3}(\$\$|\\\[)/.exec(text);
  if (opening === null) {
    return null;
  }
  const closing = CLOSINGS[opening[1]];
  const lines = text.slice(opening[0].length).split("\n", MOST_LINES);
  const last = lines.findIndex((line, place) => line.includes(closing) || (place > 0 && NO_MORE.test(line)));
  const end = lines[last]?.indexOf(closing) ?? -1;
  if (end >= 0 && !lines[last].slice(end + 2).trim()) {
    return { raw: opening[0] + lines.slice(0, last + 1).join("\n"), isOpen: false };
  }
  const isOpen = lines.length < MOST_LINES && (last < 0 || (last === lines.length - 1 && !lines[last].trim()));
  return isOpen ? { raw: text, isOpen } : null;
}

/** Return Markdown that is still growing without the formula at its end that is not closed yet. */
export function withoutOpenFormula(text) {
  const begin = Math.max(text.lastIndexOf("\\("), text.lastIndexOf("\\["));
  if (begin < Math.max(0, text.length - LONGEST_OPEN)) {
    return text;
  }
  const half = text.slice(begin);
  const isOver = half.includes(CLOSINGS[half.slice(0, 2)]) || /\n[ \t]*\n/.test(half);
  const ticks = text.slice(text.lastIndexOf("\n\n", begin) + 1, begin).split("`").length - 1;
  return isOver || ticks % 2 === 1 ? text : text.slice(0, begin); // within code it is code
}

function formulaBetweenDollars(text, before) {
  const found = BEHIND_LETTER.test(before) ? null : DOLLARS.exec(text);
  return found && !PRICE.test(found[1]) ? found[0] : null;
}
