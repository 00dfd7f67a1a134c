import { announce } from "../announcer.js";
import { copy } from "../clipboard.js";
import { typeset } from "../typeset.js";
import { viewOf } from "../views.js";
import { inTime } from "../waiting.js";

const DIAGRAM = "mermaid"; // the language of code that describes one
const NEAR = 8; // pixels from the end at which a reader is taken to be there
const REGIONS = "pre, .table"; // what may be larger than its place

// <answer-text> around an answer's HTML
//
// Gives each block of code its buttons, keeps the end of a block that grows in view unless the reader scrolled up in
// it, lets the keyboard scroll what is too large, has formulas shown, and diagrams when they are asked for, says how long
// a model thought, and leads from a footnote's mark to the footnote. What the reader chose stays when the stored HTML
// comes.
export class AnswerText extends HTMLElement {
  voice = null; // what says it while it is being written
  #changes = new MutationObserver((records) => this.#equip(records.flatMap(({ addedNodes }) => [...addedNodes])));
  #sizes = new ResizeObserver((entries) => this.#fit(entries.map(({ target }) => target.closest(REGIONS))));
  #tops = new WeakMap(); // where the reader has scrolled a region to, in pixels

  connectedCallback() {
    this.#changes.observe(this, { childList: true, subtree: true });
    this.addEventListener("click", this.#press);
    this.addEventListener("code-finished", ({ target }) => this.#offerDiagram(target));
    this.addEventListener("diagram-drawn", this.#showDrawn);
    this.addEventListener("diagram-failed", this.#tellOfFailure);
    this.addEventListener("thought", this.#noteThought);
    this.addEventListener("toggle", this.#noteOpened, { capture: true });
    this.addEventListener("scroll", this.#scroll, { capture: true, passive: true });
    this.#equip([this]);
  }

  disconnectedCallback() {
    this.#changes.disconnect();
    this.#sizes.disconnect();
    this.voice?.stop();
  }

  /** Make the answer what it is when it is whole: its last words may have come with its end. */
  finish() {
    for (const block of this.#blocks) {
      this.#offerDiagram(block);
    }
    this.voice?.finish();
  }

  #equip(nodes) {
    for (const node of nodes.filter((node) => node.nodeType === Node.ELEMENT_NODE && node.isConnected)) {
      for (const bar of all(node, ".code__bar:not(:has([name=copy]))")) {
        bar.append(makeButton("wrap", "Wrap"), makeButton("copy", "Copy"));
        if (!this.#isGrowing) {
          this.#offerDiagram(bar.parentElement);
        }
        this.#putBack(bar.parentElement);
      }
      for (const box of all(node, ".thoughts")) {
        box.open = this.#view.isOpen;
        this.#tellTime(box);
      }
      for (const mark of all(node, ".footnote-mark:not(:has(button))")) {
        mark.replaceChildren(makeMark(mark.textContent));
      }
      typeset(all(node, ".formula:not([typeset], :empty)"));
      for (const content of all(node, "pre > code, .table > table")) {
        this.#sizes.observe(content);
      }
    }
  }

  /** Show a block of code as the reader had it. */
  #putBack(block) {
    const place = this.#blocks.indexOf(block);
    if (this.#view.wrapped.has(place)) {
      this.#wrap(block, true);
    }
    this.#code(block).scrollTop = this.#view.scrolled.get(place) ?? 0;
  }

  /** Give a block of code that is finished, and describes a diagram, a button to show it. */
  #offerDiagram(block) {
    const language = block.querySelector(".code__bar > span");
    if (language.textContent.toLowerCase() === DIAGRAM && !block.querySelector("[name=diagram]")) {
      language.after(makeButton("diagram", "Show diagram"));
      if (this.#view.drawn.has(this.#blocks.indexOf(block))) {
        this.#draw(block);
      }
    }
  }

  async #draw(block) {
    const button = block.querySelector("[name=diagram]");
    const height = this.#view.drawn.get(this.#blocks.indexOf(block));
    block.querySelector(".code__note")?.remove();
    button.ariaBusy = "true";
    button.textContent = "Drawing …";
    try {
      await import("./diagram-frame.js");
    } catch {
      this.#endDrawing(block, "The diagram could not be loaded. Try again in a moment.");
      return;
    }
    const frame = document.createElement("diagram-frame");
    block.append(frame);
    if (height) {
      frame.height = height;
      block.toggleAttribute("drawn", true);
    }
  }

  // Until it is drawn the code is shown.
  #showDrawn = ({ target, detail }) => {
    const block = target.closest(".code");
    const button = block.querySelector("[name=diagram]");
    this.#view.drawn.set(this.#blocks.indexOf(block), detail);
    if (button.ariaBusy === "true") {
      button.ariaBusy = null;
      button.textContent = "Show code";
    }
    if (!block.hasAttribute("drawn")) {
      block.toggleAttribute("drawn", true);
      announce("Diagram shown.");
    }
  };

  #tellOfFailure = ({ target, detail }) => this.#endDrawing(target.closest(".code"), detail);

  /** Show a block as code, and what went wrong, if something did. */
  #endDrawing(block, words = "") {
    const button = block.querySelector("[name=diagram]");
    this.#view.drawn.delete(this.#blocks.indexOf(block));
    block.querySelector("diagram-frame")?.remove();
    block.toggleAttribute("drawn", false);
    button.ariaBusy = null;
    button.textContent = "Show diagram";
    if (words) {
      const note = document.createElement("p");
      note.className = "code__note";
      note.textContent = words;
      block.append(note);
      announce(words);
    }
  }

  #noteThought = ({ target, detail }) => {
    this.#view.thoughtFor = detail;
    this.#tellTime(target);
  };

