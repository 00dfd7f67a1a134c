import { parseOwn } from "../markup.js";

// <earlier-messages src="/messages/…/earlier/"> around a link to the same
//
// Puts the messages above in its place when the link is followed, and leaves what is read where it is.
export class EarlierMessages extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => this.#follow(event));
  }

  async #follow(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    if (this.ariaBusy === "true") {
      return;
    }
    this.ariaBusy = "true";
    const response = await fetch(this.getAttribute("src")).catch(() => null);
    if (!response?.ok || response.redirected) {
      location.assign(link.href); // the page says what is wrong
      return;
    }
    const messages = parseOwn(await response.text());
    this.#putIn(messages.filter(({ id }) => !id || !document.getElementById(id)));
  }

  #putIn(messages) {
    const { scrollingElement } = document;
    const below = scrollingElement.scrollHeight - scrollingElement.scrollTop;
    this.replaceWith(...messages);
    scrollingElement.scrollTop = scrollingElement.scrollHeight - below;
    messages.at(-1)?.querySelector("a, button")?.focus({ preventScroll: true });
  }
}

customElements.define("earlier-messages", EarlierMessages);
