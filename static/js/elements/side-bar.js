import { Connection } from "../connection.js";
import { parseOwn } from "../markup.js";
import { post } from "../post.js";

const MOST_PAGES = 50; // of the list that are kept fresh; older ones are read on pages of their own

// <side-bar part="/sidebar/" conversation="…"> around .sidebar__list with its pages
//
// Keeps the list of conversations as the server has it, loads older ones in place, and has the tab's title say how many
// answers nobody has looked at. What it hears of comes by the page's one connection: where there is no
// <conversation-news>, it makes that connection itself.
export class SideBar extends HTMLElement {
  #connection = null;
  #pages = 1;
  #isLoading = false;
  #isStale = false;
  #unread = [];
  #isTelling = false; // that an answer has been seen

  connectedCallback() {
    this.addEventListener("click", (event) => this.#loadOlder(event));
    keepFocusIn(this.closest("[popover]"));
    document.addEventListener("conversations-changed", this.#changed);
    document.addEventListener("sidebar-news", this.#hear);
    document.addEventListener("answer-ended", this.#noteEnd);
    document.addEventListener("visibilitychange", this.#look);
    if (!document.querySelector("conversation-news")) {
      this.#connect();
    }
    if (this.#noteZone()) {
      this.refresh();
    }
  }

  disconnectedCallback() {
    document.removeEventListener("conversations-changed", this.#changed);
    document.removeEventListener("sidebar-news", this.#hear);
    document.removeEventListener("answer-ended", this.#noteEnd);
    document.removeEventListener("visibilitychange", this.#look);
    this.#connection?.close();
  }

  /** Fetch the list anew; while somebody works in it, later. */
  async refresh() {
    this.#isStale = true;
    if (this.#isLoading || this.#isInUse) {
      return;
    }
    this.#isLoading = true;
    while (this.#isStale) {
      this.#isStale = false;
      const pages = await this.#fetchPages();
      if (this.#isInUse) {
        this.#isStale = true;
        break;
      }
      if (pages.length > 0) {
        this.#show(pages);
      }
    }
    this.#isLoading = false;
  }

  // ------------------------------------------------------------ news

  #connect() {
    this.#connection = new Connection(() => [{ type: "sidebar" }]);
    this.#connection.addEventListener("frame", ({ detail }) => detail.type === "sidebar" && this.#hear({ detail }));
    // Whoever is signed out, here or elsewhere, is led to the sign-in by the server.
    this.#connection.addEventListener("signed-out", () => location.assign(location.pathname));
    for (const event of ["online", "pageshow"]) {
      window.addEventListener(event, () => this.#connection.wake());
    }
    document.addEventListener("resume", () => this.#connection.wake());
    this.#connection.connect();
  }

  #changed = () => this.refresh();

  #hear = ({ detail }) => {
    this.#unread = detail.unread;
    const isRead = this.#noteRead();
    // What was read just now comes back as news.
    if (!isRead && detail.state !== this.querySelector(".sidebar__page")?.dataset.state) {
      this.refresh();
    }
    this.#showCount();
  };

  #look = () => {
    if (document.hidden) {
      this.#connection?.rest();
    } else {
      this.#connection?.wake();
      this.#noteRead();
    }
    this.#showCount();
  };

  /** Whoever saw an answer end has read it, also if this page is left before it hears of its mark. */
  #noteEnd = () => this.#isLookedAt && this.#tellRead();

  /** Tell the server that the answer which this page shows has been seen, if that is news. */
  #noteRead() {
    const isRead = this.#isLookedAt && this.#unread.includes(this.#current);
    if (isRead) {
      this.#tellRead();
    }
    return isRead;
  }

  async #tellRead() {
    if (!this.#isTelling) {
      this.#isTelling = true;
      const token = new FormData(this.querySelector("conversation-menu form"));
      await post(`/conversations/${this.#current}/read/`, token, { outlives: true });
      this.#isTelling = false;
    }
  }

  #showCount() {
    const count = this.#unread.filter((id) => !(this.#isLookedAt && id === this.#current)).length;
    const title = document.title.replace(/^\(\d+\) /, "");
    document.title = count > 0 ? `(${count}) ${title}` : title;
  }

  // ------------------------------------------------------------ the list

  async #loadOlder(event) {
    const link = event.target.closest(".sidebar__older");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || this.#pages >= MOST_PAGES) {
      return;
    }
    event.preventDefault();
    link.ariaBusy = "true";
    const page = await this.#fetch(link.dataset.part);
    if (page && link.isConnected) {
      this.#pages += 1;
      link.remove();
      const first = page.querySelector(".sidebar__item");
      join(this.#list, page);
      first?.focus();
    } else {
      link.ariaBusy = null;
    }
  }

  async #fetchPages() {
    const pages = [];
    let part = `${this.getAttribute("part")}?conversation=${this.#current ?? ""}`;
    while (part && pages.length < this.#pages) {
      const page = await this.#fetch(part);
      if (!page) {
        return [];
      }
      pages.push(page);
      part = page.querySelector(".sidebar__older")?.dataset.part;
    }
    return pages;
  }

  /** Return a page of the list, or null: then the next news is another chance. */
  async #fetch(part) {
    try {
      const response = await fetch(part, { headers: { Accept: "text/html" } });
      return response.ok && !response.redirected ? parseOwn(await response.text())[0] : null;
    } catch {
      return null;
    }
  }

  #show([first, ...others]) {
    const focused = this.#list.contains(document.activeElement) ? placeOf(document.activeElement) : null;
    const { scrollTop } = this.#list;
    this.#list.replaceChildren(first);
    for (const page of others) {
      this.#list.querySelector(".sidebar__older")?.remove();
      join(this.#list, page);
    }
    this.#list.scrollTop = scrollTop;
    if (focused) {
      this.#list.querySelector(focused)?.focus();
    }
    this.#showTitle();
  }

  /** Show the title of this page's conversation as it is by now. */
  #showTitle() {
    const title = this.#list.querySelector("[aria-current] .sidebar__title")?.textContent;
    const bar = document.querySelector(".bar__title");
    if (title && bar && document.querySelector("conversation-news") && bar.textContent !== title) {
      bar.textContent = title;
      document.querySelector(".page__title").textContent = title;
      document.title = `${title} · Parley`;
      this.#showCount();
    }
  }

  /** Tell the server the reader's time zone, in which days begin; return whether that is news to it. */
  #noteZone() {
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    const cookie = `zone=${timeZone}`;
    if (!timeZone || document.cookie.split("; ").includes(cookie)) {
      return false;
    }
    const secure = location.protocol === "https:" ? "; secure" : "";
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store is not in every browser
    document.cookie = `${cookie}; path=/; max-age=31536000; samesite=lax${secure}`;
    return true;
  }

