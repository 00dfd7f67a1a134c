import { post } from "../post.js";

// <message-actions> around one form that the buttons of all messages belong to
//
// Sends what such a button asks for in the background; what comes of it comes as news. Event: `deleted` (detail:
// {restore}, where to have it back) on the document.
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
    const { body, problem } = await post(button.formAction, new FormData(this.#form));
    button.ariaBusy = null;
    this.querySelector("[role=alert]").textContent = problem ?? "";
    if (body?.restore) {
      document.dispatchEvent(new CustomEvent("deleted", { detail: { ...body, takesFocus: true } }));
    }
  }

  get #form() {
    return this.querySelector("form");
  }
}

customElements.define("message-actions", MessageActions);
