// Writes Markdown into the page while it is still growing.

import remend from "../../vendor/remend.js";
import { Blocks } from "./blocks.js";
import { toHtml } from "./parser.js";
import { sanitize } from "./sanitizer.js";

// Half of a link is shown as its words; there are no formulas yet.
const HALF_OPEN = { linkMode: "text-only", images: false, htmlTags: false, katex: false };

const LONG = 4; // milliseconds
const SHARE = 4; // times as long as writing took is the pause behind it: a huge block does not stop the page

export class MarkdownWriter {
  #blocks = new Blocks();
  #isDue = false; // whether the next writing has been asked for
  #isNew = true; // whether what is in the page is to be replaced
  #pause = 0; // milliseconds before it
  #news = ""; // text that came since the last one
  #open = []; // nodes of the block that is not finished

  /** @param {Element} page where to write; what is in it is replaced */
  constructor(page) {
    this.page = page;
  }

  /** Add text. It is shown with the next animation frame, however often it comes, or after a pause. */
  write(text) {
    this.#news += text;
    if (!this.#isDue) {
      this.#isDue = true;
      setTimeout(() => requestAnimationFrame(() => this.#show()), this.#pause);
    }
  }

  /** Begin anew with `text`; what is in the page stays until it is shown, so that nothing flickers. */
  restart(text) {
    this.#blocks = new Blocks();
    this.#isNew = true;
    this.#news = "";
    this.write(text);
  }

  #show() {
    const begin = performance.now();
    this.#isDue = false;
    if (this.#isNew) {
      this.#isNew = false;
      this.#open = [];
      this.page.replaceChildren();
    }
    const { finished, rest } = this.#blocks.push(this.#news);
    this.#news = "";
    if (finished.length > 0) {
      this.#replaceOpen([]);
      this.page.append(sanitize(toHtml(finished)));
    }
    this.#replaceOpen([...this.#render(rest).children]);
    const took = performance.now() - begin;
    this.#pause = took > LONG ? took * SHARE : 0;
  }

  #render(source) {
    const tokens = this.#blocks.parse(source);
    const isCode = tokens.at(-1)?.type === "code";
    return sanitize(toHtml(isCode ? tokens : this.#blocks.parse(remend(source, HALF_OPEN))));
  }

  #replaceOpen(nodes) {
    if (isLongerCode(this.#open, nodes)) {
      // The same block of code, longer: the reader may have scrolled it sideways, or selected some of it.
      textOf(this.#open[0]).data = textOf(nodes[0]).data;
      return;
    }
    for (const node of this.#open) {
      node.remove();
    }
    this.#open = nodes;
    this.page.append(...nodes);
  }
}

function isLongerCode(before, after) {
  const isCode = (nodes) => nodes.length === 1 && nodes[0].matches(".code") && textOf(nodes[0]) !== null;
  return isCode(before) && isCode(after) && languageOf(before[0]) === languageOf(after[0]);
}

function languageOf(code) {
  return code.querySelector(".code__bar > span").textContent;
}

function textOf(code) {
  return code.querySelector("code").firstChild;
}
