// The one WebSocket of a page: JSON frames in both directions, and a new connection whenever the old one is silent.

import { Backoff } from "./backoff.js";

const SILENCE = 15_000; // milliseconds without a frame: the server sends one every ten seconds
const NOT_SIGNED_IN = 4401; // the server's close code

/**
 * Events: `open` on each connection, `frame` (detail: the parsed frame), `lost` when a connection ends and the next one
 * is being tried, `signed-out` when there is no point in trying.
 */
export class Socket extends EventTarget {
  #backoff;
  #connection = null;
  #patience = null; // the timer that runs while nothing is heard
  #retry = null; // the timer that runs while not connected

  constructor(url, { WebSocket = globalThis.WebSocket, backoff = new Backoff() } = {}) {
    super();
    this.url = url;
    this.WebSocket = WebSocket;
    this.#backoff = backoff;
  }

  get isOpen() {
    return this.#connection?.readyState === this.WebSocket.OPEN;
  }

  /** Connect now, unless there is a connection or one is being made. */
  connect() {
    if (this.#connection !== null) {
      return;
    }
    clearTimeout(this.#retry);
    const connection = new this.WebSocket(this.url);
    this.#connection = connection;
    this.#listenTo(connection);
    this.#waitForWord();
  }

  close() {
    this.#drop();
    clearTimeout(this.#retry);
  }

  /** Send a frame, if there is a connection; who needs an answer asks again on `open`. */
  send(frame) {
    if (this.isOpen) {
      this.#connection.send(JSON.stringify(frame));
    }
  }

  #listenTo(connection) {
    const on = (name, handle) => {
      connection.addEventListener(name, (event) => {
        // A connection that was given up may still have something to say.
        if (connection === this.#connection) {
          handle(event);
        }
      });
    };
    on("open", () => this.#opened());
    on("message", (event) => this.#heard(event.data));
    on("close", (event) => this.#closed(event.code));
  }

  #opened() {
    this.#waitForWord();
    this.dispatchEvent(new Event("open"));
  }

  #heard(text) {
    this.#waitForWord();
    this.#backoff.reset();
    this.dispatchEvent(new CustomEvent("frame", { detail: JSON.parse(text) }));
  }

  #closed(code) {
    this.#drop();
    if (code === NOT_SIGNED_IN) {
      this.dispatchEvent(new Event("signed-out"));
    } else {
      this.#tryAgain();
    }
  }

  #waitForWord() {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      this.#drop();
      this.#tryAgain();
    }, SILENCE);
  }

  #tryAgain() {
    this.dispatchEvent(new Event("lost"));
    this.#retry = setTimeout(() => this.connect(), this.#backoff.next());
  }

  #drop() {
    clearTimeout(this.#patience);
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
  }
}
