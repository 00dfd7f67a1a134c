import { copy } from "../clipboard.js";

// <copy-field> around a field and a hidden button
//
// Copies what is in the field.
class CopyField extends HTMLElement {
  connectedCallback() {
    const [field, button] = [this.querySelector("input"), this.querySelector("button")];
    button.hidden = false;
    button.addEventListener("click", () => copy(field.value, button));
  }
}

customElements.define("copy-field", CopyField);
