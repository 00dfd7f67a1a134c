// Which way the news take to this page: a WebSocket, unless that does not get through.

export const WAYS = Object.freeze(["socket", "stream", "poll"]); // from the best to what always gets through

const KEPT = "way"; // in the session storage: {way, since}
const LIFE = 600_000; // milliseconds after which a page that is loaded tries sockets anew
const TRIES = { socket: 2, stream: 1, poll: 1 }; // of a way that did not work on this page yet
const TRIES_AFTER_SUCCESS = 4; // rather the server is away

export class Choice {
  #failures = 0; // in a row
  #worked = new Set();

  constructor({ storage = globalThis.sessionStorage, now = Date.now } = {}) {
    this.storage = storage;
    this.now = now;
    this.way = this.#kept ?? "socket";
  }

  /** Note that something was heard this way. */
  succeed() {
    this.#failures = 0;
    if (!this.#worked.has(this.way)) {
      this.#worked.add(this.way);
      this.#keep();
    }
  }

  /** Note an attempt in which nothing was heard; choose another way if there were enough of them. */
  fail({ isReached = true } = {}) {
    this.#failures += 1;
    if (this.#failures >= (this.#worked.has(this.way) ? TRIES_AFTER_SUCCESS : TRIES[this.way])) {
      this.#failures = 0;
      const next = WAYS[WAYS.indexOf(this.way) + 1];
      this.way = (isReached && next) || "socket";
    }
  }

  /** Go back to sockets if they got through to this page before: then only the server had been away. */
  reconsider() {
    if (this.#worked.has("socket")) {
      this.way = "socket";
    }
  }

  get #kept() {
    const { way, since } = JSON.parse(this.storage.getItem(KEPT)) ?? {};
    return WAYS.includes(way) && Math.abs(this.now() - since) < LIFE ? way : null;
  }

  #keep() {
    if (this.way === "socket") {
      this.storage.removeItem(KEPT);
    } else if (!this.#worked.has("socket") && this.#kept !== this.way) {
      this.storage.setItem(KEPT, JSON.stringify({ way: this.way, since: this.now() }));
    }
  }
}
