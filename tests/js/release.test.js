import assert from "node:assert/strict";
import { test } from "node:test";

import { Release } from "../../static/js/markdown/release.js";

const FRAME = 16; // milliseconds

/** Have `arrivals`, pairs of a time and a length, let out frame by frame; return how much each frame showed. */
function run(arrivals, end) {
  const release = new Release();
  const left = [...arrivals];
  const shown = [];
  for (let now = 0; now <= end; now += FRAME) {
    while (left.length > 0 && left[0][0] <= now) {
      const [time, length] = left.shift();
      release.add("x".repeat(length), time);
    }
    shown.push(release.take(now).length);
  }
  return shown;
}

function ticks(every, length, count) {
  return Array.from({ length: count }, (_, tick) => [tick * every, length]);
}

for (const every of [25, 40, 80]) {
  test(`text that comes every ${every} ms flows evenly`, () => {
    const shown = run(ticks(every, 60, 60), 60 * every).slice(20);
    const even = (60 / every) * FRAME;

    assert.ok(Math.min(...shown.slice(0, -8)) > 0.6 * even, String(shown));
    assert.ok(Math.max(...shown) < 1.6 * even, String(shown));
  });
}

test("nothing waits longer than a tenth of a second, and nothing is lost", () => {
  const arrivals = [
    [0, 5],
    [3, 500],
    [10, 1],
    [30, 1],
    [31, 1],
    [32, 1],
    [60, 4000],
    [400, 7],
    [900, 10],
  ];
  const total = (pairs) => pairs.reduce((sum, [, length]) => sum + length, 0);
  const shown = run(arrivals, 1200);
  let out = 0;
  shown.forEach((length, frame) => {
    out += length;
    assert.ok(out >= total(arrivals.filter(([time]) => time <= frame * FRAME - 100 - FRAME)), String(frame));
  });

  assert.equal(out, total(arrivals));
});

test("a character of two halves stays whole", () => {
  const release = new Release();
  release.add("👩‍🚀".repeat(50), 0);

  for (let now = 1; !release.isEmpty; now += 1) {
    const text = release.take(now);
    assert.equal(text, text.toWellFormed());
  }
});

test("all can be had at once", () => {
  const release = new Release();
  release.add("Grüße", 0);

  assert.equal(release.takeAll(), "Grüße");
  assert.ok(release.isEmpty);
});
