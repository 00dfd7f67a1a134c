// The last step before a model's words get into the page: nothing passes but what is allowed.

import DOMPurify from "../../vendor/dompurify.js";
import { ATTRIBUTES, allowedClasses, LINKS, TAGS } from "./allowed.js";

const OPTIONS = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ATTRIBUTES,
  ALLOWED_URI_REGEXP: LINKS,
  ADD_URI_SAFE_ATTR: ["start"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook("uponSanitizeAttribute", (node, attribute) => {
  if (attribute.attrName === "class") {
    attribute.attrValue = allowedClasses(node.localName, attribute.attrValue).join(" ");
    attribute.keepAttr = attribute.attrValue !== "";
  }
  if (attribute.attrName === "start") {
    attribute.keepAttr = node.localName === "ol";
  }
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.localName === "a") {
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
  }
});

/**
 * Return hostile HTML as nodes that are safe in the page.
 *
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function sanitize(html) {
  return DOMPurify.sanitize(html, OPTIONS);
}
