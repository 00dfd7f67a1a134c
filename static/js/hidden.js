// Characters that nobody sees and a model reads: whole sentences can stand in them. Pure: no page needed.
//
// Tags, what turns text around, and several selectors or joiners in a row, since one of each has its use in emoji and in
// many scripts; so have tags in the flags of regions.
const HIDDEN = new RegExp(
  [
    "(\\u{1F3F4}[\\u{E0020}-\\u{E007E}]{1,6}\\u{E007F})",
    "[\\u{E0000}-\\u{E007F}\\u202A-\\u202E\\u2066-\\u2069]",
    "[\\uFE00-\\uFE0F\\u{E0100}-\\u{E01EF}]{2,}",
    "[\\u200B-\\u200D\\u2060-\\u2064\\uFEFF]{2,}",
  ].join("|"),
  "gu",
);

/** Return `text` without what is hidden in it. */
export function withoutHidden(text) {
  return text.replace(HIDDEN, (_, flag) => flag ?? "");
}

/** Return how many characters are hidden in `text`. */
export function countHidden(text) {
  const seen = withoutHidden(text);
  return seen === text ? 0 : [...text].length - [...seen].length; // nothing is counted as long as nothing is hidden
}
