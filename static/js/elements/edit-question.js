import "./hidden-characters.js";
import { ownDrafts } from "../drafts.js";
import { post } from "../post.js";
import { makeUuid } from "../uuid.js";

// <edit-question> around a question and its actions, with a link (.message__edit) to the page where it is edited
//
// Edits the question in its place instead. What is written outlives the page; Escape leaves the question as it is.
export class EditQuestion extends HTMLElement {
  #form = null;
  #id; // of what is written: sent again, it is still the same question

  connectedCallback() {
    this.#link.addEventListener("click", (event) => this.#begin(event));
    const draft = ownDrafts().read(this.#link.pathname);
    if (draft && this.#form === null) {
      this.#open(draft);
    }
  }

  disconnectedCallback() {
    // Asked, though that it was has not come back: then its news have taken this one's place.
    setTimeout(() => {
      if (this.#form && document.getElementById(`message-${this.#id}`)) {
        ownDrafts().remove(this.#link.pathname);
      }
    });
  }

  /** Open the box, as a press of the link does. */
  begin() {
    if (this.#form === null) {
      this.#open({ text: this.#question.textContent, id: makeUuid() });
    }
    this.#box.focus();
  }

  #open({ text, id }) {
    this.#id = id;
    this.#form = this.#makeForm(text);
    for (const part of this.children) {
      part.hidden = true;
    }
    this.append(this.#form);
  }

  #typed() {
    this.#id = makeUuid();
    ownDrafts().write(this.#link.pathname, { text: this.#box.value, id: this.#id });
  }

  #begin(event) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      this.begin();
    }
  }

  async #send(event) {
    event.preventDefault();
    const form = this.#form;
    if (form.ariaBusy === "true" || this.#box.value.trim() === "") {
      return;
    }
    form.ariaBusy = "true";
    const { problem } = await post(this.#link.href, this.#fields);
    form.ariaBusy = null;
    if (problem) {
      form.querySelector("[role=alert]").textContent = problem;
      form.querySelector("textarea").focus();
    } else {
      // What comes of it comes as news, and takes the place of all this.
      ownDrafts().remove(this.#link.pathname);
    }
  }

  #leave() {
    ownDrafts().remove(this.#link.pathname);
    this.#form.remove();
    this.#form = null;
    for (const part of this.children) {
      part.hidden = false;
    }
    this.#link.focus();
  }

  #makeForm(text) {
    const form = document.createElement("form");
    form.className = "rewrite rewrite--inline";
    const box = document.createElement("textarea");
    box.name = "text";
    box.rows = 3;
    box.dir = "auto";
    box.ariaLabel = "Question in other words";
    box.value = text;
    box.addEventListener("input", () => this.#typed());
    const problem = document.createElement("p");
    problem.className = "rewrite__problem";
    problem.role = "alert";
    const actions = document.createElement("div");
    actions.className = "rewrite__actions";
    actions.append(makeButton("Ask", "submit", "button button--primary"), makeButton("Leave it", "button", "button"));
    form.append(box, document.createElement("hidden-characters"), problem, actions);
    form.addEventListener("submit", (event) => this.#send(event));
    form.addEventListener("keydown", (event) => this.#pressed(event));
    actions.lastChild.addEventListener("click", () => this.#leave());
    return form;
  }

  #pressed(event) {
    if (event.key === "Escape") {
      this.#leave();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === this.#box) {
      event.preventDefault();
      this.#form.requestSubmit();
    }
  }

  get #fields() {
    const fields = new FormData(this.#form);
    fields.set("id", this.#id);
    fields.set("csrfmiddlewaretoken", document.querySelector("#message-actions [name=csrfmiddlewaretoken]").value);
    const model = document.querySelector(".composer [name=model]")?.value;
    if (model) {
      fields.set("model", model);
    }
    return fields;
  }

  get #box() {
    return this.#form.querySelector("textarea");
  }

  get #link() {
    return this.querySelector(".message__edit");
  }

  get #question() {
    return this.querySelector(".message__question");
  }
}

function makeButton(words, type, className) {
  const button = document.createElement("button");
  button.type = type;
  button.className = className;
  button.textContent = words;
  return button;
}

customElements.define("edit-question", EditQuestion);
