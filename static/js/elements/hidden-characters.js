import { countHidden, withoutHidden } from "../hidden.js";

// <hidden-characters> in a form with one text box
//
// Tells how many characters of what is written nobody sees, since a model reads them, and takes them out when asked to.
export class HiddenCharacters extends HTMLElement {
  #count = 0;

  connectedCallback() {
    this.role = "status";
    this.#box.addEventListener("input", () => this.look());
    this.look();
  }

  /** Look at what the box holds now. */
  look() {
    const count = countHidden(this.#box.value);
    if (count !== this.#count) {
      this.#count = count;
      this.replaceChildren(...(count ? [inWords(count), this.#makeButton()] : []));
    }
  }

  #makeButton() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = this.#count === 1 ? "Remove it" : "Remove them";
    button.addEventListener("click", () => this.#remove());
    return button;
  }

  #remove() {
    this.#box.value = withoutHidden(this.#box.value);
    this.#box.dispatchEvent(new Event("input", { bubbles: true }));
    this.#box.focus();
  }

  get #box() {
    return this.closest("form").querySelector("textarea");
  }
}

function inWords(count) {
  return count === 1
    ? "A character in this text cannot be seen, but the model reads it."
    : `${count.toLocaleString("en")} characters in this text cannot be seen, but the model reads them.`;
}

customElements.define("hidden-characters", HiddenCharacters);
