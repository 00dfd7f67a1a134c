import assert from "node:assert/strict";
import { test } from "node:test";

import { JsonFence } from "../../static/js/markdown/json-fence.js";

function stream(text, size) {
  const fence = new JsonFence();
  let out = "";
  for (let start = 0; start < text.length; start += size) {
    out += fence.push(text.slice(start, start + size));
  }
  return out;
}

const CASES = {
  "an object": ['{\n  "a": {\n    "b": 1\n  }\n}', '```json\n{\n  "a": {\n    "b": 1\n  }\n}\n```\n\n'],
  "a list, and words behind it": ["\n[\n  {\n  }\n]\n*x*", "```json\n[\n  {\n  }\n]\n```\n\n\n*x*"],
  "an object that goes on": ['{\n  "a": 1', '```json\n{\n  "a": 1'],
  "a link": ["[a](https://a.example/)", "[a](https://a.example/)"],
  "a formula in brackets": ["[\n  \\frac{1}{2}\n]", "[\n  \\frac{1}{2}\n]"],
  "words in braces": ["{a}\nb", "{a}\nb"],
  words: ["\n\nwords", "\n\nwords"],
};

for (const [name, [text, markdown]] of Object.entries(CASES)) {
  test(name, () => {
    for (const size of [1, 2, 5, 1000]) {
      assert.equal(stream(text, size), markdown);
    }
  });
}
