import { announce } from "../announcer.js";
import { parseOwn } from "../markup.js";
import { post } from "../post.js";

// <answer-rating> around two buttons, each with what it says in `data-rating`, and in `value` what its press would say,
// and a link (.rating__why) to the page where a reason is given
//
// Sends what a press says in the background. A press of what is pressed takes it back. Who has rated is asked for a
// reason in this place; Escape leaves that out.
export class AnswerRating extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => this.#clicked(event));
    this.addEventListener("submit", (event) => this.#send(event));
    this.addEventListener("keydown", (event) => event.key === "Escape" && this.#leave());
  }

  #clicked(event) {
    const thumb = event.target.closest("[data-rating]");
    if (thumb) {
      event.preventDefault(); // or the form would be sent, without what the button says
      this.#press(thumb);
    } else if (event.target.closest(".rating__why, .reason__leave") && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#form ? this.#leave() : this.#ask({ focus: true });
    }
  }

  async #press(thumb) {
    if (this.ariaBusy === "true") {
      return;
    }
    this.ariaBusy = "true";
    const { problem } = await post(thumb.formAction, new FormData(thumb.form, thumb));
    this.ariaBusy = null;
    thumb.form.parentElement.querySelector("[role=alert]").textContent = problem ?? "";
    if (!problem) {
      this.#show(thumb.value);
    }
  }

  #show(rating) {
    for (const thumb of this.#thumbs) {
      const said = thumb.dataset.rating;
      thumb.ariaPressed = String(said === rating);
      thumb.value = said === rating ? "0" : said;
    }
    this.#form?.remove();
    this.#why.hidden = rating === "0";
    if (rating !== "0") {
      this.#ask();
    }
  }

  /** Put the form in; where it cannot be had, the link is there. */
  async #ask({ focus = false } = {}) {
    const pressed = this.#pressed;
    const response = await fetch(this.#why.href, { headers: { Accept: "application/json" } }).catch(() => null);
    const body = response?.ok ? await response.json().catch(() => null) : null;
    if (!body?.html || this.#form || pressed !== this.#pressed) {
      return;
    }
    this.append(...parseOwn(body.html));
    this.#why.hidden = true;
    this.#form.scrollIntoView({ block: "nearest" });
    if (focus) {
      this.#form.querySelector("input:checked, [type=radio]").focus();
    } else {
      announce("Noted. You can say why.");
    }
  }

  async #send(event) {
    event.preventDefault();
    const form = this.#form;
    if (form.ariaBusy === "true") {
      return;
    }
    form.ariaBusy = "true";
    const { problem } = await post(form.action, new FormData(form));
    form.ariaBusy = null;
    form.querySelector("[role=alert]").textContent = problem ?? "";
    if (!problem && form.isConnected) {
      this.#leave();
      announce("Thank you, that is noted.");
    }
  }

  #leave() {
    if (this.#form) {
      const hadFocus = this.contains(document.activeElement);
      this.#form.remove();
      this.#why.hidden = false;
      if (hadFocus) {
        this.#pressed.focus();
      }
    }
  }

  get #thumbs() {
    return this.querySelectorAll("[data-rating]");
  }

  get #pressed() {
    return this.querySelector("[aria-pressed=true]");
  }

  get #why() {
    return this.querySelector(".rating__why");
  }

  get #form() {
    return this.querySelector("form");
  }
}

customElements.define("answer-rating", AnswerRating);
