// The line that is shown until the first text of an answer comes.

/**
 * Say what an answer waits for, and how long already.
 *
 * @param {object} state
 * @param {string} state.phase queued, starting, unknown (perhaps asked, perhaps not) or running
 * @param {number} state.ahead how many others have their turn before
 * @param {?number} state.progress percent, where the model tells
 * @param {number} seconds since the phase began
 */
export function describe({ phase, ahead, progress }, seconds) {
  const words = {
    queued: ahead > 0 ? `Queued, ${ahead} ahead` : "Queued",
    starting: "Starting",
    unknown: "Checking what became of the question",
    running: progress === null ? "Running" : `Running, ${progress} %`,
  };
  return `${words[phase] ?? "Waiting"} · ${inTime(seconds)}`;
}

/** Say a duration: 7 s, 3 min 20 s. */
export function inTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
