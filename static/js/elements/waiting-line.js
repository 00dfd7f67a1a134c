import { describe } from "../waiting.js";

// <waiting-line phase="queued" ahead="2" since="2026-11-21T10:00:00Z" now="2026-11-21T10:00:03Z" progress="" note="">
//   .waiting__words, <progress>, .waiting__note
//
// Says what an answer waits for and why, counts the seconds, and shows how far the model says it is. `now` is the
// server's clock when it wrote this: the browser's may be wrong by minutes.
export class WaitingLine extends HTMLElement {
  static observedAttributes = ["phase", "ahead", "since", "progress", "note"];

  #skew = 0; // milliseconds that the browser's clock is ahead of the server's
  #timer = null;

  connectedCallback() {
    this.#skew = Date.now() - (Date.parse(this.getAttribute("now")) || Date.now());
    this.#timer = setInterval(() => this.#tick(), 1000);
    this.#show();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  attributeChangedCallback() {
    if (this.isConnected) {
      this.#show();
    }
  }

  #show() {
    const bar = this.querySelector("progress");
    bar.hidden = this.#progress === null;
    bar.value = this.#progress ?? 0;
    this.querySelector(".waiting__note").textContent = this.getAttribute("note");
    this.#tick();
  }

  #tick() {
    const state = { phase: this.getAttribute("phase"), ahead: this.#ahead, progress: this.#progress };
    this.querySelector(".waiting__words").textContent = describe(state, this.#seconds);
  }

  get #ahead() {
    return Number(this.getAttribute("ahead"));
  }

  get #progress() {
    const progress = this.getAttribute("progress");
    return progress ? Number(progress) : null;
  }

  get #seconds() {
    const since = Date.parse(this.getAttribute("since")) || Date.now();
    return (Date.now() - this.#skew - since) / 1000;
  }
}

customElements.define("waiting-line", WaitingLine);
