import { parseOwn } from "../markup.js";
import { Popup } from "../popup.js";

const PREFIX = "parameter:"; // of the fields' names
const LOST = "The settings could not be fetched. Close this and open it again.";

// <parameters-panel> with a button and .parameters, which is filled with the server's HTML when it is opened
//
// What is sent beside the questions of this page to the chosen model. It is kept for the tab, each page and each model.
export class ParametersPanel extends HTMLElement {
  #popup;
  #url = "";
  #model = "";
  #loaded = "";

  connectedCallback() {
    this.#popup = new Popup(this.#box, this.#button, this.closest("form"));
    this.#button.addEventListener("click", () => (this.#popup.isOpen ? this.#popup.close() : this.open()));
    this.#box.addEventListener("input", (event) => this.#typed(event));
    this.#box.addEventListener("click", (event) => this.#clicked(event));
    this.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** Be for another model; without a `url` there is nothing to set for it. */
  choose(model, url) {
    [this.#model, this.#url] = [model, url];
    this.#popup.close();
    this.#button.hidden = url === "";
    this.#showCount();
  }

  /** What was set for the chosen model: texts by the names of its inputs. */
  get values() {
    try {
      return JSON.parse(sessionStorage.getItem(this.#key)) ?? {};
    } catch {
      return {};
    }
  }

  /** Have the settings of this page on the one at `path`, too. */
  takeAlong(path) {
    if (Object.keys(this.values).length) {
      this.#keep(this.values, this.#keyFor(path));
    }
  }

  async open() {
    this.#popup.open();
    if (this.#loaded !== this.#url) {
      await this.#load();
    }
  }

  /** Show problems at their fields; return those that have none here. */
  async explain(problems) {
    await this.open();
    for (const place of this.#box.querySelectorAll(".parameter__problem")) {
      place.textContent = "";
    }
    const rest = {};
    for (const [name, sentence] of Object.entries(problems)) {
      const field = this.#fields.find((each) => each.name === PREFIX + name);
      if (field) {
        this.#explainAt(field, sentence);
      } else {
        rest[name] = sentence;
      }
    }
    (this.#box.querySelector("[aria-invalid=true]") ?? this.#button).focus();
    return rest;
  }

  async #load() {
    const url = this.#url;
    let html;
    try {
      const response = await fetch(url, { headers: { Accept: "text/html" } });
      if (!response.ok || response.redirected) {
        throw new Error(String(response.status));
      }
      html = await response.text();
    } catch {
      this.#box.textContent = LOST;
      return;
    }
    if (url === this.#url) {
      this.#box.replaceChildren(...parseOwn(html));
      this.#loaded = url;
      this.#fill(this.values);
    }
  }

  #fill(values) {
    for (const field of this.#fields) {
      const text = values[field.name.slice(PREFIX.length)] ?? "";
      if (field.type === "checkbox") {
        field.checked = (text || field.dataset.standing) === "true";
      } else {
        field.value = text;
      }
      this.#clear(field);
      this.#moveSlider(field);
    }
  }

  #typed({ target }) {
    if (target.type === "range") {
      target.parentElement.querySelector(".parameter__field").value = target.value;
    } else {
      this.#moveSlider(target);
    }
    this.#clear(target.closest(".parameter").querySelector("[name]"));
    this.#read();
  }

  #clicked({ target }) {
    const random = target.closest("[data-random]");
    if (random) {
      const field = random.parentElement.querySelector(".parameter__field");
      field.value = randomBetween(Number(random.dataset.minimum), Number(random.dataset.maximum));
      field.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (target.closest("[data-reset]")) {
      this.#fill({});
      this.#read();
    }
  }

  #pressed(event) {
    if (event.key === "Escape" && this.#popup.isOpen) {
      event.stopPropagation();
      this.#popup.close({ back: true });
    } else if (event.key === "Enter" && event.target.matches("input")) {
      event.preventDefault(); // or it would send the message
    }
  }

  #read() {
    const values = {};
    for (const field of this.#fields) {
      const text = textOf(field);
      if (text !== "") {
        values[field.name.slice(PREFIX.length)] = text;
      }
    }
    this.#keep(values, this.#key);
    this.#showCount();
  }

  #keep(values, key) {
    try {
      sessionStorage.setItem(key, JSON.stringify(values));
    } catch {
      // Full, or switched off: the fields still have them until the page is left.
    }
  }

  #moveSlider(field) {
    const slider = field.parentElement.querySelector(".parameter__slider");
    if (slider) {
      slider.value = field.value.replace(",", ".") || slider.defaultValue;
    }
  }

  #explainAt(field, sentence) {
    field.ariaInvalid = "true";
    field.closest(".parameter").querySelector(".parameter__problem").textContent = sentence;
  }

  #clear(field) {
    field.removeAttribute("aria-invalid");
    field.closest(".parameter").querySelector(".parameter__problem").textContent = "";
  }

  #showCount() {
    const count = this.#url ? Object.keys(this.values).length : 0;
    this.#count.hidden = count === 0;
    this.#count.textContent = count;
  }

  #keyFor(path) {
    return `parameters:${path}:${this.#model}`;
  }

  get #key() {
    return this.#keyFor(location.pathname);
  }

  get #fields() {
    return [...this.#box.querySelectorAll("[name]")];
  }

  get #button() {
    return this.querySelector(".composer__settings");
  }

  get #count() {
    return this.querySelector(".composer__count");
  }

  get #box() {
    return this.querySelector(".parameters");
  }
}

function textOf(field) {
  if (field.type !== "checkbox") {
    return field.value;
  }
  const text = String(field.checked);
  return text === field.dataset.standing ? "" : text;
}

function randomBetween(lowest, highest) {
  const most = Math.min(highest, Number.MAX_SAFE_INTEGER);
  return Math.floor(lowest + Math.random() * (most - lowest + 1));
}

customElements.define("parameters-panel", ParametersPanel);
