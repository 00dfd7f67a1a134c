// Has a screen reader say an answer while it is being written: whole sentences, never tokens.

import { Sentences } from "./sentences.js";

const PAUSE = 1000; // milliseconds between two looks at what has come
const SAID = 10; // pieces that stay in a region after they were said

export class Voice {
  #page;
  #sentences = new Sentences();
  #timer;

  /** @param {Element} page the blocks of an answer; what is there already is not said */
  constructor(page) {
    this.#page = page;
    this.#sentences.take(this.#blocks);
    this.#timer = setInterval(() => say(this.#sentences.take(this.#blocks)), PAUSE);
  }

  stop() {
    clearInterval(this.#timer);
  }

  /** Say the rest of an answer that is whole, and nothing more. */
  finish() {
    this.stop();
    say(this.#sentences.takeAll(this.#blocks));
  }

  get #blocks() {
    return Array.from(this.#page.children, (block) => () => wordsOf(block));
  }
}

function wordsOf(block) {
  if (block.matches(".thoughts")) {
    return "";
  }
  const language = block.matches(".code") && block.querySelector(".code__bar > span").textContent;
  return language ? `Code in ${language}.` : block.innerText;
}

function say(words) {
  if (!words) {
    return;
  }
  if (document.ariaNotify) {
    document.ariaNotify(words);
    return;
  }
  const piece = document.createElement("p");
  piece.textContent = words;
  const region = findRegion();
  region.append(piece);
  if (region.childElementCount > SAID) {
    region.firstChild.remove();
  }
}

function findRegion() {
  const known = document.getElementById("voice");
  if (known) {
    return known;
  }
  const region = document.createElement("div");
  region.id = "voice";
  region.className = "visually-hidden";
  region.role = "log";
  document.body.append(region);
  return region;
}
