import { copy } from "../clipboard.js";

// <answer-text> around an answer's HTML
//
// Gives each block of code a button that copies it, and lets the keyboard scroll what is too wide.
export class AnswerText extends HTMLElement {
  #observer = new MutationObserver(() => this.#equip());

  connectedCallback() {
    this.#observer.observe(this, { childList: true });
    this.#equip();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
  }

  #equip() {
    for (const region of this.querySelectorAll("pre, .table")) {
      if (region.scrollWidth > region.clientWidth) {
        region.tabIndex = 0;
      }
    }
    for (const bar of this.querySelectorAll(".code__bar:not(:has(button))")) {
      bar.append(makeButton(bar.parentElement.querySelector("pre")));
    }
  }
}

function makeButton(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "code__copy";
  button.textContent = "Copy";
  button.addEventListener("click", () => copy(code.textContent, button));
  return button;
}

customElements.define("answer-text", AnswerText);
