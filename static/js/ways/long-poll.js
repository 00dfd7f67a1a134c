// News as the answers to one request after the other: the way where something holds responses back until they end.

import { Requests } from "./requests.js";

export class LongPoll extends Requests {
  static rhythm = 25_000; // milliseconds after which the server answers, also without news

  accept = "application/json";

  #seen = ""; // what the server told last, in its words: it need not be told again

  get query() {
    return `${super.query}&seen=${this.#seen}`;
  }

  async read(response) {
    const { frames, seen } = await response.json();
    this.#seen = seen;
    for (const frame of [{}, ...frames]) {
      this.tell(frame);
    }
    return null;
  }
}
