// <search-box> around a form with an <input type="search"> and a <kbd>
//
// Ctrl or Cmd+K begins a search from anywhere, also where the sidebar is put away.
export class SearchBox extends HTMLElement {
  connectedCallback() {
    const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
    const hint = this.querySelector("kbd");
    hint.textContent = isApple ? "⌘K" : "Ctrl K";
    hint.hidden = !matchMedia("(hover: hover)").matches;
    this.#input.setAttribute("aria-keyshortcuts", isApple ? "Meta+K" : "Control+K");
    document.addEventListener("keydown", this.#focus);
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.#focus);
  }

  #focus = (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    if (!this.checkVisibility()) {
      this.closest("[popover]")?.showPopover();
    }
    this.#input.focus();
    this.#input.select();
  };

  get #input() {
    return this.querySelector("input");
  }
}

customElements.define("search-box", SearchBox);
