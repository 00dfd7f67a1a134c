// Has what a page fetches only once it needs it, though a connection may break on the way, as when a proxy is reloaded.

import { Backoff } from "./backoff.js";

const ATTEMPTS = 6; // within about a quarter of a minute

/**
 * Return what `load` brings; where it fails, try again after a while.
 *
 * @param {() => Promise} load
 * @throws what the last attempt failed with
 */
export async function persist(load, backoff = new Backoff()) {
  for (let left = ATTEMPTS - 1; left > 0; left -= 1) {
    try {
      return await load();
    } catch {
      await new Promise((go) => setTimeout(go, backoff.next()));
    }
  }
  return load();
}
