// <prompt-suggestions hidden> with lists of questions that somebody could begin with: data-kind says for models that give
// what; the list without one is for the question that a model's own host shows
//
// Shows what fits the chosen model, and puts the question of the pressed button into the composer's box, to be changed
// or sent.
export class PromptSuggestions extends HTMLElement {
  connectedCallback() {
    this.#select.addEventListener("change", this.#choose);
    this.addEventListener("click", ({ target }) => this.#suggest(target.closest("button")));
    this.#choose();
  }

  disconnectedCallback() {
    this.#select?.removeEventListener("change", this.#choose);
  }

  #choose = () => {
    const { kind, example } = this.#select.selectedOptions[0].dataset;
    const own = this.querySelector("ul:not([data-kind])");
    own.querySelector("button").textContent = example;
    own.hidden = !example;
    for (const list of this.querySelectorAll("ul[data-kind]")) {
      list.hidden = !list.dataset.kind.split(" ").includes(kind);
    }
    this.hidden = !this.querySelector("ul:not([hidden])");
  };

  #suggest(button) {
    if (button) {
      this.#box.value = button.textContent;
      this.#box.dispatchEvent(new Event("input", { bubbles: true }));
      this.#box.focus();
    }
  }

  get #select() {
    return document.querySelector("#id_model");
  }

  get #box() {
    return document.querySelector(".composer__box");
  }
}

customElements.define("prompt-suggestions", PromptSuggestions);
