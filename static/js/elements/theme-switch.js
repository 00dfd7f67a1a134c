const COOKIE = "theme";
const KEPT = 365 * 24 * 3600; // seconds
const THEMES = ["light", "dark"]; // without the cookie: as the system prefers

// <theme-switch> around a form with a button for each theme
//
// Shows all pages of this browser in the chosen theme at once, without loading any of them anew.
export class ThemeSwitch extends HTMLElement {
  #tabs = null;

  connectedCallback() {
    this.#tabs = new BroadcastChannel("theme");
    this.#tabs.addEventListener("message", this.#show);
    this.querySelector("form").addEventListener("submit", (event) => this.#choose(event));
    window.addEventListener("pageshow", this.#show); // a page that the browser had put away has the theme of then
  }

  disconnectedCallback() {
    this.#tabs.close();
    window.removeEventListener("pageshow", this.#show);
  }

  #choose(event) {
    event.preventDefault();
    const theme = event.submitter.value;
    const secure = location.protocol === "https:" ? "; secure" : "";
    const age = THEMES.includes(theme) ? KEPT : 0;
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store is not in every browser
    document.cookie = `${COOKIE}=${theme}; path=/; max-age=${age}; samesite=lax${secure}`;
    this.#show();
    this.#tabs.postMessage(theme);
  }

  #show = () => {
    const theme = chosen();
    document.querySelector("meta[name=color-scheme]").content = theme ?? "light dark";
    for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
      const { theme: its } = meta.dataset;
      meta.media = theme === null ? `(prefers-color-scheme: ${its})` : theme === its ? "all" : "not all";
    }
    for (const button of this.querySelectorAll("button")) {
      button.ariaPressed = String(button.value === (theme ?? "system"));
    }
  };
}

/** Return the theme that this browser has chosen, or null. */
function chosen() {
  return THEMES.find((theme) => document.cookie.split("; ").includes(`${COOKIE}=${theme}`)) ?? null;
}

customElements.define("theme-switch", ThemeSwitch);
