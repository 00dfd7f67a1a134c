import { moveByArrow, openBeside } from "../menu.js";
import { post } from "../post.js";

const OPENERS = ".sidebar__more, .bar__more";

// <conversation-menu popover> beside .sidebar__more or .bar__more, with one form whose buttons have data-place, the
// address below that of the conversation, and data-action
//
// One menu for all conversations of the list, and one for what the page shows. Events: `conversations-changed` on the
// way up after each change, `deleted` (detail: {restore}, where to have it back) and `notice` (detail: what to say) on
// the document.
export class ConversationMenu extends HTMLElement {
  #opener = null; // the button that the menu belongs to now
  #closing = null; // the button whose click has just closed it

  connectedCallback() {
    const place = this.parentElement;
    place.addEventListener("pointerdown", ({ target }) => this.#notePress(target.closest(OPENERS)));
    place.addEventListener("click", (event) => this.#click(event));
    this.addEventListener("keydown", (event) => moveByArrow(this, event));
    this.addEventListener("toggle", ({ newState }) => newState === "closed" && this.#rest());
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.querySelector("[data-action=rename]").addEventListener("click", () => this.#rename());
  }

  #notePress(button) {
    this.#closing = this.matches(":popover-open") && button === this.#opener ? button : null;
  }

  #click(event) {
    const button = event.target.closest(OPENERS);
    if (!button) {
      return;
    }
    event.preventDefault();
    if (button !== this.#closing) {
      this.#open(button);
    }
    this.#closing = null;
  }

  #open(button) {
    this.#opener = button;
    this.#fit();
    openBeside(this, button);
  }

  /** Offer what can be done with the conversation as it is now. */
  #fit() {
    const [isPinned, isArchived] = ["pinned" in this.#subject, "archived" in this.#subject];
    const useless = { pin: isPinned, unpin: !isPinned, archive: isArchived, unarchive: !isArchived };
    for (const item of this.#items) {
      item.hidden = useless[item.dataset.action] ?? false;
      if (item.dataset.place) {
        const address = new URL(item.dataset.place, this.#address).href;
        item[item.localName === "a" ? "href" : "formAction"] = address;
      }
    }
  }

  #rest() {
    this.dispatchEvent(new CustomEvent("conversations-changed", { bubbles: true }));
  }

  async #submit(event) {
    event.preventDefault();
    const { submitter } = event;
    const { conversation } = this.#subject;
    const isShown = conversation === document.querySelector(".bar__more")?.dataset.conversation;
    this.hidePopover();
    const { body, problem } = await post(submitter.formAction, new FormData(this.#form, submitter));
    if (problem) {
      say(problem);
    } else if (submitter.dataset.action === "delete") {
      if (isShown) {
        location.assign(body.url);
        return;
      }
      const restore = `/conversations/${conversation}/restore/`;
      document.dispatchEvent(new CustomEvent("deleted", { detail: { restore } }));
    } else if (isShown) {
      this.#note(submitter.dataset.action);
      this.#fit(); // it may be open again already
    }
    this.#rest();
  }

  /** Have the button of the page's own conversation know what was done. */
  #note(action) {
    const { dataset } = document.querySelector(".bar__more");
    const name = action.endsWith("pin") ? "pinned" : "archived";
    if (action.startsWith("un")) {
      delete dataset[name];
    } else {
      dataset[name] = "";
    }
  }

  // ------------------------------------------------------------ rename in place

  #rename() {
    const row = this.#row;
    if (!row?.checkVisibility()) {
      location.assign(new URL("manage/", this.#address)); // it has no place in the list that anybody sees
      return;
    }
    const link = row.querySelector(".sidebar__item");
    this.hidePopover();
    const form = document.createElement("form");
    const box = document.createElement("input");
    form.className = "sidebar__rename";
    box.value = link.querySelector(".sidebar__title").textContent;
    box.ariaLabel = "Title";
    box.maxLength = 60;
    box.dir = "auto";
    form.append(box);
    link.hidden = true;
    row.prepend(form);
    box.focus();
    box.select();
    let hasEnded = false; // to remove the box takes the focus from it, which is an end, too
    const end = (isWanted) => {
      if (!hasEnded) {
        hasEnded = true;
        const hadFocus = form.contains(document.activeElement);
        link.hidden = false;
        form.remove();
        if (hadFocus) {
          link.focus();
        }
        this.#save(link, isWanted ? box.value.trim() : "");
      }
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      end(true);
    });
    box.addEventListener("blur", () => end(true));
    box.addEventListener("keydown", ({ key }) => key === "Escape" && end(false));
  }

  async #save(link, title) {
    const words = link.querySelector(".sidebar__title");
    const before = words.textContent;
    if (title && title !== before) {
      words.textContent = title;
      const fields = new FormData(this.#form);
      fields.set("title", title);
      const { problem } = await post(new URL("rename/", link.href).href, fields);
      if (problem) {
        words.textContent = before;
        say(problem);
      }
    }
    this.#rest();
  }

  get #form() {
    return this.querySelector("form");
  }

  get #items() {
    return [...this.querySelectorAll(".menu__item")];
  }

  /** What is known of the conversation that the menu belongs to: `conversation`, `pinned`, `archived`. */
  get #subject() {
    return (this.#opener.closest(".sidebar__row") ?? this.#opener).dataset;
  }

  get #address() {
    return `${location.origin}/conversations/${this.#subject.conversation}/`;
  }

  /** Its row in the list, or null: those that are archived, or old, have none. */
  get #row() {
    return document.querySelector(`side-bar [data-conversation="${this.#subject.conversation}"]`);
  }
}

function say(sentence) {
  document.dispatchEvent(new CustomEvent("notice", { detail: sentence }));
}

customElements.define("conversation-menu", ConversationMenu);
