// What people have begun to write, in this browser, by the path of the page that takes it. Storage that is full or
// switched off costs the drafts and nothing else.

const PREFIX = "parley-draft:";
const MOST = 50; // drafts of one person; the oldest go first

let own = null;

/** Return the drafts of whoever is signed in. */
export function ownDrafts() {
  own ??= new Drafts(localStorage, document.querySelector("[data-person]").dataset.person);
  return own;
}

export class Drafts {
  #storage;
  #person;
  #now;

  /**
   * @param {Storage} storage
   * @param {string} person whose drafts they are; those of others are forgotten
   * @param {() => number} now
   */
  constructor(storage, person, now = Date.now) {
    this.#storage = storage;
    this.#person = person;
    this.#now = now;
    this.#forget((key) => !key.startsWith(this.#own));
  }

  /** Return what was written for the page at `path`, as `write` was given it, or null. */
  read(path) {
    return this.#parse(this.#own + path)?.draft ?? null;
  }

  write(path, draft) {
    try {
      this.#storage.setItem(this.#own + path, JSON.stringify({ at: this.#now(), draft }));
    } catch {
      return; // full
    }
    this.#keepNewest();
  }

  remove(path) {
    this.#storage.removeItem(this.#own + path);
  }

  /** Forget all drafts in this browser. */
  clear() {
    this.#forget(() => true);
  }

  #keepNewest() {
    const keys = this.#keys().filter((key) => key.startsWith(this.#own));
    if (keys.length > MOST) {
      const at = new Map(keys.map((key) => [key, this.#parse(key)?.at ?? 0]));
      keys.sort((one, other) => at.get(other) - at.get(one));
      for (const key of keys.slice(MOST)) {
        this.#storage.removeItem(key);
      }
    }
  }

  #forget(isForgotten) {
    for (const key of this.#keys().filter(isForgotten)) {
      this.#storage.removeItem(key);
    }
  }

  #parse(key) {
    try {
      return JSON.parse(this.#storage.getItem(key));
    } catch {
      return null;
    }
  }

  #keys() {
    const keys = Array.from({ length: this.#storage.length }, (_, place) => this.#storage.key(place));
    return keys.filter((key) => key.startsWith(PREFIX));
  }

  get #own() {
    return `${PREFIX}${this.#person}:`;
  }
}
