// Lets text out evenly that arrives in bursts, at the rate at which it arrives. Pure: the clock is given.

const FIRST = 40; // milliseconds between arrivals, as long as nothing is known: a tick of the server's journal
const SHORTEST = 16; // a frame
const LONGEST = 100; // so long does text wait at most
const RESERVE = 1.6; // arrivals for which text is kept, so that one that is late leaves no hole
const INERTIA = 4; // arrivals over which the time between them is averaged

export class Release {
  #gap = FIRST;
  #last = null; // when text arrived last
  #rate = 0; // characters a millisecond
  #taken = 0; // when text was let out last
  #text = "";
  #until = 0; // when what there was at this rate is out

  /** Take in text that arrives at `now`, in milliseconds. */
  add(text, now) {
    if (this.#last !== null) {
      const gap = Math.min(Math.max(now - this.#last, SHORTEST), LONGEST);
      this.#gap += (gap - this.#gap) / INERTIA;
    }
    if (this.isEmpty) {
      this.#taken = now - SHORTEST; // some of it is due at once
    }
    this.#last = now;
    this.#text += text;
    this.#hurry(now);
  }

  #hurry(now) {
    const time = Math.min(this.#gap * RESERVE, LONGEST);
    const rate = this.#text.length / time;
    // A rate stays until what was there is out: a slower one would keep that waiting.
    if (rate > this.#rate || now >= this.#until) {
      this.#rate = rate;
      this.#until = now + time;
    }
  }

  /** Return what is due at `now`. */
  take(now) {
    const due = Math.ceil((now - this.#taken) * this.#rate);
    this.#taken = now;
    return this.#cut(due);
  }

  /** Return all that is left. */
  takeAll() {
    return this.#cut(this.#text.length);
  }

  get isEmpty() {
    return this.#text === "";
  }

  #cut(length) {
    // A character that is two in JavaScript's count stays one.
    const isWithin = length > 0 && /[\uD800-\uDBFF]/.test(this.#text[length - 1]);
    const end = isWithin ? length + 1 : length;
    const out = this.#text.slice(0, end);
    this.#text = this.#text.slice(end);
    return out;
  }
}
