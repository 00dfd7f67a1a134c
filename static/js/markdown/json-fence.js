// Shows an answer that begins as JSON which somebody wrote out in lines as code, while it grows: as Markdown it would lose
// its indentation. chat/markdown.py does the same for the whole text. Pure: no page needed.

const BEGINNING = /^\s*([{[])\n +["{[\d-]/;
const HALF = /^\s*(?:[{[](?:\n *)?)?$/; // what may yet become such a beginning

export class JsonFence {
  #closing = "";
  #held = "";
  #read = this.#begin;

  /** Take in more text; return what comes behind the Markdown so far. */
  push(text) {
    const whole = this.#held + text;
    this.#held = "";
    return this.#read(whole);
  }

  #begin(text) {
    const found = BEGINNING.exec(text);
    if (found === null && HALF.test(text)) {
      this.#held = text;
      return "";
    }
    this.#closing = found?.[1] === "{" ? "\n}" : "\n]";
    this.#read = found ? this.#goOn : this.#pass;
    return found ? `\`\`\`json\n${this.#read(text.trimStart())}` : text;
  }

  #goOn(text) {
    const end = text.indexOf(this.#closing);
    if (end >= 0) {
      const behind = end + this.#closing.length;
      this.#read = this.#pass;
      return `${text.slice(0, behind)}\n\`\`\`\n\n${text.slice(behind)}`;
    }
    this.#held = text.endsWith("\n") ? "\n" : "";
    return text.slice(0, text.length - this.#held.length);
  }

  #pass(text) {
    return text;
  }
}
