import { post } from "../post.js";

// <verdict-form> around a form with radio buttons, a text and a button
//
// Keeps a verdict as soon as it is chosen, and the text with it. Event: `answer-judged` on the way up.
export class VerdictForm extends HTMLElement {
  connectedCallback() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keep();
    });
    this.#form.addEventListener("change", () => this.#keep());
  }

  async #keep() {
    this.#say("Keeping …");
    const { problem } = await post(this.#form.action, new FormData(this.#form));
    this.#say(problem ?? "Kept.");
    if (!problem) {
      this.dispatchEvent(new CustomEvent("answer-judged", { bubbles: true }));
    }
  }

  #say(sentence) {
    this.querySelector("[role=status]").textContent = sentence;
  }

  get #form() {
    return this.querySelector("form");
  }
}

customElements.define("verdict-form", VerdictForm);
