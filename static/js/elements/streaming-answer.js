import { announce } from "../announcer.js";
import { Cursor, Step } from "../cursor.js";
import { showFiles } from "../files.js";
import { persist } from "../persist.js";

// <answer-text> with the text so far as HTML
// <streaming-answer prediction="…" edition="0" end="1310" stop="/messages/…/stop/">
//   <waiting-line>, <template> with the same text as it came, .files if any
//
// An answer that is still being written; the words stay when this goes. Where something is missing it asks for it with
// a `follow` event (detail: what to send to the server); `conversation-news` brings it the frames.
export class StreamingAnswer extends HTMLElement {
  #connected = performance.now();
  #cursor;
  #page; // the answer-text
  #writer; // a promise

  connectedCallback() {
    this.#page = this.previousElementSibling;
    this.#cursor = new Cursor(Number(this.getAttribute("edition")), Number(this.getAttribute("end")));
    this.#writer = this.#load();
    if (this.#textSoFar) {
      this.#restart(this.#textSoFar);
    }
    this.#follow();
  }

  disconnectedCallback() {
    this.#use((writer) => writer.stop());
  }

  get prediction() {
    return this.getAttribute("prediction");
  }

  /** What to ask the server for. */
  get request() {
    const { edition, end } = this.#cursor;
    return { type: "follow", prediction: this.prediction, edition, after: end };
  }

  /** Take a frame of output. */
  read(frame) {
    switch (this.#cursor.read(frame)) {
      case Step.APPEND:
        this.#write(frame.text);
        break;
      case Step.REPLACE:
        this.#restart(frame.text);
        break;
      case Step.FOLLOW:
        this.#follow();
        break;
    }
  }

  /** Take a frame that tells what the answer waits for. */
  wait({ phase, ahead, since, progress, note }) {
    this.#waiting.setAttribute("since", since);
    this.#waiting.setAttribute("ahead", ahead);
    this.#waiting.setAttribute("phase", phase);
    this.#waiting.setAttribute("progress", progress ?? "");
    this.#waiting.setAttribute("note", note);
  }

  /** Take a frame with the files that there are so far. */
  show({ html }) {
    showFiles(this, html);
  }

  get #textSoFar() {
    return this.querySelector("template").content.textContent;
  }

  /** When the answer began on the page's own clock; not a number where the server has not told. */
  get #began() {
    const [since, now] = ["since", "now"].map((name) => Date.parse(this.#waiting.getAttribute(name)));
    return this.#waiting.getAttribute("phase") === "running" ? this.#connected - (now - since) : Number.NaN;
  }

  get #waiting() {
    return this.querySelector("waiting-line");
  }

  /** What parses Markdown is half of all scripts: a page where nothing is being answered does without. */
  async #load() {
    const parts = () => Promise.all([import("../markdown/writer.js"), import("../voice.js")]);
    const [{ MarkdownWriter }, { Voice }] = await persist(parts);
    this.#page.voice = new Voice(this.#page);
    return new MarkdownWriter(this.#page);
  }

  #use(work) {
    // Where it cannot be had, the answer is shown when it is finished.
    this.#writer.then(work, () => {});
  }

  #follow() {
    this.dispatchEvent(new CustomEvent("follow", { bubbles: true, detail: this.request }));
  }

  #restart(text) {
    this.#waiting.hidden = text !== "";
    const began = this.#began;
    this.#use((writer) => writer.restart(text, began));
  }

  #write(text) {
    if (!this.#waiting.hidden) {
      this.#waiting.hidden = true;
      announce("Answer started.");
    }
    this.#use((writer) => writer.write(text));
  }
}

customElements.define("streaming-answer", StreamingAnswer);
