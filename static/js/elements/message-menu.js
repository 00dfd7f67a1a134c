import { moveByArrow, openBeside } from "../menu.js";

// <message-menu> around a button and the popover (.menu) that it opens
//
// What is seldom done with a message. Without scripts the browser opens the menu by itself; here it stands beside its
// button, and the arrows lead through it.
export class MessageMenu extends HTMLElement {
  connectedCallback() {
    this.#button.addEventListener("click", (event) => this.#toggle(event));
    this.#menu.addEventListener("keydown", (event) => moveByArrow(this.#menu, event));
    this.#menu.addEventListener("click", ({ target }) => target.closest("button") && this.#menu.hidePopover());
  }

  #toggle(event) {
    event.preventDefault(); // the browser's own way, which knows no place
    if (this.#menu.matches(":popover-open")) {
      this.#menu.hidePopover();
    } else {
      openBeside(this.#menu, this.#button);
    }
  }

  get #button() {
    return this.querySelector("button");
  }

  get #menu() {
    return this.querySelector(".menu");
  }
}

customElements.define("message-menu", MessageMenu);
