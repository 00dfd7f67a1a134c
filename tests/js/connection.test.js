import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Backoff } from "../../static/js/backoff.js";
import { Choice } from "../../static/js/choice.js";
import { Connection } from "../../static/js/connection.js";
import { FakeStorage, FakeStream, FakeWay, listen, pass, stopTheClock } from "./fakes.js";

class FakeSocket extends FakeWay {}
class FakePoll extends FakeWay {
  static rhythm = 25_000;
}

function makeConnection(random = 1) {
  const connection = new Connection(() => [{ type: "open" }], {
    ways: { socket: FakeSocket, stream: FakeStream, poll: FakePoll },
    choice: new Choice({ storage: new FakeStorage() }),
    backoff: new Backoff(() => 1),
    random: () => random,
  });
  return { connection, heard: listen(connection, "open", "frame", "lost", "signed-out") };
}

/** The ways that were tried, in order. */
function tried() {
  return FakeWay.made.map(
    (way) => ({ FakeSocket: "socket", FakeStream: "stream", FakePoll: "poll" })[way.constructor.name],
  );
}

beforeEach((context) => {
  FakeWay.made = [];
  stopTheClock();
  context.after?.(() => mock.timers.reset());
});

test("the first word opens, and frames are handed on", () => {
  const { connection, heard } = makeConnection();

  connection.connect();
  FakeWay.last.hear({});
  FakeWay.last.hear({ type: "state" });
  connection.send({ type: "follow" });

  assert.deepEqual(heard, ["open", {}, { type: "state" }]);
  assert.deepEqual(FakeWay.last.frames(), [{ type: "open" }]);
  assert.deepEqual(FakeWay.last.sent, [{ type: "follow" }]);
});

test("a connection that ends is followed by another", () => {
  const { connection, heard } = makeConnection();

  connection.connect();
  FakeWay.last.hear({});
  FakeWay.last.end("broken");
  pass(500);
  FakeWay.last.hear({});

  assert.equal(FakeWay.made.length, 2);
  assert.deepEqual(heard, ["open", {}, "lost", "open", {}]);
});

test("silence of fifteen seconds ends a connection, whatever it says of itself", () => {
  const { connection, heard } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});

  pass(14_999);
  assert.equal(FakeWay.made.length, 1);
  pass(1);
  pass(500);

  assert.equal(FakeWay.made.length, 2);
  assert.equal(FakeWay.made[0].isClosed, true);
  assert.deepEqual(heard, ["open", {}, "lost"]);
});

test("heartbeats keep a connection", () => {
  const { connection, heard } = makeConnection();
  connection.connect();

  for (let beat = 0; beat < 10; beat += 1) {
    FakeWay.last.hear({});
    pass(10_000);
  }

  assert.equal(FakeWay.made.length, 1);
  assert.equal(heard.includes("lost"), false);
});

test("a connection that was given up is not listened to", () => {
  const { connection, heard } = makeConnection();
  connection.connect();
  const former = FakeWay.last;
  pass(5_000);
  pass(500);

  former.hear({ type: "state" });
  former.end("broken");

  assert.deepEqual(heard, ["lost"]);
  assert.equal(FakeWay.made.length, 2);
});

test("connecting twice is connecting once", () => {
  const { connection } = makeConnection();

  connection.connect();
  connection.connect();

  assert.equal(FakeWay.made.length, 1);
});

test("who is not signed in is told so, and no new connection is tried", () => {
  const { connection, heard } = makeConnection();
  connection.connect();

  FakeWay.last.end("signed-out");
  pass(60_000);

  assert.deepEqual(heard, ["signed-out"]);
  assert.equal(FakeWay.made.length, 1);
});

test("a connection that was closed stays closed", () => {
  const { connection, heard } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});

  connection.close();
  FakeWay.last.end("broken");
  pass(60_000);

  assert.equal(FakeWay.made.length, 1);
  assert.equal(FakeWay.last.isClosed, true);
  assert.deepEqual(heard, ["open", {}]);
});

// ---------------------------------------------------------------- how long to wait

test("a server that greets and then fails is not overrun", () => {
  const { connection } = makeConnection();
  connection.connect();

  for (let attempt = 0; attempt < 5; attempt += 1) {
    FakeWay.last.hear({});
    FakeWay.last.end("broken");
    pass(500 * 2 ** attempt - 1);
    assert.equal(FakeWay.made.length, attempt + 1);
    pass(1);
  }
});

test("after some good seconds waits begin short again", () => {
  const { connection } = makeConnection();
  connection.connect();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    FakeWay.last.hear({});
    FakeWay.last.end("broken");
    pass(500 * 2 ** attempt);
  }

  FakeWay.last.hear({});
  pass(5_000);
  FakeWay.last.hear({});
  const { length } = FakeWay.made;
  FakeWay.last.end("broken");
  pass(500);

  assert.equal(FakeWay.made.length, length + 1);
});

