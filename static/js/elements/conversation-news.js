import { announce } from "../announcer.js";
import { Connection } from "../connection.js";
import { keepFiles } from "../files.js";
import { parseOwn } from "../markup.js";

const PATIENCE = 5000; // milliseconds that one's own message may take to come back before the page is loaded anew
const GRACE = 2000; // milliseconds without a connection before the reader is told
const FOLLOWED = 20; // answers at once; the server takes no more

const ENDINGS = {
  succeeded: "Answer finished.",
  canceled: "Answer stopped.",
  failed: "Answer failed.",
  aborted: "Answer failed.",
};

// <conversation-news conversation="…" after="4" login="/accounts/login/">
//   .messages with the articles, .connection with what to say while the connection is lost
//
// Keeps the conversation as the server has it: new messages are put in, those that left the branch are taken out,
// answers grow and end. Events: `answer-ended` on the way up after an article was replaced.
export class ConversationNews extends HTMLElement {
  #connection;
  #grace = null;

  connectedCallback() {
    this.#connection = new Connection(() => this.#wishes);
    this.#connection.addEventListener("open", () => this.#open());
    this.#connection.addEventListener("frame", ({ detail }) => this.#read(detail));
    this.#connection.addEventListener("lost", () => this.#lose());
    this.#connection.addEventListener("signed-out", () => this.#signIn());
    this.addEventListener("follow", ({ detail }) => this.#connection.send(detail));
    this.addEventListener("message-sent", ({ detail }) => this.#expect(detail));
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

  #read(frame) {
    switch (frame.type) {
      case "messages":
        this.#addMessages(frame);
        break;
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

  #addMessages({ html, path, after }) {
    this.setAttribute("after", after);
    for (const message of this.querySelectorAll(".message")) {
      if (!path.includes(message.dataset.message)) {
        message.remove();
      }
    }
    for (const message of parseOwn(html)) {
      if (!document.getElementById(message.id)) {
        this.#messages.append(message);
      }
    }
  }

  #end(frame) {
    const [message] = parseOwn(frame.html);
    const before = document.getElementById(message.id);
    if (before === null) {
      return;
    }
    keepFiles(before, message);
    before.replaceWith(message);
    announce(ENDINGS[frame.status]);
    message.dispatchEvent(new CustomEvent("answer-ended", { bubbles: true }));
  }

  /** Load the page anew if a message that was sent does not come back as news. */
  #expect({ id, url }) {
    setTimeout(() => {
      if (!this.querySelector(`[data-message="${id}"]`)) {
        location.assign(url);
      }
    }, PATIENCE);
  }

  #say(sentence) {
    this.#notice.textContent = sentence;
    this.#notice.hidden = false;
  }

  #answer({ prediction }) {
    return this.querySelector(`streaming-answer[prediction="${prediction}"]`);
  }

  /** What this page wants to hear. */
  get #wishes() {
    const answers = [...this.querySelectorAll("streaming-answer")].slice(0, FOLLOWED);
    const open = { type: "open", conversation: this.getAttribute("conversation"), after: this.#after };
    return [open, ...answers.map((answer) => answer.request)];
  }

  get #after() {
    return Number(this.getAttribute("after"));
  }

  get #messages() {
    return this.querySelector(".messages");
  }

  get #notice() {
    return this.querySelector(".connection");
  }
}

customElements.define("conversation-news", ConversationNews);
