// Has stored HTML take the place of what was streamed, and leaves alone what is the same already: nothing jumps, what a
// reader has selected, scrolled or opened stays so, and the page is not laid out anew as a whole.

import { OWN, REMADE, sourceOf, TELLING } from "./added.js";

const SLICE = 8; // milliseconds that may pass before the page gets its turn

/**
 * Make what is in `page` what is in `stored`, piece by piece.
 *
 * @param {Element} page
 * @param {Element} stored in no page yet
 */
export async function settle(page, stored) {
  let next = page.firstChild;
  let begin = -Infinity; // what ended the answer has taken its time already
  for (const node of [...stored.childNodes]) {
    if (performance.now() - begin > SLICE) {
      await new Promise((go) => setTimeout(go));
      begin = performance.now();
    }
    const former = next;
    next = behind(former, node);
    if (next === former) {
      page.insertBefore(node, former);
    } else if (!isSame(former, node)) {
      former.replaceWith(node);
      await null; // what the page makes of it takes the most time
    }
  }
  removeFrom(next);
}

/** Return what follows when `node` stands where `former` does: that itself, if `node` has to be put in before it. */
function behind(former, node) {
  const isMissing = former === null || (node.nodeType === Node.TEXT_NODE && former.nodeType !== Node.TEXT_NODE);
  return isMissing ? former : former.nextSibling;
}

function removeFrom(node) {
  for (let former = node; former !== null; ) {
    const next = former.nextSibling;
    former.remove();
    former = next;
  }
}

function isSame(former, node) {
  if (former.nodeName !== node.nodeName) {
    return false;
  }
  if (node.nodeType !== Node.ELEMENT_NODE) {
    return withoutBreaks(former) === withoutBreaks(node);
  }
  if (!hasAttributesOf(former, node)) {
    return false;
  }
  if (node.matches(REMADE)) {
    return sourceOf(former) === sourceOf(node);
  }
  const [shown, stored] = [former, node].map(partsOf);
  return shown.length === stored.length && stored.every((part, place) => isSame(shown[place], part));
}

function hasAttributesOf(former, node) {
  const names = [...node.getAttributeNames(), ...TELLING]; // those may be gone in the stored HTML, too
  return names.every((name) => former.getAttribute(name) === node.getAttribute(name));
}

function partsOf(node) {
  return [...node.childNodes].filter((child) => (child.matches ? !child.matches(OWN) : withoutBreaks(child)));
}

/** Return the words of a text, without the line breaks at its ends: those that show are elements. */
function withoutBreaks({ data, parentElement }) {
  return parentElement?.localName === "code" ? data : data.replaceAll(/^\n+|\n+$/g, "");
}
