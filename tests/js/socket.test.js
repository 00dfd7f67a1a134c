import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Socket } from "../../static/js/ways/socket.js";
import { FakeWebSocket, listen } from "./fakes.js";

function makeSocket(frames = []) {
  const socket = new Socket(() => frames, { url: "ws://parley.example/socket/", WebSocket: FakeWebSocket });
  return { socket, heard: listen(socket, "frame", "end") };
}

beforeEach(() => {
  FakeWebSocket.made = [];
});

test("frames go both ways, what the page wants first", () => {
  const { socket, heard } = makeSocket([{ type: "open" }]);

  FakeWebSocket.last.open();
  socket.send({ type: "follow" });
  FakeWebSocket.last.say('{"type":"state"}');

  assert.deepEqual(FakeWebSocket.last.sent, ['{"type":"open"}', '{"type":"follow"}']);
  assert.deepEqual(heard, [{ type: "state" }]);
});

test("nothing is sent before the socket is open", () => {
  const { socket } = makeSocket();

  socket.send({ type: "follow" });

  assert.deepEqual(FakeWebSocket.last.sent, []);
});

for (const [code, end] of [
  [1000, "broken"],
  [1006, "broken"],
  [1008, "crowded"],
  [1011, "broken"],
  [1012, "moved"],
  [4401, "signed-out"],
]) {
  test(`close code ${code} is told as ${end}`, () => {
    const { heard } = makeSocket();

    FakeWebSocket.last.end(code);

    assert.deepEqual(heard, [end]);
  });
}
