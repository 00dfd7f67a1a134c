// Messages that were sent and have not got through: they go out one after the other, each once, also after a reload.

export const MOST = 20; // messages that wait

/** What a message waits for. */
export const State = Object.freeze({
  SENDING: "sending",
  ANSWER: "answer", // the one that is being written
  CONNECTION: "connection",
});

export class Outbox {
  #storage;
  #key;
  #items;

  /**
   * @param {Storage} storage
   * @param {string} key
   */
  constructor(storage, key) {
    this.#storage = storage;
    this.#key = key;
    this.#items = this.#read();
  }

  /** The messages in their order: `{id, text, model, files, parameters, state}`. */
  get items() {
    return this.#items;
  }

  get first() {
    return this.#items[0] ?? null;
  }

  get isFull() {
    return this.#items.length >= MOST;
  }

  /** Add a message; its `id` is made once, so that the server knows it when it comes twice. */
  add(item) {
    this.#items.push(item);
    this.#write();
  }

  /** Take a message out, and return it. */
  remove(id) {
    const found = this.#items.find((item) => item.id === id) ?? null;
    this.#items = this.#items.filter((item) => item !== found);
    this.#write();
    return found;
  }

  /** Have the first message wait for something, and all others for their turn. */
  wait(state) {
    if (this.first) {
      this.first.state = state;
    }
  }

  #read() {
    try {
      const items = JSON.parse(this.#storage.getItem(this.#key) ?? "[]");
      return items.filter((item) => typeof item?.id === "string" && typeof item?.text === "string").slice(0, MOST);
    } catch {
      return [];
    }
  }

  #write() {
    try {
      if (this.#items.length) {
        this.#storage.setItem(this.#key, JSON.stringify(this.#items));
      } else {
        this.#storage.removeItem(this.#key);
      }
    } catch {
      // Full, or switched off: they wait in memory alone.
    }
  }
}
