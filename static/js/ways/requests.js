// What the two ways over HTTP share: a request says all that the page wants to hear, and news come as its answer.

import { End } from "./end.js";

/**
 * Events: `frame` (detail: the parsed frame), `end` (detail: one of `End`).
 *
 * A subclass has `accept`, the type of answer it wants, and `read(response)`, which tells frames and returns how it
 * ended; null has the next request made.
 */
export class Requests extends EventTarget {
  // Browsers open six connections to a host, in all tabs together: a page that nobody sees must not hold one of them.
  static isScarce = true;

  #request = null; // the AbortController of the one that runs
  #next = null; // the timer until the one that is about to be made

  /** @param {() => object[]} frames what the page wants to hear, as frames to the server */
  constructor(frames, { url = "/news/", fetch = (...request) => globalThis.fetch(...request) } = {}) {
    super();
    this.frames = frames;
    this.url = url;
    this.fetch = fetch;
    this.send();
  }

  /** Ask anew for all that the page wants. What is sent in one turn goes into one request. */
  send() {
    this.#next ??= setTimeout(() => this.#begin());
  }

  close() {
    clearTimeout(this.#next);
    this.#request?.abort();
  }

  get query() {
    return `frames=${encodeURIComponent(JSON.stringify(this.frames()))}`;
  }

  tell(frame) {
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  async #begin() {
    this.close();
    this.#next = null;
    const request = new AbortController();
    this.#request = request;
    const end = await this.#exchange(request.signal);
    if (request.signal.aborted) {
      return;
    }
    if (end === null) {
      this.#begin();
    } else {
      this.dispatchEvent(new CustomEvent("end", { detail: end }));
    }
  }

  async #exchange(signal) {
    let response;
    try {
      const headers = { Accept: this.accept };
      response = await this.fetch(`${this.url}?${this.query}`, { headers, signal, cache: "no-store" });
    } catch {
      return End.UNREACHABLE;
    }
    try {
      return response.ok ? await this.read(response, signal) : await this.#readRefusal(response);
    } catch {
      return End.BROKEN;
    }
  }

  async #readRefusal(response) {
    if (response.status === 429) {
      this.tell({ type: "refused", reason: (await response.json()).detail });
      return End.CROWDED;
    }
    if (response.status === 401) {
      return End.SIGNED_OUT;
    }
    return response.status >= 500 ? End.UNREACHABLE : End.BROKEN;
  }
}
