const NEAR = 48; // pixels from the end at which a reader is taken to be there
const FAR = 160; // pixels from the end from which on the way back is offered
const UP = new Set(["ArrowUp", "PageUp", "Home"]);

// <follow-end> around .messages and a .dock with a button (.to-end) that leads back to the end
//
// Keeps the end in view until the reader wants up: a turn of the wheel, a swipe, a key, a drag of the scroll bar, however
// short. Nothing moves while text is selected, or something is written in a message. After a message was sent it stands
// near the top, with room below it into which the answer grows. Attributes: `left` while the end is not followed, `far`
// while it is out of sight.
export class FollowEnd extends HTMLElement {
  #top = 0; // where the page was scrolled to
  #touchedAt = null; // pixels from the window's top
  #sent = null; // the id of the message that was sent from here last
  #observer = new ResizeObserver(() => this.#grown());

  connectedCallback() {
    this.#observer.observe(this);
    this.#observer.observe(this.#dock);
    document.addEventListener("scroll", this.#scrolled, { passive: true });
    document.addEventListener("wheel", this.#wheeled, { passive: true });
    document.addEventListener("touchstart", this.#touched, { passive: true });
    document.addEventListener("touchmove", this.#swiped, { passive: true });
    document.addEventListener("keydown", this.#pressed);
    document.addEventListener("message-sent", this.#expect);
    this.addEventListener("question-added", ({ target }) => this.#welcome(target));
    this.#button.addEventListener("click", this.#toEnd);
    this.#toEnd();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    document.removeEventListener("scroll", this.#scrolled);
    document.removeEventListener("wheel", this.#wheeled);
    document.removeEventListener("touchstart", this.#touched);
    document.removeEventListener("touchmove", this.#swiped);
    document.removeEventListener("keydown", this.#pressed);
    document.removeEventListener("message-sent", this.#expect);
  }

  #grown() {
    if (!this.#isLeft && !this.#isSelecting && !this.#isWriting) {
      this.#toEnd();
    } else {
      this.#showWay();
    }
  }

  #scrolled = () => {
    const { scrollTop } = document.scrollingElement;
    // Directions count: a short way up leaves, and the page growing below is no wish to stay behind.
    if (scrollTop > this.#top && this.#distance < NEAR) {
      this.toggleAttribute("left", false);
    } else if (scrollTop < this.#top) {
      this.#leave();
    }
    this.#top = scrollTop;
    this.#showWay();
  };

  #wheeled = ({ deltaY, ctrlKey }) => {
    if (deltaY < 0 && !ctrlKey) {
      this.#leave();
    }
  };

  #touched = ({ touches }) => {
    this.#touchedAt = touches[0].clientY;
  };

  #swiped = ({ touches }) => {
    if (touches[0].clientY > this.#touchedAt) {
      this.#leave();
    }
    this.#touchedAt = touches[0].clientY;
  };

  #pressed = ({ key, target, shiftKey }) => {
    const isTyping = target.closest("input, textarea, select, [contenteditable]");
    if (!isTyping && (UP.has(key) || (key === " " && shiftKey))) {
      this.#leave();
    }
  };

  /** Stop following, if there is anything above. */
  #leave() {
    if (document.scrollingElement.scrollTop > 0) {
      this.toggleAttribute("left", true);
    }
  }

  #expect = ({ detail }) => {
    this.#sent = detail.id;
    const question = document.getElementById(`message-${detail.id}`);
    if (question) {
      this.#makeRoom(question);
    }
  };

  /** One's own question is gone to; one that was asked elsewhere only where the end is followed. */
  #welcome(question) {
    if (question.dataset.message === this.#sent || !this.#isLeft) {
      this.#makeRoom(question);
    }
  }

  /** Have the question stand near the top: as much room below it as the window has. */
  #makeRoom(question) {
    const { paddingTop, rowGap } = getComputedStyle(this.#messages);
    const visible = innerHeight - this.#dock.offsetHeight - Number.parseFloat(paddingTop);
    const room = Math.max(0, visible - question.offsetHeight - (Number.parseFloat(rowGap) || 0));
    this.style.setProperty("--room", `${room}px`);
    this.#toEnd();
  }

  #toEnd = () => {
    const page = document.scrollingElement;
    page.scrollTo({ top: page.scrollHeight, behavior: "instant" });
    this.#top = page.scrollTop;
    this.toggleAttribute("left", false);
    this.#showWay();
  };

  #showWay() {
    const distance = this.#distance;
    if (distance > FAR || distance < NEAR) {
      this.toggleAttribute("far", distance > FAR);
    }
  }

  get #distance() {
    const { scrollTop, scrollHeight, clientHeight } = document.scrollingElement;
    return scrollHeight - scrollTop - clientHeight;
  }

  get #isLeft() {
    return this.hasAttribute("left");
  }

  get #isSelecting() {
    const selection = getSelection();
    return !selection.isCollapsed && this.contains(selection.anchorNode);
  }

  get #isWriting() {
    return Boolean(document.activeElement?.closest(".message")?.querySelector("form"));
  }

  get #messages() {
    return this.querySelector(".messages");
  }

  get #dock() {
    return this.querySelector(".dock");
  }

  get #button() {
    return this.querySelector(".to-end");
  }
}

customElements.define("follow-end", FollowEnd);
