const ADDRESS = "/diagram/";
const LONGEST = 20_000; // characters of code
const LOADING = 30_000; // milliseconds until the frame must be there; what draws is large
const DRAWING = 8000; // milliseconds until a diagram must be drawn
const HIGHEST = 4000; // pixels; the style sheet sets when it is scrolled
const LONGEST_WORDS = 300; // characters of what the frame says

const TOO_LONG = "This diagram is too long to be drawn.";
const NOT_LOADED = "The diagram could not be loaded. Try again in a moment.";
const NOT_DRAWN = "This diagram takes too long to draw.";

const COLORS = { accent: "accent", background: "sidebar", line: "text-quiet", soft: "accent-soft", text: "text" };
const DARK = matchMedia("(prefers-color-scheme: dark)");

// <diagram-frame> in a block of code, beside its <pre>
//
// Shows the code as the diagram that it describes. What a model wrote is drawn in a frame that has no origin, may fetch
// nothing but the two scripts that draw, and is heard through one port only. Events on the way up: `diagram-drawn` with
// the height in pixels, as often as that changes; `diagram-failed` with what went wrong, in words.
export class DiagramFrame extends HTMLElement {
  #channel = new MessageChannel();
  #frame = document.createElement("iframe");
  #scheme = new MutationObserver(() => this.#drawAnew());
  #timer;

  connectedCallback() {
    if (this.#wanted.code.length > LONGEST) {
      this.#fail(TOO_LONG);
      return;
    }
    this.#frame.setAttribute("sandbox", "allow-scripts");
    this.#frame.title = "Diagram";
    this.#frame.src = ADDRESS;
    this.#frame.addEventListener("load", () => this.#begin(), { once: true });
    this.#channel.port1.onmessage = ({ data }) => this.#read(data);
    this.#failAfter(LOADING, NOT_LOADED);
    this.replaceChildren(this.#frame);
    DARK.addEventListener("change", this.#drawAnew);
    this.#scheme.observe(document.querySelector("meta[name=color-scheme]"), { attributes: true });
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    this.#channel.port1.close();
    this.#scheme.disconnect();
    DARK.removeEventListener("change", this.#drawAnew);
  }

  set height(pixels) {
    this.#frame.style.blockSize = `${pixels}px`;
  }

  #begin() {
    this.#failAfter(DRAWING, NOT_DRAWN);
    // A page of no origin has none to be addressed by.
    this.#frame.contentWindow.postMessage(this.#wanted, "*", [this.#channel.port2]);
  }

  #drawAnew = () => {
    this.#failAfter(DRAWING, NOT_DRAWN);
    this.#channel.port1.postMessage(this.#wanted);
  };

  #read({ height, name, problem }) {
    clearTimeout(this.#timer);
    if (Number.isFinite(height)) {
      this.height = Math.min(Math.max(height, 1), HIGHEST);
      this.#frame.title = name ? `Diagram: ${String(name).slice(0, LONGEST_WORDS)}` : "Diagram";
      this.#send("diagram-drawn", height);
    } else {
      this.#fail(String(problem).slice(0, LONGEST_WORDS));
    }
  }

  #failAfter(milliseconds, words) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fail(words), milliseconds);
  }

  #fail(words) {
    this.#send("diagram-failed", words);
  }

  #send(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  get #wanted() {
    const code = this.closest(".code").querySelector("pre").textContent;
    return { code, isDark: this.#isDark, colors: this.#colors };
  }

  get #isDark() {
    const { colorScheme } = getComputedStyle(this);
    return colorScheme.includes("light") && colorScheme.includes("dark") ? DARK.matches : colorScheme.includes("dark");
  }

  /** The page's own colours, as a drawing takes them. */
  get #colors() {
    const colors = Object.entries(COLORS).map(([name, role]) => {
      this.style.color = `var(--color-${role})`;
      return [name, getComputedStyle(this).color];
    });
    this.style.color = "";
    return Object.fromEntries(colors);
  }
}

customElements.define("diagram-frame", DiagramFrame);