  get #list() {
    return this.querySelector(".sidebar__list");
  }

  get #isInUse() {
    return this.querySelector(".sidebar__rename, :popover-open") !== null;
  }

  get #current() {
    const news = document.querySelector("conversation-news");
    return news?.getAttribute("conversation") ?? this.getAttribute("conversation");
  }

  get #isLookedAt() {
    return !document.hidden && document.querySelector("conversation-news") !== null;
  }
}

/** While a sidebar covers the page, keep the focus in it. */
function keepFocusIn(sidebar) {
  const isIn = (element) => sidebar.contains(element) || element.closest(":popover-open, dialog") !== null;
  const stay = () => isIn(document.activeElement) || sidebar.querySelector(".sidebar__close").focus();
  sidebar.addEventListener("toggle", ({ newState }) => {
    if (newState === "open") {
      stay();
      document.addEventListener("focusin", stay);
    }
  });
  // Before it closes: the browser then gives the focus back to the button that opened it.
  sidebar.addEventListener("beforetoggle", () => document.removeEventListener("focusin", stay));
}

/** Put a page after the others, under the same heading where it goes on with the last group. */
function join(list, page) {
  const last = [...list.querySelectorAll(".sidebar__group")].at(-1);
  const next = page.querySelector(".sidebar__group");
  const label = (group) => group?.querySelector(".sidebar__label").textContent;
  if (last && next && label(last) === label(next)) {
    last.querySelector("ul").append(...next.querySelectorAll("li"));
    next.remove();
  }
  list.append(page);
}

/** Say in a selector where the focus is, so that it is there again in a fresh list. */
function placeOf(element) {
  const row = element.closest("[data-conversation]");
  const kind = element.matches(".sidebar__more") ? ".sidebar__more" : ".sidebar__item";
  return row ? `[data-conversation="${row.dataset.conversation}"] ${kind}` : ".sidebar__older";
}

customElements.define("side-bar", SideBar);
