const NEAR = 48; // pixels from the end at which a reader is taken to be there

// <follow-end> around what grows, with a button that leads back to the end
//
// Keeps the end in view while the reader is there, and leaves readers alone who scrolled up.
export class FollowEnd extends HTMLElement {
  #last = 0; // where the page was scrolled to
  #observer = new ResizeObserver(() => this.#grown());

  connectedCallback() {
    this.#observer.observe(this);
    document.addEventListener("scroll", this.#scrolled, { passive: true });
    document.addEventListener("message-sent", this.#toEnd);
    this.#button.addEventListener("click", this.#toEnd);
    this.#toEnd();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    document.removeEventListener("scroll", this.#scrolled);
    document.removeEventListener("message-sent", this.#toEnd);
  }

  #grown() {
    if (!this.#isLeft) {
      this.#toEnd();
    }
  }

  #scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = document.scrollingElement;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only an upward move leaves: the page growing below is no wish to stay behind.
    if (isNear) {
      this.toggleAttribute("left", false);
    } else if (scrollTop < this.#last) {
      this.toggleAttribute("left", true);
    }
    this.#last = scrollTop;
  };

  #toEnd = () => {
    this.toggleAttribute("left", false);
    const page = document.scrollingElement;
    page.scrollTo({ top: page.scrollHeight, behavior: "instant" });
    this.#last = page.scrollTop;
  };

  get #isLeft() {
    return this.hasAttribute("left");
  }

  get #button() {
    return this.querySelector(".to-end");
  }
}

customElements.define("follow-end", FollowEnd);
