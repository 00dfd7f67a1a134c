import { announce } from "../announcer.js";
import { Cursor, Step } from "../cursor.js";
import { showFiles } from "../files.js";
import { MarkdownWriter } from "../markdown/writer.js";

// <streaming-answer prediction="…" edition="0" end="1310" stop="/messages/…/stop/">
//   <waiting-line>, <answer-text> with the text so far as HTML, <template> with the same as it came, .files if any
//
// An answer that is still being written. Where something is missing it asks for it with a `follow` event (detail: what
// to send to the server); `conversation-news` brings it the frames.
export class StreamingAnswer extends HTMLElement {
  #cursor;
  #writer;

  connectedCallback() {
    this.#cursor = new Cursor(Number(this.getAttribute("edition")), Number(this.getAttribute("end")));
    this.#writer = new MarkdownWriter(this.querySelector("answer-text"));
    if (this.#textSoFar) {
      this.#restart(this.#textSoFar);
    }
    this.#follow();
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

  get #waiting() {
    return this.querySelector("waiting-line");
  }

  #follow() {
    this.dispatchEvent(new CustomEvent("follow", { bubbles: true, detail: this.request }));
  }

  #restart(text) {
    this.#waiting.hidden = text !== "";
    this.#writer.restart(text);
  }

  #write(text) {
    if (!this.#waiting.hidden) {
      this.#waiting.hidden = true;
      announce("Answer started.");
    }
    this.#writer.write(text);
  }
}

customElements.define("streaming-answer", StreamingAnswer);
