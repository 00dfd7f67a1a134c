// What the page has added to an answer's HTML, and what that was before.

/** Elements that the page has made something else of. */
export const REMADE = ".formula, .footnote-mark, code[highlighted]";

/** Elements that the page has put there: they are no part of an answer. */
export const OWN = "button, .code__note, diagram-frame";

/** Attributes that tell one element of an answer from another of its name. */
export const TELLING = ["class", "href", "start"];

/** Return the text that an element was made of. */
export function sourceOf(node) {
  return (node.querySelector(".formula__source") ?? node).textContent;
}
