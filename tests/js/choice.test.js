import assert from "node:assert/strict";
import { test } from "node:test";

import { Choice } from "../../static/js/choice.js";
import { FakeStorage } from "./fakes.js";

const TEN_MINUTES = 600_000;

function failing(choice, times, options) {
  for (let time = 0; time < times; time += 1) {
    choice.fail(options);
  }
  return choice;
}

test("sockets are given two attempts, the stream one", () => {
  const choice = new Choice({ storage: new FakeStorage() });
  assert.equal(choice.way, "socket");
  assert.equal(failing(choice, 1).way, "socket");
  assert.equal(failing(choice, 1).way, "stream");
  assert.equal(failing(choice, 1).way, "poll");
  assert.equal(failing(choice, 1).way, "socket");
});

test("a server that is not reached says nothing of the ways", () => {
  const choice = failing(new Choice({ storage: new FakeStorage() }), 2);

  assert.equal(failing(choice, 1, { isReached: false }).way, "socket");
});

test("what got through is given four attempts", () => {
  const choice = new Choice({ storage: new FakeStorage() });
  choice.succeed();

  assert.equal(failing(choice, 3).way, "socket");
  assert.equal(failing(choice, 1).way, "stream");
});

test("what got through is kept for the next pages, for ten minutes in all", () => {
  const storage = new FakeStorage();
  let time = 0;
  const load = () => new Choice({ storage, now: () => time });
  failing(load(), 2).succeed();

  time = TEN_MINUTES / 2;
  load().succeed();
  time = TEN_MINUTES - 1;
  assert.equal(load().way, "stream");
  time = TEN_MINUTES;
  assert.equal(load().way, "socket");
});

test("sockets that get through again are kept at once", () => {
  const storage = new FakeStorage();
  failing(new Choice({ storage }), 2).succeed();
  const choice = failing(new Choice({ storage }), 4, { isReached: false });

  choice.succeed();

  assert.equal(new Choice({ storage }).way, "socket");
});

test("a way around a server that was away is not kept", () => {
  const storage = new FakeStorage();
  const choice = new Choice({ storage });
  choice.succeed();
  failing(choice, 4).succeed();

  assert.equal(choice.way, "stream");
  assert.equal(new Choice({ storage }).way, "socket");
  choice.reconsider();
  assert.equal(choice.way, "socket");
});

test("a page whose sockets never got through stays with its stream", () => {
  const choice = failing(new Choice({ storage: new FakeStorage() }), 2);
  choice.succeed();

  choice.reconsider();

  assert.equal(choice.way, "stream");
});

for (const kept of ['{"way":"pigeon","since":0}', "null", "7", "{}"]) {
  test(`a storage that holds ${kept} leads to sockets`, () => {
    const storage = new FakeStorage();
    storage.setItem("way", kept);

    assert.equal(new Choice({ storage, now: () => 0 }).way, "socket");
  });
}
