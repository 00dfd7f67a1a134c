// Sends a form in the background. The server answers such a request with JSON instead of a page.

const PATIENCE = 30_000; // milliseconds; a server that is cut off from its database refuses sooner

const LOST = "The server could not be reached. Try again in a moment.";
const BROKEN = "Something went wrong on the server. Try again in a moment.";
const SIGNED_OUT = "You are signed out. Sign in in another tab, then send again.";

/**
 * Post `fields` to `url`.
 *
 * @param {string} url
 * @param {FormData} fields the CSRF token among them
 * @returns {Promise<{body?: object, problem?: string, isLost?: boolean}>} what the server said, what went wrong, in
 *   words, and whether the server may not have heard it
 */
export async function post(url, fields) {
  let response;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    response = await fetch(url, { method: "POST", body: fields, headers: { Accept: "application/json" }, signal });
  } catch {
    return { problem: LOST, isLost: true };
  }
  if (response.redirected) {
    return { problem: SIGNED_OUT }; // to the login page, the only one that this ends at
  }
  const body = await response.json().catch(() => null);
  return response.ok && body ? { body } : { body, problem: inWords(body) };
}

/** Say what the body of a refusal says: `{"errors": {field: [text]}}` or `{"detail": text}`. */
export function inWords(body) {
  const errors = Object.values(body?.errors ?? {}).flat();
  return errors.join(" ") || body?.detail || BROKEN;
}
