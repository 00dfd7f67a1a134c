import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Backoff } from "../../static/js/backoff.js";
import { Socket } from "../../static/js/socket.js";

/** A WebSocket whose other side is the test. */
class FakeWebSocket extends EventTarget {
  static OPEN = 1;
  static made = [];

  readyState = 0;
  sent = [];

  constructor(url) {
    super();
    this.url = url;
    FakeWebSocket.made.push(this);
  }

  static get last() {
    return FakeWebSocket.made.at(-1);
  }

  send(text) {
    this.sent.push(text);
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = FakeWebSocket.OPEN;
    this.dispatchEvent(new Event("open"));
  }

  say(text) {
    this.dispatchEvent(new MessageEvent("message", { data: text }));
  }

  end(code) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

function makeSocket() {
  const socket = new Socket("ws://parley.example/socket/", {
    WebSocket: FakeWebSocket,
    backoff: new Backoff(() => 1),
  });
  const heard = [];
  for (const name of ["open", "frame", "lost", "signed-out"]) {
    socket.addEventListener(name, (event) => heard.push(event.detail ?? name));
  }
  return { socket, heard };
}

beforeEach((context) => {
  FakeWebSocket.made = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after?.(() => mock.timers.reset());
});

test("frames go both ways", () => {
  const { socket, heard } = makeSocket();

  socket.connect();
  FakeWebSocket.last.open();
  socket.send({ type: "open" });
  FakeWebSocket.last.say('{"type":"state"}');

  assert.deepEqual(heard, ["open", { type: "state" }]);
  assert.deepEqual(FakeWebSocket.last.sent, ['{"type":"open"}']);
});

test("nothing is sent while there is no connection", () => {
  const { socket } = makeSocket();

  socket.send({ type: "open" });
  socket.connect();
  socket.send({ type: "open" });

  assert.deepEqual(FakeWebSocket.last.sent, []);
});

test("a connection that ends is followed by another", () => {
  const { socket, heard } = makeSocket();

  socket.connect();
  FakeWebSocket.last.open();
  FakeWebSocket.last.end(1006);
  mock.timers.tick(500);
  FakeWebSocket.last.open();

  assert.equal(FakeWebSocket.made.length, 2);
  assert.deepEqual(heard, ["open", "lost", "open"]);
});

test("silence of fifteen seconds ends a connection, whatever it says of itself", () => {
  const { socket, heard } = makeSocket();
  socket.connect();
  FakeWebSocket.last.open();

  mock.timers.tick(14_999);
  assert.equal(FakeWebSocket.made.length, 1);
  mock.timers.tick(1);
  mock.timers.tick(500);

  assert.equal(FakeWebSocket.made.length, 2);
  assert.equal(FakeWebSocket.made[0].readyState, 3);
  assert.deepEqual(heard, ["open", "lost"]);
});

test("heartbeats keep a connection", () => {
  const { socket, heard } = makeSocket();
  socket.connect();
  FakeWebSocket.last.open();

  for (let beat = 0; beat < 10; beat += 1) {
    mock.timers.tick(10_000);
    FakeWebSocket.last.say("{}");
  }

  assert.equal(FakeWebSocket.made.length, 1);
  assert.equal(heard.includes("lost"), false);
});

test("a connection that never opens is given up too", () => {
  const { socket } = makeSocket();

  socket.connect();
  mock.timers.tick(15_000);
  mock.timers.tick(500);

  assert.equal(FakeWebSocket.made.length, 2);
});

test("a connection that was given up is not listened to", () => {
  const { socket, heard } = makeSocket();
  socket.connect();
  const former = FakeWebSocket.last;
  mock.timers.tick(15_000);
  mock.timers.tick(500);

  former.open();
  former.say('{"type":"state"}');
  former.end(1006);

  assert.deepEqual(heard, ["lost"]);
  assert.equal(FakeWebSocket.made.length, 2);
});

test("connecting twice is connecting once", () => {
  const { socket } = makeSocket();

  socket.connect();
  socket.connect();

  assert.equal(FakeWebSocket.made.length, 1);
});

test("connecting by hand does not wait for the next attempt, and replaces it", () => {
  const { socket } = makeSocket();
  socket.connect();
  FakeWebSocket.last.end(1006);

  socket.connect();
  assert.equal(FakeWebSocket.made.length, 2);
  FakeWebSocket.last.open();
  mock.timers.tick(10_000);

  assert.equal(FakeWebSocket.made.length, 2);
});

test("who is not signed in is told so, and no new connection is tried", () => {
  const { socket, heard } = makeSocket();
  socket.connect();
  FakeWebSocket.last.open();

  FakeWebSocket.last.end(4401);
  mock.timers.tick(60_000);

  assert.deepEqual(heard, ["open", "signed-out"]);
  assert.equal(FakeWebSocket.made.length, 1);
});

test("a socket that was closed stays closed", () => {
  const { socket, heard } = makeSocket();
  socket.connect();
  FakeWebSocket.last.open();
  const { last } = FakeWebSocket;

  socket.close();
  last.end(1000);
  mock.timers.tick(60_000);

  assert.equal(FakeWebSocket.made.length, 1);
  assert.deepEqual(heard, ["open"]);
});

test("waits grow to ten seconds and begin anew after a frame", () => {
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
