import { announce } from "../announcer.js";
import { Connection } from "../connection.js";
import { keepFiles } from "../files.js";
import { settle } from "../markdown/settle.js";
import { parseOwn } from "../markup.js";

const GRACE = 2000; // milliseconds without a connection before the reader is told
const FOLLOWED = 20; // answers at once; the server takes no more

const ENDINGS = {
  succeeded: "Answer finished.",
  canceled: "Answer stopped.",
  failed: "Answer failed.",
  aborted: "Answer failed.",
};

// <answer-news login="/accounts/login/"> around a page's answers, with .connection for what to say while it is lost
//
// Has the answers that are being written grow and end. Events: `answer-ended` on the way up after one was replaced.
export class AnswerNews extends HTMLElement {
  #connection;
  #grace = null;

  connectedCallback() {
    this.#connection = new Connection(() => this.wishes);
    this.#connection.addEventListener("open", () => this.#open());
    this.#connection.addEventListener("frame", ({ detail }) => this.read(detail));
    this.#connection.addEventListener("lost", () => this.#lose());
    this.#connection.addEventListener("signed-out", () => this.#signIn());
    this.addEventListener("follow", ({ detail }) => this.#connection.send(detail));
    window.addEventListener("online", this.#wake);
    window.addEventListener("pageshow", this.#wake);
    document.addEventListener("resume", this.#wake);
    document.addEventListener("visibilitychange", this.#restOrWake);
    this.#connection.connect();
  }

  disconnectedCallback() {
    window.removeEventListener("online", this.#wake);
    window.removeEventListener("pageshow", this.#wake);
    document.removeEventListener("resume", this.#wake);
    document.removeEventListener("visibilitychange", this.#restOrWake);
    this.#connection.close();
  }

  /** What this page wants to hear. */
  get wishes() {
    const answers = [...this.querySelectorAll("streaming-answer")].slice(0, FOLLOWED);
    return answers.map((answer) => answer.request);
  }

  read(frame) {
    switch (frame.type) {
      case "output":
        this.#answer(frame)?.read(frame);
        break;
      case "state":
        this.#answer(frame)?.wait(frame);
        break;
      case "files":
        this.#answer(frame)?.show(frame);
        break;
      case "ended":
        this.#end(frame);
        break;
      case "refused":
        this.#say(frame.reason);
        break;
    }
  }

  #wake = () => this.#connection.wake();

  #restOrWake = () => (document.hidden ? this.#connection.rest() : this.#connection.wake());

  #open() {
    clearTimeout(this.#grace);
    this.#grace = null;
    this.#notice.hidden = true;
  }

  #lose() {
    this.#grace ??= setTimeout(() => this.#sayLost(), GRACE);
  }

  #sayLost() {
    // What the server said last tells more.
    if (this.#notice.hidden) {
      this.#say("The connection is lost. Trying again …");
    }
  }

  #signIn() {
    location.assign(`${this.getAttribute("login")}?next=${encodeURIComponent(location.pathname)}`);
  }

  #end(frame) {
    const [answer] = parseOwn(frame.html);
    const before = document.getElementById(answer.id);
    if (before === null) {
      return;
    }
    keepFiles(before, answer);
    const [shown, settled] = putInPlace(before, answer);
    settled.then(() => announce(ENDINGS[frame.status]));
    shown.dispatchEvent(new CustomEvent("answer-ended", { bubbles: true }));
  }

  #say(sentence) {
    this.#notice.textContent = sentence;
    this.#notice.hidden = false;
  }

  #answer({ prediction }) {
    return this.querySelector(`streaming-answer[prediction="${prediction}"]`);
  }

  get #notice() {
    return this.querySelector(".connection");
  }
}

/**
 * Show the finished `answer` where the one that was written is; return what is in the page now, and a promise of its end.
 *
 * The words stay where they are: to lay out a long answer anew takes longer than a reader waits for a key press.
 */
function putInPlace(before, answer) {
  const [written, stored] = [before, answer].map((message) => message.querySelector(":scope > answer-text"));
  if (!written || !stored) {
    before.replaceWith(answer);
    return [answer, Promise.resolve()];
  }
  const parts = [...answer.childNodes];
  const place = parts.indexOf(stored);
  for (const part of [...before.childNodes].filter((part) => part !== written)) {
    part.remove();
  }
  written.before(...parts.slice(0, place));
  written.after(...parts.slice(place + 1));
  return [before, settle(written, stored).then(() => written.finish())];
}

customElements.define("answer-news", AnswerNews);
