import assert from "node:assert/strict";
import { test } from "node:test";

import { persist } from "../../static/js/persist.js";

const SOON = { next: () => 0 };

/** Return what fails `count` times before it brings `what`, and how often it was asked. */
function failing(count, what) {
  const asked = { times: 0 };
  const load = async () => {
    asked.times += 1;
    if (asked.times <= count) {
      throw new TypeError(`failure ${asked.times}`);
    }
    return what;
  };
  return { asked, load };
}

test("what cannot be fetched is tried again", async () => {
  const { asked, load } = failing(3, "a module");

  assert.equal(await persist(load, SOON), "a module");
  assert.equal(asked.times, 4);
});

test("in the end it is given up, with the last reason", async () => {
  const { asked, load } = failing(Number.POSITIVE_INFINITY);

  await assert.rejects(persist(load, SOON), /failure 6/);
  assert.equal(asked.times, 6);
});
