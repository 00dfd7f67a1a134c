import { post } from "../post.js";
import { makeUuid } from "../uuid.js";

// <message-composer> around the form
//
// Sends the form in the background and keeps what is written until the server has it: over an error, over signing in
// again, over a reload. Enter sends, Shift+Enter begins a new line. Events: `message-sent` (detail: the message's id,
// and the url of its conversation).
export class MessageComposer extends HTMLElement {
  connectedCallback() {
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#box.addEventListener("input", () => this.#typed());
    this.#box.addEventListener("keydown", (event) => this.#pressed(event));
    this.#stop?.addEventListener("click", () => this.#aimStop());
    document.addEventListener("answer-ended", this.#answerEnded);
    this.#box.value ||= sessionStorage.getItem(this.#draft) ?? "";
    this.#showSendable();
  }

  disconnectedCallback() {
    document.removeEventListener("answer-ended", this.#answerEnded);
  }

  #submit(event) {
    event.preventDefault();
    if (this.#isSendable) {
      this.#send();
    }
  }

  async #send() {
    this.#busy = true;
    this.#say("");
    const { body, problem } = await post(this.#form.action, new FormData(this.#form));
    if (problem) {
      this.#busy = false;
      this.#say(problem);
    } else if (body.url === location.pathname) {
      this.#busy = false;
      this.#beginAnew(body.url);
    } else {
      sessionStorage.removeItem(this.#draft);
      location.assign(body.url); // and stay busy until that page is there
    }
    this.#showSendable();
    this.#box.focus();
  }

  #beginAnew(url) {
    const id = this.#id.value;
    this.#id.value = makeUuid();
    this.#box.value = "";
    this.#typed();
    this.dispatchEvent(new CustomEvent("message-sent", { bubbles: true, detail: { id, url } }));
  }

  #typed() {
    sessionStorage.setItem(this.#draft, this.#box.value);
    this.#showSendable();
  }

  #pressed(event) {
    // While an input method composes a word, Enter belongs to it.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#form.requestSubmit();
    }
  }

  /** Have the Stop button stop the answer that is being written now, not the one when the page was made. */
  #aimStop() {
    const url = this.#running?.getAttribute("stop");
    if (url) {
      this.#stop.formAction = url;
    }
  }

  #answerEnded = () => {
    const { activeElement } = document;
    // The Stop button has just gone.
    if (activeElement === this.#stop || activeElement === document.body) {
      this.#box.focus({ preventScroll: true });
    }
    this.#showSendable();
  };

  #fit() {
    // Browsers without `field-sizing` do not let a text box grow with its text.
    if (!CSS.supports("field-sizing", "content")) {
      this.#box.style.height = "auto";
      this.#box.style.height = `${this.#box.scrollHeight}px`;
    }
  }

  #showSendable() {
    this.#fit();
    this.#sendButton.disabled = this.#isEmpty || this.#busy;
  }

  #say(problem) {
    this.querySelector(".composer__problem").textContent = problem;
  }

  get #isSendable() {
    return !this.#isEmpty && !this.#busy && this.#running === null;
  }

  get #isEmpty() {
    return this.#box.value.trim() === "";
  }

  get #busy() {
    return this.#form.ariaBusy === "true";
  }

  set #busy(value) {
    this.#form.ariaBusy = String(value);
  }

  get #running() {
    return document.querySelector("streaming-answer");
  }

  get #draft() {
    return `draft:${location.pathname}`;
  }

  get #form() {
    return this.querySelector("form");
  }

  get #id() {
    return this.querySelector("[name=id]");
  }

  get #box() {
    return this.querySelector("textarea");
  }

  get #sendButton() {
    return this.querySelector(".composer__send");
  }

  get #stop() {
    return this.querySelector(".composer__stop");
  }
}

customElements.define("message-composer", MessageComposer);
