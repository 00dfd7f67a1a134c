import { describe } from "../waiting.js";

// <waiting-line phase="queued" ahead="2" since="2026-11-21T10:00:00Z" now="2026-11-21T10:00:03Z">
//
// Says what an answer waits for, and counts the seconds. `now` is the server's clock when it wrote this: the browser's
// may be wrong by minutes.
export class WaitingLine extends HTMLElement {
  static observedAttributes = ["phase", "ahead", "since"];

  #skew = 0; // milliseconds that the browser's clock is ahead of the server's
  #timer = null;

  connectedCallback() {
    this.#skew = Date.now() - (Date.parse(this.getAttribute("now")) || Date.now());
    this.#timer = setInterval(() => this.#tick(), 1000);
    this.#tick();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  attributeChangedCallback() {
    if (this.isConnected) {
      this.#tick();
    }
  }

  #tick() {
    const ahead = Number(this.getAttribute("ahead"));
    this.textContent = describe(this.getAttribute("phase"), ahead, this.#seconds);
  }

  get #seconds() {
    const since = Date.parse(this.getAttribute("since")) || Date.now();
    return (Date.now() - this.#skew - since) / 1000;
  }
}

customElements.define("waiting-line", WaitingLine);
