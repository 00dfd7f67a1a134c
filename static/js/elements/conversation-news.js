import { parseOwn } from "../markup.js";
import { AnswerNews } from "./answer-news.js";

const PATIENCE = 5000; // milliseconds that one's own message may take to come back before the page is loaded anew

// <conversation-news conversation="…" after="4" login="/accounts/login/">
//   .messages with the articles, .connection with what to say while the connection is lost
//
// Keeps the conversation as the server has it: new messages are put in, those that left the branch are taken out,
// answers grow and end.
export class ConversationNews extends AnswerNews {
  connectedCallback() {
    super.connectedCallback();
    this.addEventListener("message-sent", ({ detail }) => this.#expect(detail));
  }

  get wishes() {
    return [{ type: "open", conversation: this.getAttribute("conversation"), after: this.#after }, ...super.wishes];
  }

  read(frame) {
    if (frame.type === "messages") {
      this.#addMessages(frame);
    } else {
      super.read(frame);
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

customElements.define("conversation-news", ConversationNews);
