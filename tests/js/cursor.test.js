import assert from "node:assert/strict";
import { test } from "node:test";

import { Cursor, Step } from "../../static/js/cursor.js";

const frame = (edition, offset, end) => ({ edition, offset, end });

test("text that continues is appended", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(0, 12, 20)), Step.APPEND);
  assert.equal(cursor.end, 20);
});

test("text that is there already is ignored", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(0, 0, 12)), Step.IGNORE);
  assert.equal(cursor.read(frame(0, 4, 9)), Step.IGNORE);
  assert.equal(cursor.read(frame(0, 12, 12)), Step.IGNORE);
  assert.equal(cursor.end, 12);
});

test("a gap is asked for", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(0, 13, 20)), Step.FOLLOW);
  assert.equal(cursor.end, 12);
});

test("text that overlaps is asked for anew, because code points are not counted here", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(0, 8, 20)), Step.FOLLOW);
  assert.equal(cursor.end, 12);
});

test("a new edition from its start replaces the text", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(1, 0, 7)), Step.REPLACE);
  assert.deepEqual([cursor.edition, cursor.end], [1, 7]);
  assert.equal(cursor.read(frame(1, 7, 9)), Step.APPEND);
});

test("a new edition from its middle is asked for from its start", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(2, 12, 20)), Step.FOLLOW);
  assert.deepEqual([cursor.edition, cursor.end], [2, 0]);
  assert.equal(cursor.read(frame(2, 0, 20)), Step.APPEND);
});

test("an empty new edition clears the text", () => {
  const cursor = new Cursor(0, 12);

  assert.equal(cursor.read(frame(1, 0, 0)), Step.REPLACE);
  assert.deepEqual([cursor.edition, cursor.end], [1, 0]);
});

test("an older edition is ignored", () => {
  const cursor = new Cursor(3, 12);

  assert.equal(cursor.read(frame(2, 12, 20)), Step.IGNORE);
  assert.equal(cursor.read(frame(2, 0, 20)), Step.IGNORE);
  assert.deepEqual([cursor.edition, cursor.end], [3, 12]);
});

test("whatever is lost, doubled or late, the reader ends with the whole text", () => {
  const log = [..."The quick brown fox jumps over the lazy dog."];
  for (let seed = 1; seed <= 200; seed += 1) {
    assert.equal(readOver(log, chance(seed)), log.join(""));
  }
});

/** Read `log` over a connection that loses, doubles and delays frames; asking always works. */
function readOver(log, random) {
  const cursor = new Cursor();
  let text = "";
  const take = (offset, end) => {
    const step = cursor.read(frame(0, offset, end));
    if (step === Step.APPEND) {
      text += log.slice(offset, end).join("");
    } else if (step === Step.FOLLOW) {
      take(cursor.end, log.length);
    }
  };
  let late = [];
  for (let offset = 0; offset < log.length; ) {
    const end = Math.min(log.length, offset + 1 + Math.floor(random() * 6));
    const frames = [[offset, end], ...late];
    late = random() < 0.2 ? [[offset, end]] : [];
    for (const [from, to] of random() < 0.2 ? [] : frames) {
      take(from, to);
    }
    offset = end;
  }
  take(0, log.length);
  take(cursor.end, log.length);
  return text;
}

/** A small repeatable source of numbers from 0 to 1. */
function chance(seed) {
  let state = seed;
  return () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
}
