import assert from "node:assert/strict";
import { test } from "node:test";

import { Thoughts } from "../../static/js/markdown/thoughts.js";

/** Push `text` in pieces; return the thoughts and the answer as a page would have them at the end. */
function stream(text, size) {
  const split = new Thoughts();
  let now = { thoughts: "", answer: "" };
  for (let start = 0; start < text.length; start += size) {
    const { thoughts, answer, isAnew } = split.push(text.slice(start, start + size));
    now = isAnew ? { thoughts, answer } : { thoughts: now.thoughts + thoughts, answer: now.answer + answer };
  }
  return [now.thoughts.trim(), now.answer.trim()];
}

const CASES = [
  ["<think>a\nb</think>\n\nc", "a\nb", "c"],
  ["\n <think>\na < b </thin \n</think>c", "a < b </thin", "c"],
  ["<think>\n\n</think>\n\nc", "", "c"],
  ["<think>a", "a", ""],
  ["a\n</think>\n\nc\n</think>\n", "a", "c\n</think>"],
  ["a\n\n  </think>\n", "a", ""],
  ["<think>a</think>b</think>c", "a", "b</think>c"],
  ["<b>c", "", "<b>c"],
  ["a\n</b>\n< a\n</th", "", "a\n</b>\n< a"],
  ["a <think>b</think>", "", "a <think>b</think>"],
  ["It ends with </think>\nthere.", "", "It ends with </think>\nthere."],
  ["```\n</think>\n```", "", "```\n</think>\n```"],
  ["Write\n<think>\na\n</think>\nfirst.", "", "Write\n<think>\na\n</think>\nfirst."],
];

for (const size of [1, 3, 1000]) {
  test(`thoughts are told from the answer in pieces of ${size}`, () => {
    for (const [text, thoughts, answer] of CASES) {
      assert.deepEqual(stream(text, size), [thoughts, answer], text);
    }
  });
}

test("half a mark is never shown", () => {
  for (const text of ["<think>a</think>b", "a\n</think>\n"]) {
    const split = new Thoughts();
    for (const character of text) {
      const { thoughts, answer } = split.push(character);
      assert.doesNotMatch(thoughts + answer, /</);
    }
  }
});
