import { anticipate } from "../anticipated.js";

// <first-question> around .messages, which is hidden, and .welcome with the composer
//
// Shows the first question of a conversation at once, with the composer where the conversation's own page will have it.
// If the question is refused or has to wait, the welcome is back.
export class FirstQuestion extends HTMLElement {
  connectedCallback() {
    this.addEventListener("message-sending", (event) => this.#show(event));
    this.addEventListener("message-withdrawn", () => this.#leave());
  }

  #show(event) {
    event.preventDefault(); // from here on it is shown here
    const [question, answer] = anticipate(event.detail);
    question.removeAttribute("id"); // the server does not have it yet
    this.#messages.replaceChildren(question, answer);
    this.#messages.hidden = false;
  }

  #leave() {
    this.#messages.hidden = true;
    this.#messages.replaceChildren();
  }

  get #messages() {
    return this.querySelector(".messages");
  }
}

customElements.define("first-question", FirstQuestion);
