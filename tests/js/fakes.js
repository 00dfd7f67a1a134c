// The other sides of a page's connections, in the hands of a test.

import { mock } from "node:test";

/** A WebSocket whose server is the test. */
export class FakeWebSocket extends EventTarget {
  static made = [];

  readyState = 0;
  sent = [];

  constructor(url) {
    super();
    this.url = url;
    FakeWebSocket.made.push(this);
  }

  static get last() {
    return FakeWebSocket.made.at(-1);
  }

  send(text) {
    this.sent.push(text);
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  say(text) {
    this.dispatchEvent(new MessageEvent("message", { data: text }));
  }

  end(code) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

/** A way that hears and ends what the test says. */
export class FakeWay extends EventTarget {
  static rhythm = 10_000;
  static isScarce = false;
  static made = [];

  isClosed = false;
  sent = [];

  constructor(frames) {
    super();
    this.frames = frames;
    FakeWay.made.push(this);
  }

  static get last() {
    return FakeWay.made.at(-1);
  }

  send(frame) {
    this.sent.push(frame);
  }

  close() {
    this.isClosed = true;
  }

  hear(frame) {
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  end(end) {
    this.dispatchEvent(new CustomEvent("end", { detail: end }));
  }
}

export class FakeStream extends FakeWay {
  static isScarce = true;
}

/** `fetch` whose server is the test: each request waits in `made` for `answer`, `fail` or its being given up. */
export class FakeFetch {
  made = [];

  fetch = (url, { headers, signal }) => {
    const { promise, resolve, reject } = Promise.withResolvers();
    signal.addEventListener("abort", () => reject(signal.reason));
    this.made.push({
      url: new URL(url, "http://parley.example"),
      accept: headers.Accept,
      signal,
      answer: (body, { type = "application/json", status = 200 } = {}) =>
        resolve(new Response(body, { status, headers: { "Content-Type": type } })),
      fail: () => reject(new TypeError("Failed to fetch")),
    });
    return promise;
  };

  get last() {
    return this.made.at(-1);
  }
}

/** What `sessionStorage` keeps. */
export class FakeStorage {
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, value);
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

/** Have time stand still until `mock.timers.tick`. */
export function stopTheClock() {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
}

/** Let time pass, in steps: within one step, timers that start timers would have them begin at its end. */
export function pass(milliseconds) {
  for (let left = milliseconds; left > 0; left -= 50) {
    mock.timers.tick(Math.min(left, 50));
  }
}

/** Let everything happen that does not wait for time. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Note what is told under these names, in order: details where there are some. */
export function listen(target, ...names) {
  const heard = [];
  for (const name of names) {
    target.addEventListener(name, (event) => heard.push(event.detail ?? name));
  }
  return heard;
}
