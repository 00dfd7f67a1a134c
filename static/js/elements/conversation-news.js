import { anticipate } from "../anticipated.js";
import { keepFiles } from "../files.js";
import { parseOwn } from "../markup.js";
import { AnswerNews } from "./answer-news.js";

const PATIENCE = 5000; // milliseconds that one's own message may take to come back before the page is loaded anew

// <conversation-news conversation="…" after="4" login="/accounts/login/">
//   .messages with the articles, .connection with what to say while the connection is lost
//
// Keeps the conversation as the server has it: new messages are put in, those that left the branch are taken out,
// answers grow and end. What is being sent stands there at once, as a draft of what will come; if it is refused, it goes.
export class ConversationNews extends AnswerNews {
  connectedCallback() {
    super.connectedCallback();
    this.addEventListener("message-sending", (event) => this.#anticipate(event));
    this.addEventListener("message-withdrawn", () => this.#forgetDrafts());
    this.addEventListener("message-sent", ({ detail }) => this.#expect(detail));
    this.addEventListener("edit-last", () => [...this.querySelectorAll("edit-question")].at(-1)?.begin());
  }

  get wishes() {
    const open = { type: "open", conversation: this.getAttribute("conversation"), after: this.#after };
    return [open, { type: "sidebar" }, ...super.wishes];
  }

  read(frame) {
    if (frame.type === "messages") {
      this.#addMessages(frame);
    } else if (frame.type === "sidebar") {
      document.dispatchEvent(new CustomEvent("sidebar-news", { detail: frame }));
    } else {
      super.read(frame);
    }
  }

  #addMessages({ html, path, above, after }) {
    this.setAttribute("after", after);
    this.#removeOthers(path, document.getElementById(`message-${above}`));
    for (const message of parseOwn(html)) {
      const before = document.getElementById(message.id);
      if (before?.matches(".message--draft")) {
        this.#forgetDrafts(before);
        before.replaceWith(message);
      } else if (before) {
        refresh(before, message);
      } else {
        this.#putIn(message, path);
      }
    }
    if (path.some((id) => !document.getElementById(`message-${id}`))) {
      location.reload(); // another branch is shown by now, of which this page has too little
    }
  }

  /** Put a message where it stands in `path`: one that was deleted may come back between others. */
  #putIn(message, path) {
    const below = path.slice(path.indexOf(message.dataset.message) + 1);
    const next = below.map((id) => document.getElementById(`message-${id}`)).find(Boolean);
    if (next) {
      next.before(message);
      return;
    }
    this.#messages.append(message);
    if (message.matches(".message--user")) {
      message.dispatchEvent(new CustomEvent("question-added", { bubbles: true }));
    }
  }

  /** Take out the messages that are neither in `path` nor above it, down to the one `above`. */
  #removeOthers(path, above) {
    for (const message of [...this.querySelectorAll(".message")].reverse()) {
      if (message === above) {
        return;
      }
      if (!path.includes(message.dataset.message) && !message.matches(".message--draft")) {
        this.#remove(message);
      }
    }
  }

  #remove(message) {
    const wasRunning = message.querySelector("streaming-answer") !== null;
    message.remove();
    if (wasRunning) {
      this.dispatchEvent(new CustomEvent("answer-ended", { bubbles: true })); // as far as this page goes
    }
  }

  /** Show a question, and that an answer will come, before the server knows of either. */
  #anticipate(event) {
    event.preventDefault(); // from here on it is shown here
    const [question, answer] = anticipate(event.detail);
    this.#messages.append(question, answer);
    question.dispatchEvent(new CustomEvent("question-added", { bubbles: true }));
  }

  #forgetDrafts(except = null) {
    for (const draft of this.querySelectorAll(".message--draft")) {
      if (draft !== except) {
        draft.remove();
      }
    }
  }

  /** Load the page anew if a message that was sent does not come back as news. */
  #expect({ id, url }) {
    setTimeout(() => {
      if (!this.querySelector(`[data-message="${id}"]`)) {
        location.assign(url);
      }
    }, PATIENCE);
  }

  get #after() {
    return Number(this.getAttribute("after"));
  }

  get #messages() {
    return this.querySelector(".messages");
  }
}

/** Show a message that has other siblings by now, unless something is being written in it. */
function refresh(before, after) {
  if (!before.querySelector("form")) {
    keepFiles(before, after);
    before.replaceWith(after);
  }
}

customElements.define("conversation-news", ConversationNews);
