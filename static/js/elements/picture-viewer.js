const SWIPE = 60; // pixels that a finger moves to the side for another picture

// <picture-viewer> around a <dialog>
//
// Opens in place of the page that a picture's link leads to, and walks through the pictures of the same message. Without
// scripts, or with a key that asks for a tab of its own, the link does what links do.
export class PictureViewer extends HTMLElement {
  #links = [];
  #place = 0;
  #touched = null; // where a finger began, in pixels

  connectedCallback() {
    document.addEventListener("click", this.#clicked);
    this.#dialog.addEventListener("click", ({ target }) => this.#press(target));
    this.#dialog.addEventListener("keydown", ({ key }) => this.#step({ ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0));
    this.#dialog.addEventListener("touchstart", ({ touches }) => this.#touch(touches), { passive: true });
    this.#dialog.addEventListener("touchend", ({ changedTouches }) => this.#swipe(changedTouches[0]));
    this.#dialog.addEventListener("close", () => this.#box.replaceChildren());
  }

  disconnectedCallback() {
    document.removeEventListener("click", this.#clicked);
  }

  #clicked = (event) => {
    const link = event.target.closest?.("a.file__view");
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) {
      return;
    }
    event.preventDefault();
    this.#links = [...link.closest(".files, .thumbnails").querySelectorAll("a.file__view")];
    this.#place = this.#links.indexOf(link);
    this.#show();
    this.#dialog.showModal();
  };

  #show() {
    const link = this.#links[this.#place];
    const picture = document.createElement("img");
    const download = this.#dialog.querySelector("[data-download]");
    picture.alt = link.firstElementChild.alt;
    picture.src = link.href;
    this.#box.replaceChildren(picture);
    this.#dialog.querySelector(".viewer__name").textContent = picture.alt;
    this.#dialog.querySelector(".viewer__place").textContent = this.#isOne
      ? ""
      : `${this.#place + 1} of ${this.#links.length}`;
    for (const button of this.#dialog.querySelectorAll(".viewer__step")) {
      button.hidden = this.#isOne;
    }
    download.href = `${link.href}?download=1`;
    download.download = picture.alt;
  }

  #step(by) {
    if (by !== 0 && !this.#isOne) {
      this.#place = (this.#place + by + this.#links.length) % this.#links.length;
      this.#show();
    }
  }

  #press(target) {
    const button = target.closest("button");
    if (target === this.#dialog || target === this.#box) {
      this.#dialog.close(); // beside the picture
    } else {
      this.#step({ previous: -1, next: 1 }[button?.name] ?? 0);
    }
  }

  #touch(touches) {
    const isZoomed = window.visualViewport.scale > 1;
    this.#touched = touches.length === 1 && !isZoomed ? touches[0].clientX : null;
  }

  #swipe({ clientX }) {
    const moved = this.#touched === null ? 0 : clientX - this.#touched;
    this.#touched = null;
    this.#step(Math.abs(moved) > SWIPE ? -Math.sign(moved) : 0);
  }

  get #isOne() {
    return this.#links.length === 1;
  }

  get #dialog() {
    return this.querySelector("dialog");
  }

  get #box() {
    return this.querySelector(".viewer__picture");
  }
}

customElements.define("picture-viewer", PictureViewer);
