// <keyboard-map> around a <dialog> that lists the keys
//
// `?` opens it, and so do buttons with data-keys; the keys that no other element listens to do here what it says. While
// somebody types, keys alone mean letters.
export class KeyboardMap extends HTMLElement {
  connectedCallback() {
    document.addEventListener("keydown", this.#pressed);
    for (const key of isApple() ? this.querySelectorAll("kbd") : []) {
      key.textContent = key.textContent.replace("Ctrl", "⌘");
    }
    for (const button of document.querySelectorAll("[data-keys]")) {
      button.hidden = false;
      button.addEventListener("click", () => this.#openFrom(button));
    }
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.#pressed);
  }

  #pressed = (event) => {
    if (event.isComposing || event.defaultPrevented) {
      return;
    }
    const action = this.#actionOf(event);
    if (action) {
      event.preventDefault();
      action();
    }
  };

  #actionOf({ key, shiftKey, ctrlKey, metaKey, altKey, target }) {
    const isTyping = target.closest("input, textarea, select, [contenteditable]");
    if (key === "?" && !isTyping && !ctrlKey && !metaKey && !altKey) {
      return () => this.#dialog.showModal();
    }
    if ((ctrlKey || metaKey) && shiftKey && !altKey) {
      return { o: begin, c: copyLast }[key.toLowerCase()];
    }
    return shiftKey && key === "Escape" ? write : null;
  }

  /** Open it in the place of the menu that `button` is in: where that was opened, the focus is afterwards. */
  #openFrom(button) {
    button.closest("[popover]")?.hidePopover();
    this.#dialog.showModal();
  }

  get #dialog() {
    return this.querySelector("dialog");
  }
}

function isApple() {
  return /Mac|iPhone|iPad/.test(navigator.platform);
}

function begin() {
  document.querySelector(".sidebar__new").click();
}

function copyLast() {
  [...document.querySelectorAll("copy-answer button")].at(-1)?.click();
}

function write() {
  document.querySelector(".composer textarea")?.focus();
}

customElements.define("keyboard-map", KeyboardMap);
