// Changes nodes into others while it leaves alone what is the same: what a reader has selected, scrolled or focused in
// the block that is still growing stays so.

import { OWN, REMADE, sourceOf, TELLING } from "./added.js";

/**
 * Put `after` where `before` is.
 *
 * @param {Element} parent of `before`, which is at its end
 * @param {Node[]} before
 * @param {Node[]} after nodes that are in no page yet
 * @returns {Node[]} what is in the page now: of each pair the former where that could be kept
 */
export function patch(parent, before, after) {
  const now = after.map((node, place) => {
    const former = before[place];
    if (former === undefined) {
      parent.append(node);
    } else if (isAlike(former, node)) {
      update(former, node);
      return former;
    } else {
      former.replaceWith(node);
    }
    return node;
  });
  for (const node of before.slice(after.length)) {
    node.remove();
  }
  return now;
}

function isAlike(former, node) {
  if (former.nodeName !== node.nodeName || node.nodeType === Node.TEXT_NODE) {
    return former.nodeName === node.nodeName;
  }
  const isSame = TELLING.every(isEqual(former, node));
  return isSame && (!former.matches(REMADE) || sourceOf(former) === sourceOf(node));
}

function isEqual(former, node) {
  return (name) => former.getAttribute(name) === node.getAttribute(name);
}

function update(former, node) {
  if (node.nodeType !== Node.TEXT_NODE) {
    if (!former.matches(REMADE)) {
      const children = [...former.childNodes].filter((child) => !child.matches?.(OWN));
      patch(former, children, [...node.childNodes]);
    }
  } else if (node.data.startsWith(former.data)) {
    former.appendData(node.data.slice(former.data.length));
  } else {
    former.data = node.data;
  }
}
