import { inTime } from "../waiting.js";

// One line that says how long a model thinks, and opens to what. Sends `thought` upwards, with the seconds, when the
// thoughts are at their end and it is known when they began.
export class ThoughtsBox {
  #began;
  #box = document.createElement("details");
  #line = document.createElement("summary");
  #timer = setInterval(() => this.#tick(), 1000);

  /**
   * @param {Element} page the answer, at whose beginning it stands
   * @param {number} began milliseconds on the page's clock; not a number where that is not known
   */
  constructor(page, began) {
    this.#began = began;
    this.place = document.createElement("div");
    this.place.className = "thoughts__text";
    this.#box.className = "thoughts";
    this.#box.toggleAttribute("thinking", true);
    this.#box.append(this.#line, this.place);
    this.#tick();
    page.prepend(this.#box);
  }

  end() {
    if (!this.#box.hasAttribute("thinking")) {
      return;
    }
    clearInterval(this.#timer);
    this.#box.toggleAttribute("thinking", false);
    this.#line.textContent = "Thoughts";
    if (this.#isTimed) {
      this.#box.dispatchEvent(new CustomEvent("thought", { bubbles: true, detail: this.#seconds }));
    }
  }

  #tick() {
    this.#line.textContent = this.#isTimed ? `Thinking… ${inTime(this.#seconds)}` : "Thinking…";
    if (this.#box.parentElement !== null && !this.#box.isConnected) {
      clearInterval(this.#timer);
    }
  }

  get #isTimed() {
    return !Number.isNaN(this.#began);
  }

  get #seconds() {
    return (performance.now() - this.#began) / 1000;
  }
}
