import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../../static/js/markdown/blocks.js";
import { lex, toHtml } from "../../static/js/markdown/parser.js";

const ANSWER = `# Title

A paragraph with **bold**, \`code\` and a [link](https://a.example/).
Its second line.

- one
- two
  - nested

  loose

1. first
2. second

| a | b |
|---|:-:|
| 1 | 2 |

\`\`\`python
def f():

    return 1
\`\`\`
> a quote

    indented

***
Setext
======
Done, see [it][r].

[r]: https://r.example/
`;

/** Push `text` in pieces; return the HTML of what was finished on the way, and of the rest. */
function stream(text, size) {
  const blocks = new Blocks();
  let html = "";
  let rest = "";
  for (let start = 0; start < text.length; start += size) {
    const pushed = blocks.push(text.slice(start, start + size));
    html += toHtml(pushed.finished);
    rest = pushed.rest;
  }
  return html + toHtml(blocks.parse(rest));
}

function parseWhole(text) {
  return toHtml(lex(text));
}

for (const size of [1, 3, 7, 40, 10_000]) {
  test(`an answer in pieces of ${size} is the same as in one`, () => {
    const text = ANSWER.replace("see [it][r]", "end");

    assert.equal(stream(text, size), parseWhole(text));
  });
}

test("a block is finished when the next one begins", () => {
  const blocks = new Blocks();

  assert.equal(blocks.push("One.\n\n").finished.length, 0);
  const { finished, rest } = blocks.push("Two\nt");

  assert.deepEqual(
    finished.map((token) => token.type),
    ["paragraph", "space"],
  );
  assert.equal(rest, "Two\nt");
});

test("an open block of code is not finished by what looks like blocks in it", () => {
  const blocks = new Blocks();

  const { finished, rest } = blocks.push("```md\n# a\n\n- b\n\nc");

  assert.deepEqual(finished, []);
  assert.equal(rest, "```md\n# a\n\n- b\n\nc");
});

test("a list goes on after an empty line", () => {
  assert.equal(stream("- a\n\n- b\n", 1), parseWhole("- a\n\n- b\n"));
});

test("a definition counts for the blocks behind it", () => {
  const text = "[r]: https://r.example/\n\nOne.\n\nTwo, see [it][r].\n\nThree.";

  assert.match(stream(text, 1), /<a href="https:\/\/r\.example\/"/);
});

test("carriage returns, even split ones, change nothing", () => {
  assert.equal(stream("a\r\n\r\nb\r\n", 2), parseWhole("a\n\nb\n"));
});

test("text of any script and with any spaces is kept", () => {
  const text = "\u{1f469}\u200d\u{1f680}日本語\n\n\tcode\u00a0\n\n \n\nعربي\u2028x\0y\n\n- z\u2003z";

  for (const size of [1, 2, 5]) {
    assert.equal(stream(text, size), parseWhole(text));
  }
});

test("finished blocks are parsed once: a long answer takes little time", () => {
  const text = ANSWER.repeat(100);

  const begin = performance.now();
  stream(text, 4);

  assert.ok(performance.now() - begin < 10_000, "parsing it all again for each piece takes minutes");
});
