// Which sentences of a text that grows block by block are whole and were not taken yet. Pure: no page needed.

const SEGMENTER = new Intl.Segmenter(undefined, { granularity: "sentence" });
const END = /[.!?…。！？؟।:][\p{Pe}\p{Pf}"'’]*\s*$/u;

export class Sentences {
  #block = 0; // the first one that was not taken whole
  #taken = 0; // characters of it

  /**
   * Return what can be said by now; the last block may still grow.
   *
   * @param {(() => string)[]} blocks
   */
  take(blocks) {
    return this.#take(blocks, (rest) => wholeOf(rest));
  }

  /** Return all the rest. */
  takeAll(blocks) {
    return this.#take(blocks, (rest) => rest);
  }

  #take(blocks, readyIn) {
    if (blocks.length <= this.#block) {
      [this.#block, this.#taken] = [Math.max(blocks.length - 1, 0), 0]; // the text was replaced by a shorter one
    }
    const parts = [];
    for (let place = this.#block; place < blocks.length; place += 1) {
      const rest = blocks[place]().slice(this.#taken);
      const isLast = place === blocks.length - 1;
      const ready = isLast ? readyIn(rest) : rest;
      parts.push(ready.trim());
      this.#block = place;
      this.#taken = isLast ? this.#taken + ready.length : 0;
    }
    return parts.filter(Boolean).join("\n");
  }
}

/** Return the beginning of a text up to its last sentence that has come to an end. */
function wholeOf(text) {
  const sentences = [...SEGMENTER.segment(text)].map(({ segment }) => segment);
  while (sentences.length > 0 && !END.test(sentences.at(-1))) {
    sentences.pop();
  }
  return sentences.join("");
}
