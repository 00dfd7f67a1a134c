import "./composer-files.js";
import "./hidden-characters.js";
import "./parameters-panel.js";
import { announce } from "../announcer.js";
import { refusalOf } from "../attachments.js";
import { Backoff } from "../backoff.js";
import { ownDrafts } from "../drafts.js";
import { Outbox, State } from "../outbox.js";
import { inWords, post } from "../post.js";
import { makeUuid } from "../uuid.js";

const WAITING = {
  [State.SENDING]: "Sending …",
  [State.ANSWER]: "Sent when this answer is finished",
  [State.CONNECTION]: "Waits for the connection",
};
const NEXT = "Sent after the one before it";

const FULL = "As many messages wait as this page holds. Remove one, or wait until one is sent.";
const ON_THEIR_WAY = "A file is still on its way. Send when it is there.";
const NOT_ARRIVED = "A file did not arrive. Remove it, and add it again.";
const WRONG_SETTINGS = "A setting is not right: look at what is marked there, then send again.";

const SETTLING = 2000; // milliseconds in which the answer to what was sent is on the page, usually
const PARAMETER = "parameter:"; // begins the names of settings in what is sent

// <message-composer> around .outbox, a template for its items, the form with <hidden-characters>, and .composer__problem
//
// What is sent goes into the outbox, and from there to the server: once, however often it is tried; while an answer is
// being written or the server cannot be reached, it waits there, also over a reload. What is refused comes back into the
// box. Enter sends, Shift+Enter begins a new line. Events:
// - `message-sending` (detail: id, text, author) may be prevented by whoever shows the message from then on; after
//   `message-withdrawn` (detail: id) it waits, or is back in the box, and is shown here again
// - `message-sent` (detail: the message's id, and the url of its conversation)
// - `edit-last` for the up arrow in an empty box
export class MessageComposer extends HTMLElement {
  #drafts = ownDrafts();
  #outbox;
  #backoff = new Backoff();
  #retry = null;
  #isWorking = false;
  #shownElsewhere = null; // the id of the message that somebody else shows already
  #returned = null; // a message that came back into the box: unchanged, it is still the same one

