import { post } from "../post.js";

// <message-actions> around one form that all Stop and Try-again buttons of the page belong to
//
// Sends what such a button asks for in the background; what comes of it comes as news.
export class MessageActions extends HTMLElement {
  connectedCallback() {
    this.#form.addEventListener("submit", (event) => this.#submit(event));
  }

  async #submit(event) {
    event.preventDefault();
    const button = event.submitter;
    if (button.ariaBusy === "true") {
      return;
    }
    button.ariaBusy = "true";
    const { problem } = await post(button.formAction, new FormData(this.#form));
    button.ariaBusy = null;
    this.querySelector("[role=alert]").textContent = problem ?? "";
  }

  get #form() {
    return this.querySelector("form");
  }
}

customElements.define("message-actions", MessageActions);
