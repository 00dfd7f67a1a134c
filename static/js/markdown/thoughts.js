// Tells a model's thoughts from its answer while both are still growing, as predictions/thoughts.py does for the whole
// text: `<think>…</think>`, which some models write without the first mark. Pure: no page needed.

const OPENING = "<think>";
const CLOSING = "</think>";
const FENCE = "```";

export class Thoughts {
  #answered = ""; // the answer so far, as long as it may turn out to have been thoughts
  #held = ""; // what may be half a mark
  #isWithinLine = false; // whether the answer so far ends in a line that is no mark
  #read = this.#begin;

  /**
   * Take in more text.
   *
   * @param {string} text what comes behind the text so far
   * @returns {{thoughts: string, answer: string, isThinking: boolean, isAnew: boolean}} what comes behind the thoughts
   *   and the answer so far; with `isAnew` these are the whole thoughts, and what was taken for the answer is void
   */
  push(text) {
    const news = { thoughts: "", answer: "", isThinking: false, isAnew: false };
    const whole = this.#held + text;
    this.#held = "";
    return { ...news, ...this.#read(whole) };
  }

  #begin(text) {
    const begun = text.trimStart();
    if (OPENING.startsWith(begun)) {
      this.#held = text;
      return {};
    }
    this.#read = begun.startsWith(OPENING) ? this.#think : this.#answer;
    return this.#read(begun.startsWith(OPENING) ? begun.slice(OPENING.length) : text);
  }

  #think(text) {
    const end = text.indexOf(CLOSING);
    if (end >= 0) {
      this.#read = this.#finish;
      return { thoughts: text.slice(0, end), answer: text.slice(end + CLOSING.length) };
    }
    const half = lengthOfHalf(text);
    this.#held = text.slice(text.length - half);
    return { thoughts: text.slice(0, text.length - half), isThinking: true };
  }

  #answer(text) {
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      if (!this.#isWithinLine && text.slice(start, end).trim() === CLOSING) {
        return this.#close(text.slice(0, start), text.slice(start, end), text.slice(end));
      }
      this.#isWithinLine = false;
      start = end + 1;
    }
    const line = text.slice(start).trim();
    if (!this.#isWithinLine && line && CLOSING.startsWith(line)) {
      this.#held = text.slice(start);
    } else {
      this.#isWithinLine ||= line !== "";
    }
    const answer = text.slice(0, text.length - this.#held.length);
    this.#answered += answer;
    return { answer };
  }

  /** Take what came before the closing mark as thoughts, unless the answer is about such marks. */
  #close(before, mark, behind) {
    this.#read = this.#finish;
    const thoughts = this.#answered + before;
    this.#answered = "";
    const isAnew = !thoughts.includes(OPENING) && thoughts.split(FENCE).length % 2 === 1;
    return isAnew ? { thoughts, answer: behind, isAnew } : { answer: before + mark + behind };
  }

  #finish(text) {
    return { answer: text };
  }
}

/** Return how many characters at the end of `text` may be the beginning of the closing mark. */
function lengthOfHalf(text) {
  for (let length = CLOSING.length - 1; length > 0; length -= 1) {
    if (text.endsWith(CLOSING.slice(0, length))) {
      return length;
    }
  }
  return 0;
}
