import { post } from "../post.js";

// <answer-rating> around two buttons, each with what it says in `data-rating`, and in `value` what its press would say
//
// Sends what a press says in the background. A press of what is pressed takes it back.
export class AnswerRating extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => this.#press(event));
  }

  async #press(event) {
    const button = event.target.closest("button");
    if (!button) {
      return;
    }
    event.preventDefault(); // or the form would be sent, without what the button says
    if (this.ariaBusy === "true") {
      return;
    }
    this.ariaBusy = "true";
    const { problem } = await post(button.formAction, new FormData(button.form, button));
    this.ariaBusy = null;
    button.form.parentElement.querySelector("[role=alert]").textContent = problem ?? "";
    if (!problem) {
      this.#show(button.value);
    }
  }

  #show(rating) {
    for (const button of this.querySelectorAll("button")) {
      const said = button.dataset.rating;
      button.ariaPressed = String(said === rating);
      button.value = said === rating ? "0" : said;
    }
  }
}

customElements.define("answer-rating", AnswerRating);
