// One WebSocket: JSON frames in both directions.

import { End } from "./end.js";

const ENDS = { 1008: End.CROWDED, 1012: End.MOVED, 4401: End.SIGNED_OUT }; // by the server's close code

/** Events: `frame` (detail: the parsed frame), `end` (detail: one of `End`). */
export class Socket extends EventTarget {
  static rhythm = 10_000; // milliseconds between the server's heartbeats
  static isScarce = false;

  #socket;

  /** @param {() => object[]} frames what the page wants to hear, as frames to the server */
  constructor(frames, { url = addressOf("/socket/"), WebSocket = globalThis.WebSocket } = {}) {
    super();
    this.#socket = new WebSocket(url);
    this.#socket.addEventListener("open", () => this.#ask(frames()));
    this.#socket.addEventListener("message", ({ data }) => this.#tell("frame", JSON.parse(data)));
    this.#socket.addEventListener("close", ({ code }) => this.#tell("end", ENDS[code] ?? End.BROKEN));
  }

  /** Send a frame, if the socket is open; before that, `frames` will say it. */
  send(frame) {
    if (this.#socket.readyState === 1) {
      this.#socket.send(JSON.stringify(frame));
    }
  }

  close() {
    this.#socket.close();
  }

  #ask(frames) {
    for (const frame of frames) {
      this.send(frame);
    }
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function addressOf(path) {
  return new URL(path, location.href.replace(/^http/, "ws"));
}
