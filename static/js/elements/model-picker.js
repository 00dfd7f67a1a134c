import { Popup } from "../popup.js";

// <model-picker> around the select of the models, a button, and .picker with a search box and a list
//
// Takes the select's place and sets it: whoever types finds a model by its name, its description, and what it takes and
// gives. The select's own `change` tells what was chosen.
export class ModelPicker extends HTMLElement {
  #popup;
  #shown = [];

  connectedCallback() {
    if (!this.#select.options[0]?.dataset.name) {
      return; // there is no model yet
    }
    this.#popup = new Popup(this.#box, this.#button, this.closest("form"));
    this.querySelector(".composer__model").hidden = true;
    this.#button.hidden = false;
    this.#button.addEventListener("click", () => (this.#popup.isOpen ? this.#popup.close() : this.open()));
    this.#search.addEventListener("input", () => this.#filter());
    this.#search.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("click", ({ target }) => this.#choose(target.closest("[role=option]")));
    this.#list.addEventListener("pointermove", ({ target }) => this.#point(target.closest("[role=option]")));
    this.#select.addEventListener("change", () => this.#showChosen());
    this.#list.append(...Array.from(this.#select.options, (option, place) => this.#makeItem(option, place)));
    this.#showChosen();
  }

  /** Open it, with the chosen model in sight. */
  open() {
    this.#popup.open();
    this.#search.value = "";
    this.#filter();
    this.#point(this.#list.children[this.#select.selectedIndex]);
    this.#search.focus();
  }

  #makeItem({ dataset }, place) {
    const item = this.querySelector("template").content.firstElementChild.cloneNode(true);
    item.id = `model-${place}`;
    item.dataset.place = place;
    item.querySelector(".picker__icon").textContent = dataset.icon || Array.from(dataset.name)[0].toUpperCase();
    item.querySelector(".picker__name").textContent = dataset.name;
    item.querySelector(".picker__description").textContent = dataset.description;
    item.querySelector(".picker__takes").textContent = `Takes ${dataset.takes}, gives ${dataset.gives}`;
    item.dataset.words = item.textContent.toLowerCase();
    return item;
  }

  #filter() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of this.#list.children) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
    }
    this.#shown = [...this.#list.children].filter(({ hidden }) => !hidden);
    this.querySelector(".picker__none").hidden = this.#shown.length > 0;
    this.#point(this.#shown[0] ?? null);
  }

  #pressed(event) {
    const place = this.#shown.indexOf(this.#pointed);
    const last = this.#shown.length - 1;
    const aims = {
      ArrowDown: place < last ? place + 1 : 0,
      ArrowUp: place > 0 ? place - 1 : last,
      PageDown: Math.min(place + 5, last),
      PageUp: Math.max(place - 5, 0),
      ...(this.#search.value ? {} : { Home: 0, End: last }), // in what was typed they move the cursor
    };
    if (event.isComposing) {
      return;
    }
    if (event.key in aims) {
      event.preventDefault();
      this.#point(this.#shown[aims[event.key]]);
    } else if (event.key === "Enter") {
      event.preventDefault(); // or it would send the message
      this.#choose(this.#pointed);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.#popup.close({ back: true });
    } else if (event.key === "Tab") {
      this.#popup.close({ back: true });
    }
  }

  #point(item) {
    if (item === null) {
      if (this.#shown.length === 0) {
        this.#search.removeAttribute("aria-activedescendant");
      }
      return;
    }
    this.#pointed?.removeAttribute("data-pointed");
    item.dataset.pointed = "";
    item.scrollIntoView({ block: "nearest" });
    this.#search.setAttribute("aria-activedescendant", item.id);
  }

  #choose(item) {
    if (!item) {
      return;
    }
    this.#select.selectedIndex = Number(item.dataset.place);
    this.#select.dispatchEvent(new Event("change", { bubbles: true }));
    this.#popup.close();
    this.closest("form").querySelector("textarea").focus();
  }

  #showChosen() {
    const { dataset } = this.#select.selectedOptions[0];
    this.#button.querySelector(".picker__icon").textContent = dataset.icon;
    this.#button.querySelector(".picker__name").textContent = dataset.name;
    for (const item of this.#list.children) {
      item.ariaSelected = String(Number(item.dataset.place) === this.#select.selectedIndex);
    }
  }

  get #pointed() {
    return this.#list.querySelector("[data-pointed]:not([hidden])");
  }

  get #select() {
    return this.querySelector("select");
  }

  get #button() {
    return this.querySelector(".picker__button");
  }

  get #box() {
    return this.querySelector(".picker");
  }

  get #search() {
    return this.querySelector(".picker__search");
  }

  get #list() {
    return this.querySelector(".picker__list");
  }
}

customElements.define("model-picker", ModelPicker);
