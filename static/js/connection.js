// The page's one connection to the news: the best way that gets through, and a new one whenever the old one is silent.

import { Backoff } from "./backoff.js";
import { Choice } from "./choice.js";
import { End } from "./ways/end.js";
import { EventStream } from "./ways/event-stream.js";
import { LongPoll } from "./ways/long-poll.js";
import { Socket } from "./ways/socket.js";

const FIRST_WORD = 5_000; // milliseconds in which a connection has to say something; the server does so at once
const SLACK = 5_000; // milliseconds that a sign of life may be late
const SLACK_AFTER_SLEEP = 2_000; // the same, where there is reason to doubt
const LOOK = 1_000; // milliseconds between looks at the clock; timers alone do not notice that a computer slept
const STEADY = 5_000; // milliseconds after which a connection counts as good, and the next waits begin short
const MOVED = [250, 1_000]; // milliseconds to wait, from and to, where the server asks to come back
const CROWDED = [10_000, 20_000]; // the same, where this page asked too much

/**
 * Events: `open` at the first word of each connection, `frame` (detail: the parsed frame), `lost` when a connection
 * ends and the next one is being tried, `signed-out` when there is no point in trying.
 */
export class Connection extends EventTarget {
  #line = null; // the connection that there is, or that is being made
  #begunAt = 0;
  #heardAt = 0;
  #hasSpoken = false;
  #clock = null; // the timer of the looks
  #retry = null; // the timer until the next attempt

  /** @param {() => object[]} frames what the page wants to hear, as frames to the server */
  constructor(
    frames,
    {
      ways = { socket: Socket, stream: EventStream, poll: LongPoll },
      choice = new Choice(),
      backoff = new Backoff(),
      random = Math.random,
    } = {},
  ) {
    super();
    this.frames = frames;
    this.ways = ways;
    this.choice = choice;
    this.backoff = backoff;
    this.random = random;
  }

  /** Connect now, unless there is a connection or one is being made. */
  connect() {
    if (this.#line !== null) {
      return;
    }
    clearTimeout(this.#retry);
    const line = new this.ways[this.choice.way](this.frames);
    this.#line = line;
    this.#hasSpoken = false;
    this.#begunAt = this.#heardAt = Date.now();
    this.#clock = setInterval(() => this.#look(), LOOK);
    // A connection that was given up may still have something to say.
    line.addEventListener("frame", ({ detail }) => line === this.#line && this.#hear(detail));
    line.addEventListener("end", ({ detail }) => line === this.#line && this.#end(detail));
  }

  /** Connect at once if there is no connection, or one that should have been heard of: after sleep, in a new network. */
  wake() {
    if (this.#line !== null && this.#silence > this.#rhythm + SLACK_AFTER_SLEEP) {
      this.#drop();
    }
    if (this.#line === null) {
      this.backoff.reset();
      this.connect();
    }
  }

  /** Let go of a connection that others may need more, until `wake`: nobody sees this page. */
  rest() {
    if (this.ways[this.choice.way].isScarce) {
      this.close();
    }
  }

  close() {
    this.#drop();
    clearTimeout(this.#retry);
  }

  /** Send a frame, if there is a connection; the next one begins with all that `frames` says. */
  send(frame) {
    this.#line?.send(frame);
  }

  #hear(frame) {
    this.#heardAt = Date.now();
    if (this.#heardAt - this.#begunAt >= STEADY) {
      this.backoff.reset();
    }
    if (!this.#hasSpoken) {
      this.#hasSpoken = true;
      this.choice.succeed();
      this.dispatchEvent(new Event("open"));
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  #look() {
    if (this.#silence >= (this.#hasSpoken ? this.#rhythm + SLACK : FIRST_WORD)) {
      this.#end(End.BROKEN);
    }
  }

  #end(end) {
    if (end === End.MOVED) {
      this.choice.reconsider();
    } else if (!this.#hasSpoken && end !== End.SIGNED_OUT) {
      this.choice.fail({ isReached: end !== End.UNREACHABLE });
    }
    this.#drop();
    if (end === End.SIGNED_OUT) {
      this.dispatchEvent(new Event("signed-out"));
    } else {
      this.dispatchEvent(new Event("lost"));
      this.#retry = setTimeout(() => this.connect(), this.#pauseAfter(end));
    }
  }

  #pauseAfter(end) {
    const bounds = { [End.MOVED]: MOVED, [End.CROWDED]: CROWDED }[end];
    if (!bounds) {
      return this.backoff.next();
    }
    const [from, to] = bounds;
    return from + this.random() * (to - from);
  }

  #drop() {
    clearInterval(this.#clock);
    const line = this.#line;
    this.#line = null;
    line?.close();
  }

  get #silence() {
    return Math.abs(Date.now() - this.#heardAt); // the computer's clock may have been set back
  }

  get #rhythm() {
    return this.#line.constructor.rhythm;
  }
}