  #tellTime(box) {
    if (this.#view.thoughtFor !== null) {
      box.firstElementChild.textContent = `Thought for ${inTime(this.#view.thoughtFor)}`;
    }
  }

  #noteOpened = ({ target }) => {
    this.#view.isOpen = target.open;
  };

  // The browser has laid out the page when it tells of sizes: to ask for more of them costs nothing.
  #fit(regions) {
    for (const region of regions.filter((region) => region?.isConnected)) {
      const isWide = region.scrollWidth > region.clientWidth;
      setTabStop(region, isWide || region.scrollHeight > region.clientHeight);
      region.parentElement.toggleAttribute("wide", isWide && region.matches(".code > pre"));
      if (this.#isGrowing && !region.hasAttribute("left")) {
        region.scrollTop = region.scrollHeight;
      }
    }
  }

  #press = ({ target }) => {
    const button = target.closest("button");
    const block = button?.closest(".code");
    switch (button?.name) {
      case "copy":
        copy(this.#code(block).textContent, button);
        break;
      case "wrap":
        this.#wrap(block, button.ariaPressed !== "true");
        break;
      case "diagram":
        if (button.ariaBusy !== "true") {
          block.querySelector("diagram-frame") ? this.#endDrawing(block) : this.#draw(block);
        }
        break;
      case "footnote":
        this.#goToFootnote(button.textContent);
        break;
    }
  };

  #goToFootnote(label) {
    const note = [...this.querySelectorAll(".footnote")].find((note) => note.firstElementChild.textContent === label);
    if (note) {
      note.tabIndex = -1;
      note.focus();
    }
  }

  #wrap(block, isWrapped) {
    const place = this.#blocks.indexOf(block);
    block.toggleAttribute("wrapped", isWrapped);
    block.querySelector("[name=wrap]").ariaPressed = isWrapped;
    isWrapped ? this.#view.wrapped.add(place) : this.#view.wrapped.delete(place);
  }

  #scroll = ({ target }) => {
    if (!target.matches?.(".code > pre")) {
      return;
    }
    const { scrollTop, scrollHeight, clientHeight } = target;
    // Only an upward move leaves the end: the code growing below is no wish to stay behind.
    if (scrollHeight - scrollTop - clientHeight < NEAR) {
      target.toggleAttribute("left", false);
    } else if (scrollTop < (this.#tops.get(target) ?? 0)) {
      target.toggleAttribute("left", true);
    }
    this.#tops.set(target, scrollTop);
    this.#view.scrolled.set(this.#blocks.indexOf(target.parentElement), scrollTop);
  };

  #code(block) {
    return block.querySelector("pre");
  }

  get #blocks() {
    return [...this.querySelectorAll(".code")];
  }

  get #isGrowing() {
    return this.nextElementSibling?.localName === "streaming-answer";
  }

  get #view() {
    return viewOf(this.closest("[data-message]")?.dataset.message);
  }
}

function all(node, selector) {
  return [...(node.matches(selector) ? [node] : []), ...node.querySelectorAll(selector)];
}

function setTabStop(region, isOne) {
  if (isOne) {
    region.tabIndex = 0;
  } else {
    region.removeAttribute("tabindex");
  }
}

function makeMark(label) {
  const button = makeButton("footnote", label);
  button.ariaLabel = `Footnote ${label}`;
  return button;
}

function makeButton(name, words) {
  const button = document.createElement("button");
  button.type = "button";
  button.name = name;
  button.textContent = words;
  return button;
}

customElements.define("answer-text", AnswerText);
