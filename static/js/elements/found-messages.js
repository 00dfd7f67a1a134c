import { post } from "../post.js";

// <found-messages> around links with `data-show`, and a form that holds the token
//
// Has the branch shown that a message is on before its page opens: a link alone changes nothing.
class FoundMessages extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => {
      const hit = event.target.closest("[data-show]");
      const isElsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
      if (hit && !isElsewhere) {
        event.preventDefault();
        this.#open(hit);
      }
    });
  }

  async #open(hit) {
    await post(hit.dataset.show, new FormData(this.querySelector("form")));
    location.assign(hit.href); // whatever came of it: the page offers to show the branch
  }
}

customElements.define("found-messages", FoundMessages);
