// The one place where HTML that our own server rendered becomes nodes. A model's words come through
// markdown/sanitizer.js instead.

const policy = globalThis.trustedTypes?.createPolicy("parley", { createHTML: (html) => html });

/** Return a page from our server as a document that nobody sees. */
export function parseOwnPage(html) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
}

/** Return the elements of HTML from our server. */
export function parseOwn(html) {
  const template = document.createElement("template");
  template.innerHTML = policy ? policy.createHTML(html) : html;
  return [...template.content.children];
}
