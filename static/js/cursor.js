// How far a reader is in a text that grows at the server. The numbers are the server's (code points); they are compared
// here and never counted, because JavaScript counts UTF-16 units.

/** What to do with a frame of output; see `Cursor.read`. */
export const Step = Object.freeze({
  APPEND: "append", // the frame's text continues mine
  REPLACE: "replace", // the frame's text is the whole text, begun anew
  IGNORE: "ignore", // I have it already
  FOLLOW: "follow", // something is missing: ask the server for what comes after the cursor
});

export class Cursor {
  constructor(edition = 0, end = 0) {
    this.edition = edition;
    this.end = end;
  }

  /**
   * Move on past a frame of output, and say what is to be done with its text.
   *
   * @param {{edition: number, offset: number, end: number}} frame
   * @returns {string} one of `Step`
   */
  read({ edition, offset, end }) {
    if (edition < this.edition) {
      return Step.IGNORE; // sent before the text was replaced
    }
    if (edition > this.edition) {
      return this.#begin(edition, offset, end);
    }
    if (end <= this.end) {
      return Step.IGNORE;
    }
    if (offset !== this.end) {
      return Step.FOLLOW;
    }
    this.end = end;
    return Step.APPEND;
  }

  #begin(edition, offset, end) {
    this.edition = edition;
    this.end = offset === 0 ? end : 0;
    return offset === 0 ? Step.REPLACE : Step.FOLLOW;
  }
}
