import { parseOwnPage } from "../markup.js";

const EVENTS = ["answer-ended", "answer-judged"];
const PAUSE = 300; // milliseconds in which more may happen

// <fresh-part id="…"> somewhere on a page with answers
//
// Fetches its content anew from the page's own address when an answer has ended or was judged.
export class FreshPart extends HTMLElement {
  #timer = null;

  connectedCallback() {
    for (const event of EVENTS) {
      document.addEventListener(event, this.#plan);
    }
  }

  disconnectedCallback() {
    for (const event of EVENTS) {
      document.removeEventListener(event, this.#plan);
    }
    clearTimeout(this.#timer);
  }

  #plan = () => {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), PAUSE);
  };

  async #fetch() {
    const response = await fetch(location.href);
    if (!response.ok) {
      return; // the page as it is stays true, but for this
    }
    const fresh = parseOwnPage(await response.text()).getElementById(this.id);
    if (fresh) {
      this.replaceChildren(...fresh.childNodes);
    }
  }
}

customElements.define("fresh-part", FreshPart);
