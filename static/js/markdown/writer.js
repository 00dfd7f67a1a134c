// Writes Markdown into the page while it is still growing. Sends `code-finished` upwards from a block of code that will
// not change any more.

import remend from "../../vendor/remend.js";
import { Blocks } from "./blocks.js";
import { withoutOpenFormula } from "./formulas.js";
import { coloredIn, highlight } from "./highlighter.js";
import { JsonFence } from "./json-fence.js";
import { toHtml } from "./parser.js";
import { patch } from "./patch.js";
import { Release } from "./release.js";
import { sanitize } from "./sanitizer.js";
import { Thoughts } from "./thoughts.js";
import { ThoughtsBox } from "./thoughts-box.js";

// Half of a link is shown as its words; half a formula is not shown.
const HALF_OPEN = { linkMode: "text-only", images: false, htmlTags: false, katex: false };

const LONG = 4; // milliseconds
const SHARE = 4; // times as long as writing took is the pause behind it: a huge block does not stop the page

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class MarkdownWriter {
  #began = null; // when the first text came, if it was seen to come
  #isOver = false; // whether nothing is to be written any more
  #isDue = false; // whether the next writing has been asked for
  #isAtOnce = false; // whether the next writing is of all that has come
  #parts = null; // what has been written, and what it comes from
  #pause = 0; // milliseconds before it
  #release = new Release();

  /** @param {Element} page where to write; what is in it is replaced */
  constructor(page) {
    this.page = page;
  }

  /** Add text. It is shown with the next animation frames, however often it comes, or after a pause. */
  write(text) {
    this.#began ??= performance.now();
    this.#release.add(text, performance.now());
    this.#ask();
  }

  /**
   * Begin anew with `text`; what is in the page stays until it is shown, so that nothing flickers.
   *
   * @param {string} text
   * @param {number} began when the answer began, in milliseconds on the page's clock, as far as that is known
   */
  restart(text, began = Number.NaN) {
    this.#began = began;
    this.#isAtOnce = true;
    this.#parts = null;
    this.#release = new Release();
    this.#release.add(text, performance.now());
    this.#ask();
  }

  /** Write nothing more: the page is somebody else's now. */
  stop() {
    this.#isOver = true;
  }

  #ask() {
    if (!this.#isDue) {
      this.#isDue = true;
      setTimeout(() => requestAnimationFrame(() => this.#show()), this.#pause);
    }
  }

  #show() {
    if (this.#isOver) {
      return;
    }
    const begin = performance.now();
    this.#isDue = false;
    this.#parts ??= new Parts(this.page, this.#began);
    const text = this.#isAtOnce || CALM.matches ? this.#release.takeAll() : this.#release.take(begin);
    this.#parts.write(text, { isLive: !this.#isAtOnce });
    this.#isAtOnce = false;
    const took = performance.now() - begin;
    this.#pause = took > LONG ? took * SHARE : 0;
    if (!this.#release.isEmpty) {
      this.#ask();
    }
  }
}

/** An answer's two parts in the page: the thoughts, if there are any, and the answer itself. */
class Parts {
  #answer;
  #box = null;
  #colored; // code in colours that was in the page before
  #split = new Thoughts();
  #thoughts = null;

  constructor(page, began) {
    this.page = page;
    this.began = began;
    this.#colored = coloredIn(page);
    this.#clear();
  }

  /** Write more text; what is not live came some time ago. */
  write(text, { isLive }) {
    const { thoughts, answer, isThinking, isAnew } = this.#split.push(text);
    if (isAnew) {
      this.#clear();
    }
    if (this.#thoughts !== null || thoughts.trim()) {
      this.#think(thoughts, { isThinking, isTimed: isThinking || isLive });
    }
    if (answer) {
      this.#answer.write(answer);
    }
    this.#colored.clear();
  }

  #think(thoughts, { isThinking, isTimed }) {
    if (this.#thoughts === null) {
      this.#box = new ThoughtsBox(this.page, isTimed ? this.began : Number.NaN);
      this.#thoughts = new GrowingMarkdown(this.#box.place, this.#colored);
    }
    if (thoughts) {
      this.#thoughts.write(thoughts);
    }
    if (!isThinking) {
      this.#box.end();
    }
  }

  #clear() {
    this.page.replaceChildren();
    this.#answer = new GrowingMarkdown(this.page, this.#colored);
  }
}

/** Markdown that grows at the end of an element. */
class GrowingMarkdown {
  #blocks = new Blocks();
  #fence = new JsonFence();
  #finished = new WeakSet(); // blocks of code that will not change any more
  #open = []; // nodes of the block that is not finished

  constructor(page, colored) {
    this.page = page;
    this.colored = colored;
  }

  write(text) {
    const { finished, rest } = this.#blocks.push(this.#fence.push(text));
    const fixed = finished.length > 0 ? [...sanitize(toHtml(finished)).children] : [];
    const open = [...this.#render(rest).children];
    const shown = patch(this.page, this.#open, [...fixed, ...open]);
    this.#open = shown.slice(fixed.length);
    const blocks = [
      ...codeIn(shown.slice(0, fixed.length)),
      ...codeIn(this.#open).filter((block) => isFollowed(block, this.page)),
    ];
    this.#finish(blocks.filter((block) => !this.#finished.has(block)));
  }

  #finish(blocks) {
    for (const block of blocks) {
      this.#finished.add(block);
      block.dispatchEvent(new CustomEvent("code-finished", { bubbles: true }));
      highlight(block, this.colored);
    }
  }

  #render(source) {
    const tokens = this.#blocks.parse(source);
    const closed = tokens.at(-1)?.type === "code" ? source : remend(withoutOpenFormula(source), HALF_OPEN);
    return sanitize(toHtml(closed === source ? tokens : this.#blocks.parse(closed)));
  }
}

function codeIn(nodes) {
  return nodes.flatMap((node) => (node.matches(".code") ? [node] : [...node.querySelectorAll(".code")]));
}

/** Say whether something stands behind a block: then it cannot grow any more. */
function isFollowed(block, page) {
  for (let node = block; node !== page; node = node.parentNode) {
    for (let next = node.nextSibling; next !== null; next = next.nextSibling) {
      if (next.nodeType === Node.ELEMENT_NODE || next.data.trim()) {
        return true;
      }
    }
  }
  return false;
}
