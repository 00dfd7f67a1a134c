// How long to wait before trying again: longer each time, up to a bound, and never the same for everybody, so that a
// thousand pages do not come back at the same moment.

const FIRST = 500; // milliseconds
const LONGEST = 10_000;

export class Backoff {
  #attempts = 0;

  /** @param {() => number} random a number from 0 to 1, as `Math.random` gives */
  constructor(random = Math.random) {
    this.random = random;
  }

  /** Return the milliseconds to wait now: half of the bound, and some of the other half. */
  next() {
    const bound = Math.min(FIRST * 2 ** this.#attempts, LONGEST);
    this.#attempts = Math.min(this.#attempts + 1, 10);
    return bound / 2 + (this.random() * bound) / 2;
  }

  reset() {
    this.#attempts = 0;
  }
}