  connectedCallback() {
    this.#outbox = new Outbox(sessionStorage, `outbox:${location.pathname}`);
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#box.addEventListener("input", () => this.#typed());
    this.#box.addEventListener("keydown", (event) => this.#pressed(event));
    this.#attach.hidden = this.#files.isClosed;
    this.#attach.addEventListener("click", () => this.#pick());
    this.#select.addEventListener("change", () => this.#chosen());
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#stop?.addEventListener("click", () => this.#aimStop());
    this.addEventListener("files-changed", () => this.#filesChanged());
    this.addEventListener("files-problem", ({ detail }) => this.#say(detail));
    document.addEventListener("answer-ended", this.#answerEnded);
    document.addEventListener("submit", this.#signingOut, true);
    window.addEventListener("online", this.#work);
    this.#restore();
    this.#chosen();
    this.#showOutbox();
    this.#work();
  }

  disconnectedCallback() {
    document.removeEventListener("answer-ended", this.#answerEnded);
    document.removeEventListener("submit", this.#signingOut, true);
    window.removeEventListener("online", this.#work);
    clearTimeout(this.#retry);
  }

  // Writing

  #restore() {
    const draft = this.#drafts.read(location.pathname);
    this.#box.value ||= draft?.text ?? "";
    if (Array.isArray(draft?.files)) {
      this.#files.restore(draft.files);
    }
  }

  #typed() {
    this.#keepDraft();
    this.#showSendable();
  }

  #keepDraft() {
    const { value: text } = this.#box;
    const { files } = this.#files;
    if (text === "" && files.length === 0) {
      this.#drafts.remove(location.pathname);
    } else {
      this.#drafts.write(location.pathname, { text, files });
    }
  }

  #filesChanged() {
    this.#keepDraft();
    this.#say(this.#refusal);
    this.#showSendable();
  }

  #chosen() {
    const { accept, name, parameters } = this.#offer;
    const takesFiles = Object.keys(this.#rooms).length > 0;
    this.#files.offer(takesFiles ? accept : null);
    this.#attach.ariaDisabled = String(!takesFiles);
    this.#attach.title = takesFiles ? `Add files: ${name} takes ${this.#offer.files}` : `${name} takes no files`;
    this.#panel.choose(this.#select.value, parameters ?? "");
    this.#say(this.#refusal);
  }

  #pick() {
    if (this.#attach.ariaDisabled === "true") {
      this.#say(`${this.#attach.title}. Choose another model to add some.`);
    } else {
      this.#files.pick();
    }
  }

  #pressed(event) {
    // While an input method composes a word, keys belong to it.
    if (event.isComposing) {
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#form.requestSubmit();
    } else if (event.key === "ArrowUp" && this.#box.value === "" && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#editLast();
    }
  }

  #editLast() {
    const last = this.#outbox.items.at(-1);
    if (last && last.state !== State.SENDING) {
      this.#edit(last);
    } else {
      this.dispatchEvent(new CustomEvent("edit-last", { bubbles: true }));
    }
  }

  // Sending

  #submit(event) {
    event.preventDefault();
    if (this.#isEmpty || (this.#isNew && this.#outbox.first)) {
      return;
    }
    const problem = this.#outbox.isFull ? FULL : this.#files.isBusy ? ON_THEIR_WAY : this.#refusal;
    this.#say(problem);
    if (problem === "") {
      this.#outbox.add(this.#takeMessage());
      this.#showOutbox();
      this.#work();
    }
  }

  /** Return what is in the box as a message, and empty the box. */
  #takeMessage() {
    const { value: text } = this.#box;
    const id = this.#returned?.text === text ? this.#returned.id : makeUuid();
    const { files } = this.#files;
    const message = { id, text, model: this.#select.value, files, parameters: this.#panel.values };
    this.#returned = null;
    this.#box.value = "";
    this.#files.clear();
    this.#typed();
    return message;
  }

  /** Send the first message that waits, unless something is in the way. */
  #work = async () => {
    if (this.#isWorking) {
      return;
    }
    this.#isWorking = true;
    clearTimeout(this.#retry);
    try {
      if (this.#outbox.first) {
        await this.#sendFirst();
      }
    } finally {
      this.#isWorking = false;
    }
    this.#showOutbox();
    this.#showSendable();
  };

  async #sendFirst() {
    const message = this.#outbox.first;
    if (document.getElementById(`message-${message.id}`)) {
      // The server has it: only its word of that was lost.
      this.#outbox.remove(message.id);
      this.#retry = setTimeout(this.#work);
      return;
    }
    if (this.#running) {
      this.#wait(State.ANSWER);
      return;
    }
    if (!navigator.onLine) {
      this.#wait(State.CONNECTION);
      return;
    }
    this.#tellSending(message);
    const { body, problem, isLost } = await post(this.#form.action, this.#fieldsOf(message));
    if (isLost) {
      this.#wait(State.CONNECTION);
      return;
    }
    // Only one refusal belongs to no field: the last answer is still being written, in another tab or not shown yet.
    if (body?.errors?.__all__) {
      this.#wait(State.ANSWER);
      return;
    }
    this.#backoff.reset();
    this.#outbox.remove(message.id);
    if (problem) {
      this.#takeBack(message, problem, body);
    } else {
      this.#sent(message, body.url);
    }
  }

  /** Have the first message wait, and try again by and by: what it waits for may pass without a word. */
  #wait(state) {
    this.#withdraw();
    if (this.#outbox.first.state !== state) {
      announce(`${WAITING[state]}.`);
    }
    this.#outbox.wait(state);
    // An answer may also go without ending: its branch is left.
    this.#retry = setTimeout(this.#work, this.#running ? SETTLING : this.#backoff.next());
  }

  #withdraw() {
    if (this.#shownElsewhere) {
      const detail = { id: this.#shownElsewhere };
      this.dispatchEvent(new CustomEvent("message-withdrawn", { bubbles: true, detail }));
    }
    this.#shownElsewhere = null;
  }

