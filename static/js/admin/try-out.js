import "./answers.js";
import { announce } from "../announcer.js";
import { parseOwn } from "../markup.js";
import { post } from "../post.js";

const FAULTS = "Mend what is marked in the form, then try again.";

// <try-out action="/…/try/"> beside the form of a model: .try__prompt, .try__problem, .try__begin, .try__place
//
// Sends that form as it stands to be tried, not saved, and shows the answer that comes of it. One at a time.
export class TryOut extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", this.#click);
    this.addEventListener("answer-ended", this.#end);
  }

  disconnectedCallback() {
    this.removeEventListener("click", this.#click);
    this.removeEventListener("answer-ended", this.#end);
  }

  #click = (event) => {
    const button = event.target.closest("button");
    if (button?.matches(".try__begin")) {
      event.preventDefault();
      if (!this.#busy) this.#try();
    } else if (button?.matches(".try__stop")) {
      event.preventDefault();
      this.#stop(button);
    }
  };

  #end = () => {
    this.#busy = false;
    this.querySelector(".try__stop")?.remove();
  };

  async #try() {
    this.#busy = true;
    this.#say("");
    unmark(this.#form);
    const { body, problem } = await post(this.getAttribute("action"), new FormData(this.#form));
    if (body?.html) {
      this.#place.replaceChildren(...parseOwn(body.html));
      this.#busy = this.querySelector("streaming-answer") !== null;
      if (!this.#busy) announce(this.#place.querySelector(".notice")?.textContent.trim() ?? "");
    } else {
      this.#busy = false;
      this.#refuse(body, problem);
    }
  }

  async #stop(button) {
    button.disabled = true;
    const { problem } = await post(button.formAction, new FormData(this.#form));
    if (problem) {
      button.disabled = false;
      this.#say(problem);
    }
  }

  #refuse(body, problem) {
    const { try_prompt: own, ...others } = body?.errors ?? {};
    const rows = Object.entries(others).map(([name, sentences]) => mark(this.#form, name, sentences));
    const first = rows.find(Boolean);
    if (own) {
      this.#say(own.join(" "));
      this.querySelector(".try__prompt").focus();
    } else if (first) {
      this.#say(FAULTS);
      first.querySelector("input, select, textarea").focus({ preventScroll: true });
      first.scrollIntoView({ block: "center" });
    } else {
      this.#say(problem);
    }
  }

  #say(sentence) {
    this.querySelector(".try__problem").textContent = sentence;
  }

  get #busy() {
    return this.ariaBusy === "true";
  }

  set #busy(value) {
    this.ariaBusy = String(value);
    // A button that were disabled would lose the focus.
    this.querySelector(".try__begin").ariaDisabled = String(value);
  }

  get #form() {
    return this.querySelector(".try__prompt").form;
  }

  get #place() {
    return this.querySelector(".try__place");
  }
}

/** Show what is wrong with a field as Django's admin does; return its row, if it has one. */
function mark(form, name, sentences) {
  const row = form.elements.namedItem(name)?.closest?.(".form-row");
  if (!row) {
    return null;
  }
  const list = document.createElement("ul");
  list.className = "errorlist";
  list.append(...sentences.map(listItem));
  row.prepend(list);
  row.classList.add("errors");
  row.querySelector("input, select, textarea").ariaInvalid = "true";
  return row;
}

function listItem(sentence) {
  const item = document.createElement("li");
  item.textContent = sentence;
  return item;
}

function unmark(form) {
  for (const row of form.querySelectorAll(".form-row.errors")) {
    row.classList.remove("errors");
    row.querySelector(".errorlist")?.remove();
    row.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
  }
}

customElements.define("try-out", TryOut);
