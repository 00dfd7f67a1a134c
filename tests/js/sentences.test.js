import assert from "node:assert/strict";
import { test } from "node:test";
import { Sentences } from "../../static/js/sentences.js";

const blocks = (...texts) => texts.map((text) => () => text);

test("a sentence is taken once it has come to its end, and once", () => {
  const sentences = new Sentences();
  assert.equal(sentences.take(blocks("The Moon pu")), "");
  assert.equal(sentences.take(blocks("The Moon pulls. The Sun, t")), "The Moon pulls.");
  assert.equal(sentences.take(blocks("The Moon pulls. The Sun, too")), "");
  assert.equal(sentences.take(blocks("The Moon pulls. The Sun, too!")), "The Sun, too!");
  assert.equal(sentences.take(blocks("The Moon pulls. The Sun, too!")), "");
});

test("a block behind which another one stands is whole", () => {
  const sentences = new Sentences();
  assert.equal(sentences.take(blocks("Rivers", "The Nile. The Am")), "Rivers\nThe Nile.");
  assert.equal(sentences.take(blocks("Rivers", "The Nile. The Amazon", "And")), "The Amazon");
  assert.equal(sentences.takeAll(blocks("Rivers", "The Nile. The Amazon", "And more")), "And more");
  assert.equal(sentences.takeAll(blocks("Rivers", "The Nile. The Amazon", "And more")), "");
});

test("a text that is replaced begins anew where it is shorter", () => {
  const sentences = new Sentences();
  assert.equal(sentences.take(blocks("One.", "Two.", "Three.")), "One.\nTwo.\nThree.");
  assert.equal(sentences.take(blocks("Another one.")), "Another one.");
  assert.equal(sentences.take([]), "");
});

test("other writing systems have sentences, too", () => {
  const sentences = new Sentences();
  assert.equal(sentences.take(blocks("月が引く。太陽")), "月が引く。");
});
