import { announce } from "../announcer.js";
import { keepFiles } from "../files.js";
import { parseOwn } from "../markup.js";
import { Socket } from "../socket.js";

const PATIENCE = 5000; // milliseconds that one's own message may take to come back before the page is loaded anew
const GRACE = 2000; // milliseconds without a connection before the reader is told

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
  #socket;
  #grace = null;

  connectedCallback() {
    this.#socket = new Socket(new URL("/socket/", location.href.replace(/^http/, "ws")));
    this.#socket.addEventListener("open", () => this.#open());
    this.#socket.addEventListener("frame", ({ detail }) => this.#read(detail));
    this.#socket.addEventListener("lost", () => this.#lose());
    this.#socket.addEventListener("signed-out", () => this.#signIn());
    this.addEventListener("follow", ({ detail }) => this.#socket.send(detail));
    this.addEventListener("message-sent", ({ detail }) => this.#expect(detail));
    window.addEventListener("online", this.#reconnect);
    window.addEventListener("pageshow", this.#reconnect);
    this.#socket.connect();
  }

  disconnectedCallback() {
    window.removeEventListener("online", this.#reconnect);
    window.removeEventListener("pageshow", this.#reconnect);
    this.#socket.close();
  }

  #reconnect = () => this.#socket.connect();

  #open() {
    clearTimeout(this.#grace);
    this.#grace = null;
    this.#notice.hidden = true;
    this.#socket.send({ type: "open", conversation: this.getAttribute("conversation"), after: this.#after });
    for (const answer of this.querySelectorAll("streaming-answer")) {
      this.#socket.send(answer.request);
    }
  }

  #lose() {
    this.#grace ??= setTimeout(() => this.#say("The connection is lost. Trying again …"), GRACE);
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