  #tellSending({ id, text, model }) {
    const { name: author } = this.#select.querySelector(`[value="${model}"]`)?.dataset ?? {};
    const detail = { id, text, author };
    const isFree = this.dispatchEvent(new CustomEvent("message-sending", { bubbles: true, cancelable: true, detail }));
    this.#shownElsewhere = isFree ? null : id;
    this.#outbox.wait(State.SENDING);
    this.#showOutbox();
  }

  #fieldsOf({ id, text, model, files, parameters }) {
    const fields = new FormData();
    fields.set("csrfmiddlewaretoken", this.#form.querySelector("[name=csrfmiddlewaretoken]").value);
    fields.set("id", id);
    fields.set("text", text);
    fields.set("model", model);
    for (const file of files ?? []) {
      fields.append("uploads", file.id);
    }
    for (const [name, value] of Object.entries(parameters ?? {})) {
      fields.set(PARAMETER + name, value);
    }
    return fields;
  }

  #sent({ id }, url) {
    if (url === location.pathname) {
      this.#shownElsewhere = null;
      this.dispatchEvent(new CustomEvent("message-sent", { bubbles: true, detail: { id, url } }));
      // The next one waits for the answer to this one, which is not on the page yet.
      this.#outbox.wait(State.ANSWER);
      this.#retry = setTimeout(this.#work, SETTLING);
      return;
    }
    this.#panel.takeAlong(url);
    this.#form.ariaBusy = "true"; // until that page is there
    location.assign(url);
  }

  #takeBack(message, problem, body) {
    this.#withdraw();
    this.#putIntoBox(message);
    this.#explain(problem, body);
  }

  async #explain(problem, body) {
    const errors = Object.entries(body?.errors ?? {});
    const atFields = errors.filter(([name]) => name.startsWith(PARAMETER));
    if (atFields.length === 0) {
      this.#say(problem);
      return;
    }
    const others = errors.filter(([name]) => !name.startsWith(PARAMETER));
    const named = atFields.map(([name, [sentence]]) => [name.slice(PARAMETER.length), sentence]);
    const homeless = await this.#panel.explain(Object.fromEntries(named));
    this.#say(Object.keys(homeless).length ? inWords({ errors: Object.fromEntries(others) }) : WRONG_SETTINGS);
  }

  #putIntoBox(message) {
    const { id, text, files } = message;
    this.#returned = this.#isEmpty ? { id, text } : null;
    this.#box.value = [text, this.#box.value].filter(Boolean).join("\n\n");
    this.#files.restore(files ?? []);
    this.#typed();
  }

  // The messages that wait

  #clicked({ target }) {
    const message = this.#outbox.items.find(({ id }) => id === target.closest("[data-id]")?.dataset.id);
    if (!message || message.state === State.SENDING) {
      return;
    }
    if (target.closest("[data-edit]")) {
      this.#edit(message);
    } else if (target.closest("[data-remove]")) {
      this.#outbox.remove(message.id);
      this.#showOutbox();
      this.#box.focus();
    }
  }

  #edit(message) {
    this.#outbox.remove(message.id);
    this.#putIntoBox(message);
    this.#showOutbox();
    this.#box.focus();
  }

  #showOutbox() {
    const shown = this.#outbox.items.filter(({ id }) => id !== this.#shownElsewhere);
    this.#list.replaceChildren(...shown.map((message) => this.#makeItem(message)));
    this.#list.hidden = shown.length === 0;
  }

  #makeItem({ id, text, state }) {
    const item = this.querySelector("template").content.firstElementChild.cloneNode(true);
    const isFirst = id === this.#outbox.first.id;
    item.dataset.id = id;
    item.querySelector(".outbox__text").textContent = text;
    item.querySelector(".outbox__state").textContent = isFirst ? (WAITING[state] ?? "") : NEXT;
    for (const button of item.querySelectorAll("button")) {
      button.hidden = state === State.SENDING;
    }
    return item;
  }

  // What happens elsewhere

  /** Have the Stop button stop the answer that is being written now, not the one when the page was made. */
  #aimStop() {
    const url = this.#running?.getAttribute("stop");
    if (url) {
      this.#stop.formAction = url;
    }
  }

  #answerEnded = () => {
    const { activeElement } = document;
    // The Stop button has just gone.
    if (activeElement === this.#stop || activeElement === document.body) {
      this.#box.focus({ preventScroll: true });
    }
    this.#work();
  };

  #signingOut = ({ target }) => {
    if (target.matches('form[action$="/logout/"]')) {
      this.#drafts.clear();
      sessionStorage.clear();
    }
  };

  // What is shown

  #fit() {
    // Browsers without `field-sizing` do not let a text box grow with its text.
    if (!CSS.supports("field-sizing", "content")) {
      this.#box.style.height = "auto";
      this.#box.style.height = `${this.#box.scrollHeight}px`;
    }
  }

  #showSendable() {
    this.#fit();
    this.querySelector("hidden-characters").look();
    this.#sendButton.disabled = this.#isEmpty;
    this.#form.toggleAttribute("data-filled", !this.#isEmpty);
  }

  #say(problem) {
    this.querySelector(".composer__problem").textContent = problem;
  }

  /** Why this message cannot be sent as it is, or "". */
  get #refusal() {
    const offer = { name: this.#offer.name, files: this.#offer.files, rooms: this.#rooms };
    const refusal = this.#files.all.length ? refusalOf(this.#files.all, offer, this.#files.most) : "";
    return refusal || (this.#files.hasProblem ? NOT_ARRIVED : "");
  }

  get #rooms() {
    return JSON.parse(this.#offer.rooms ?? "{}");
  }

  get #offer() {
    return this.#select.selectedOptions[0].dataset;
  }

  get #isEmpty() {
    return this.#box.value.trim() === "";
  }

  /** Whether this is the page of a conversation that has not begun: its first message leads elsewhere. */
  get #isNew() {
    return this.#stop === null;
  }

  get #running() {
    return document.querySelector("streaming-answer");
  }

  get #form() {
    return this.querySelector("form");
  }

  get #box() {
    return this.querySelector(".composer__box");
  }

  get #files() {
    return this.querySelector("composer-files");
  }

  get #panel() {
    return this.querySelector("parameters-panel");
  }

  get #select() {
    return this.querySelector("#id_model");
  }

  get #attach() {
    return this.querySelector(".composer__attach");
  }

  get #list() {
    return this.querySelector(".outbox");
  }

  get #sendButton() {
    return this.querySelector(".composer__send");
  }

  get #stop() {
    return this.querySelector(".composer__stop");
  }
}

customElements.define("message-composer", MessageComposer);
