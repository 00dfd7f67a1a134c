import { copy } from "../clipboard.js";

// <copy-answer> around a button in an answer's article
//
// Copies the answer's words as they are shown.
export class CopyAnswer extends HTMLElement {
  connectedCallback() {
    this.#button.hidden = false;
    this.#button.addEventListener("click", () => copy(this.#words, this.#button));
  }

  get #words() {
    const answer = this.closest(".message").querySelector("answer-text");
    // The style sheet hides the bars of code blocks while this is set: `innerText` is what is shown.
    answer.toggleAttribute("copying", true);
    const words = answer.innerText;
    answer.toggleAttribute("copying", false);
    return words.trim();
  }

  get #button() {
    return this.querySelector("button");
  }
}

customElements.define("copy-answer", CopyAnswer);
