import { announce } from "../announcer.js";
import { post } from "../post.js";

const SHOWN = 30_000; // milliseconds

// <undo-notice popover="manual"> with .undo__words and a form that brings back what was deleted
//
// Says for a while that something was deleted, or that something went wrong.
export class UndoNotice extends HTMLElement {
  #timer = null;

  connectedCallback() {
    this.querySelector("form").addEventListener("submit", (event) => this.#undo(event));
    document.addEventListener("deleted", this.#offer);
    document.addEventListener("notice", this.#tell);
    if (!this.hidden) {
      this.#show("Deleted.");
    }
  }

  disconnectedCallback() {
    document.removeEventListener("deleted", this.#offer);
    document.removeEventListener("notice", this.#tell);
    clearTimeout(this.#timer);
  }

  #offer = ({ detail }) => {
    this.#form.action = detail.restore;
    this.#form.hidden = false;
    this.#show("Deleted.");
    if (detail.takesFocus) {
      this.querySelector("button").focus();
    }
  };

  #tell = ({ detail }) => {
    this.#form.hidden = true;
    this.#show(detail);
  };

  #show(sentence) {
    this.querySelector(".undo__words").textContent = sentence;
    this.hidden = false;
    // Anew, so that it lies above a sidebar that was opened since.
    this.#close();
    this.showPopover();
    announce(this.#form.hidden ? sentence : `${sentence} It can be undone for 30 seconds.`);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#end(), SHOWN);
  }

  async #undo(event) {
    event.preventDefault();
    const { body, problem } = await post(this.#form.action, new FormData(this.#form));
    if (problem) {
      this.#tell({ detail: problem });
      return;
    }
    announce("It is back.");
    if (new URLSearchParams(location.search).has("deleted")) {
      location.assign(body.url);
    } else {
      this.#end();
      document.querySelector("side-bar")?.refresh();
    }
  }

  #end() {
    clearTimeout(this.#timer);
    this.#close();
    this.hidden = true;
    if (new URLSearchParams(location.search).has("deleted")) {
      history.replaceState(history.state, "", location.pathname);
    }
  }

  #close() {
    if (this.matches(":popover-open")) {
      this.hidePopover();
    }
  }

  get #form() {
    return this.querySelector("form");
  }
}

customElements.define("undo-notice", UndoNotice);
