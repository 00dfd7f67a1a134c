// <prompt-suggestions hidden> with a button for each question that somebody could begin with
//
// Puts the question of the pressed button into the composer's box, to be changed or sent.
export class PromptSuggestions extends HTMLElement {
  connectedCallback() {
    this.hidden = false;
    this.addEventListener("click", ({ target }) => this.#suggest(target.closest("button")));
  }

  #suggest(button) {
    if (button) {
      this.#box.value = button.textContent;
      this.#box.dispatchEvent(new Event("input", { bubbles: true }));
      this.#box.focus();
    }
  }

  get #box() {
    return document.querySelector(".composer__box");
  }
}

customElements.define("prompt-suggestions", PromptSuggestions);
