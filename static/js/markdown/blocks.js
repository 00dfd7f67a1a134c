// Splits Markdown that is still growing into blocks that are finished and the open rest. Pure: no page needed.
//
// A block is finished as soon as another one begins behind it, code as soon as its fence is closed. So finished blocks
// are parsed once and only the rest is parsed again and again. What comes later could still change an earlier block in
// rare cases (the definition of a link far below it); the server's HTML mends that at the end.

import { lex } from "./parser.js";

export class Blocks {
  #links = Object.create(null); // the definitions in finished blocks
  #rest = "";

  /**
   * Take in more text.
   *
   * @param {string} text what comes behind the text so far
   * @returns {{finished: Object[], rest: string}} the blocks that are finished now, and the source of what is not
   */
  push(text) {
    this.#rest += text.replaceAll("\r", ""); // the parser drops them too, and lengths must fit
    const finished = text.includes("\n") ? this.#finished() : [];
    for (const { tag, href, title } of finished.filter((token) => token.type === "def")) {
      this.#links[tag] ??= { href, title };
    }
    this.#rest = this.#rest.slice(lengthOf(finished));
    return { finished, rest: this.#rest };
  }

  /** Return the tokens of a source that stands where the open rest does. */
  parse(source) {
    return lex(source, this.#links);
  }

  #finished() {
    // Half a line may look like something else: `-` is a list, `---` a rule.
    const lines = this.#rest.slice(0, this.#rest.lastIndexOf("\n") + 1);
    const tokens = this.parse(lines);
    // Positions are sums of lengths; they fit unless the parser changed the text.
    if (lengthOf(tokens) !== lines.length) {
      return [];
    }
    const last = tokens.findLastIndex((token) => token.type !== "space");
    return tokens.slice(0, Math.max(isClosed(tokens[last]) ? last + 1 : last, 0));
  }
}

/** Say whether a token is code whose fence is closed: nothing that comes can change it. */
function isClosed(token) {
  const [, fence] = (token?.type === "code" && /^ {0,3}(`{3,}|~{3,})/.exec(token.raw)) || [];
  const line = token?.raw.slice(token.raw.trimEnd().lastIndexOf("\n") + 1).trim() ?? "";
  return Boolean(fence) && line !== token.raw.trim() && line.startsWith(fence) && /^[`~]+$/.test(line);
}

function lengthOf(tokens) {
  return tokens.reduce((length, token) => length + token.raw.length, 0);
}
