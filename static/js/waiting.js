// The line that is shown until the first text of an answer comes.

/**
 * Say what an answer waits for, and how long already.
 *
 * @param {string} phase queued, starting or running
 * @param {number} ahead how many others have their turn before
 * @param {number} seconds since the phase began
 */
export function describe(phase, ahead, seconds) {
  const queued = ahead > 0 ? `Queued, ${ahead} ahead` : "Queued";
  const words = { queued, starting: "Starting", running: "Running" }[phase] ?? "Waiting";
  return `${words} · ${inTime(seconds)}`;
}

/** Say a duration: 7 s, 3 min 20 s. */
export function inTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
