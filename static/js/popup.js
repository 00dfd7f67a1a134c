// Something that opens beside a button of the composer: above it or below it, wherever there is more room.

const MARGIN = 12; // pixels to the edge of the window

export class Popup {
  #box;
  #button;
  #anchor;

  /**
   * @param {HTMLElement} box what opens
   * @param {HTMLElement} button what opens it
   * @param {HTMLElement} anchor what it stands above or below
   */
  constructor(box, button, anchor) {
    this.#box = box;
    this.#button = button;
    this.#anchor = anchor;
  }

  get isOpen() {
    return !this.#box.hidden;
  }

  open() {
    this.#box.hidden = false;
    this.#button.ariaExpanded = "true";
    this.#place();
    document.addEventListener("pointerdown", this.#pressed, true);
    document.addEventListener("focusin", this.#focused);
    window.addEventListener("resize", this.#place);
  }

  /** Close it; with `back`, the button has the focus again. */
  close({ back = false } = {}) {
    if (!this.isOpen) {
      return;
    }
    this.#box.hidden = true;
    this.#button.ariaExpanded = "false";
    document.removeEventListener("pointerdown", this.#pressed, true);
    document.removeEventListener("focusin", this.#focused);
    window.removeEventListener("resize", this.#place);
    if (back) {
      this.#button.focus();
    }
  }

  #pressed = ({ target }) => this.#closeUnlessWithin(target);

  #focused = ({ target }) => this.#closeUnlessWithin(target);

  #closeUnlessWithin(target) {
    if (!this.#box.contains(target) && !this.#button.contains(target)) {
      this.close();
    }
  }

  #place = () => {
    const { top, bottom } = this.#anchor.getBoundingClientRect();
    const above = top - MARGIN;
    const below = window.innerHeight - bottom - MARGIN;
    this.#box.dataset.side = above >= below ? "above" : "below";
    this.#box.style.setProperty("--room", `${Math.max(above, below) - MARGIN}px`);
  };
}
