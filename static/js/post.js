// Sends a form in the background. The server answers such a request with JSON instead of a page.

const PATIENCE = 30_000; // milliseconds; a server that is cut off from its database refuses sooner

const LOST = "The server could not be reached. Try again in a moment.";
const BROKEN = "Something went wrong on the server. Try again in a moment.";
const SIGNED_OUT = "You are signed out. Reload the page to sign in, then send again.";
const TOO_MUCH = "This is more than the server takes at once. Make it shorter, then send again.";
// Whoever signs in gets another token, and pages of before still have the old one.
const STALE = "This page was opened before somebody signed in anew. Reload it, then send again.";
const GONE = "This is not there any more. Perhaps it was deleted in another tab.";
const REFUSALS = { 400: TOO_MUCH, 403: STALE, 404: GONE, 413: TOO_MUCH }; // by status, where no view has said more

/**
 * Post `fields` to `url`.
 *
 * @param {string} url
 * @param {FormData} fields the CSRF token among them
 * @param {boolean} outlives whether it is sent even if the page is left meanwhile
 * @returns {Promise<{body?: object, problem?: string, isLost?: boolean}>} what the server said, what went wrong, in
 *   words, and whether the server may not have heard it
 */
export async function post(url, fields, { outlives = false } = {}) {
  let response;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const headers = { Accept: "application/json" };
    response = await fetch(url, { method: "POST", body: fields, headers, signal, keepalive: outlives });
  } catch {
    return { problem: LOST, isLost: true };
  }
  if (response.redirected) {
    return { problem: SIGNED_OUT }; // to the login page, the only one that this ends at
  }
  const body = await response.json().catch(() => null);
  return response.ok && body ? { body } : { body, problem: inWords(body, response.status) };
}

/** Say what the body of a refusal says, `{"errors": {field: [text]}}` or `{"detail": text}`, or else its status. */
export function inWords(body, status) {
  const errors = Object.values(body?.errors ?? {}).flat();
  return errors.join(" ") || body?.detail || REFUSALS[status] || BROKEN;
}