for (const [end, random, wait] of [
  ["moved", 0, 250],
  ["moved", 1, 1_000],
  ["crowded", 0, 10_000],
  ["crowded", 1, 20_000],
]) {
  test(`after "${end}" it comes back in ${wait} ms for a random ${random}`, () => {
    const { connection } = makeConnection(random);
    connection.connect();
    FakeWay.last.hear({});

    FakeWay.last.end(end);
    pass(wait - 1);
    assert.equal(FakeWay.made.length, 1);
    pass(1);

    assert.equal(FakeWay.made.length, 2);
  });
}

// ---------------------------------------------------------------- sleep, other networks

test("waking up replaces a connection that should have been heard of", () => {
  const { connection } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});

  mock.timers.setTime(Date.now() + 12_001); // asleep: no timer ran
  connection.wake();

  assert.equal(FakeWay.made.length, 2);
  assert.equal(FakeWay.made[0].isClosed, true);
});

test("waking up leaves a connection alone that was heard of lately", () => {
  const { connection, heard } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});

  pass(9_000);
  connection.wake();

  assert.equal(FakeWay.made.length, 1);
  assert.equal(heard.includes("lost"), false);
});

test("waking up does not wait for the next attempt, and replaces it", () => {
  const { connection } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});
  FakeWay.last.end("broken");

  connection.wake();
  assert.equal(FakeWay.made.length, 2);
  FakeWay.last.hear({});
  pass(9_000);

  assert.equal(FakeWay.made.length, 2);
});

for (const hours of [1, -1]) {
  test(`a clock that is set by ${hours} h costs one connection and nothing else`, () => {
    const { connection } = makeConnection();
    connection.connect();
    FakeWay.last.hear({});

    // Node's fake clock moves timers along with the time, and takes no step back; a browser's does neither.
    const { now } = Date;
    Date.now = () => now() + hours * 3_600_000;
    pass(1_500);
    assert.equal(FakeWay.made.length, 2);
    FakeWay.last.hear({});
    pass(9_000);
    Date.now = now;

    assert.equal(FakeWay.made.length, 2);
  });
}

// ---------------------------------------------------------------- which way

test("sockets that do not open give way to the stream, and a stream that is held back to the poll", () => {
  const { connection } = makeConnection();
  connection.connect();

  pass(5_000); // not a word
  pass(500);
  FakeWay.last.end("broken");
  pass(1_000);
  assert.deepEqual(tried(), ["socket", "socket", "stream"]);
  pass(5_000);
  pass(2_000);
  FakeWay.last.hear({});
  pass(29_999);

  assert.deepEqual(tried(), ["socket", "socket", "stream", "poll"]);
});

test("while the server is away, sockets are tried first when it is back", () => {
  const { connection } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});
  FakeWay.last.end("broken");

  for (let attempt = 0; attempt < 11; attempt += 1) {
    connection.wake();
    FakeWay.last.end(FakeWay.last instanceof FakeStream ? "unreachable" : "broken");
  }

  const round = ["socket", "socket", "socket", "socket", "stream"];
  assert.deepEqual(tried(), ["socket", ...round, ...round, "socket"]);
});

test("a stream that was the way out while the server was away gives way to sockets when it ends", () => {
  const { connection } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});
  FakeWay.last.end("broken");
  for (let attempt = 0; attempt < 4; attempt += 1) {
    connection.wake();
    FakeWay.last.end("broken");
  }
  connection.wake();
  assert.equal(tried().at(-1), "stream");

  FakeWay.last.hear({});
  FakeWay.last.end("moved");
  pass(1_000);

  assert.equal(tried().at(-1), "socket");
});

test("a page that nobody sees lets go of a stream, and not of a socket", () => {
  const { connection } = makeConnection();
  connection.connect();
  FakeWay.last.hear({});
  connection.rest();
  assert.equal(FakeWay.last.isClosed, false);

  connection.choice.way = "stream";
  FakeWay.last.end("broken");
  pass(500);
  FakeWay.last.hear({});
  connection.rest();
  pass(60_000);
  assert.equal(FakeWay.last.isClosed, true);
  assert.equal(FakeWay.made.length, 2);
  connection.wake();

  assert.equal(FakeWay.made.length, 3);
});

test("waits grow to ten seconds and begin anew after a reset", () => {
  const backoff = new Backoff(() => 1);

  const waits = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);

  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("waits differ from page to page", () => {
  assert.equal(new Backoff(() => 0).next(), 250);
  assert.equal(new Backoff(() => 0.5).next(), 375);
});
