import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { EventStream } from "../../static/js/ways/event-stream.js";
import { LongPoll } from "../../static/js/ways/long-poll.js";
import { FakeFetch, listen, settle, stopTheClock } from "./fakes.js";

const EVENTS = { type: "text/event-stream; charset=utf-8" };

async function begin(Way, frames = () => [{ type: "open" }]) {
  const server = new FakeFetch();
  const way = new Way(frames, { fetch: server.fetch });
  const heard = listen(way, "frame", "end");
  mock.timers.tick(0);
  await settle();
  return { way, server, heard };
}

function asked({ url }) {
  return JSON.parse(url.searchParams.get("frames"));
}

/** A body that comes in the pieces that the test sends. */
function makeBody() {
  let controller;
  const body = new ReadableStream({ start: (given) => (controller = given) });
  const send = async (bytes) => {
    controller.enqueue(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
    await settle();
  };
  const end = async () => {
    controller.close();
    await settle();
  };
  const fail = async () => {
    controller.error(new TypeError("network error"));
    await settle();
  };
  return { body, send, end, fail };
}

beforeEach((context) => {
  stopTheClock();
  context.after?.(() => mock.timers.reset());
});

test("a stream asks for what the page wants, and tells each event once it is whole", async () => {
  const { server, heard } = await begin(EventStream);
  const { body, send } = makeBody();
  assert.deepEqual(asked(server.last), [{ type: "open" }]);
  assert.equal(server.last.accept, "text/event-stream");

  server.last.answer(body, EVENTS);
  await send('data: {}\n\ndata: {"text":"Grü');
  assert.deepEqual(heard, [{}]);
  const rest = new TextEncoder().encode('ße 👩‍🚀"}\n\n');
  for (const byte of rest) {
    await send(new Uint8Array([byte]));
  }

  assert.deepEqual(heard, [{}, { text: "Grüße 👩‍🚀" }]);
});

test("a stream that the server ends is come back to, one that breaks is broken", async () => {
  for (const [finish, end] of [
    ["end", "moved"],
    ["fail", "broken"],
  ]) {
    const { server, heard } = await begin(EventStream);
    const source = makeBody();
    server.last.answer(source.body, EVENTS);
    await source.send("data: {}\n\n");

    await source[finish]();

    assert.deepEqual(heard, [{}, end]);
  }
});

test("a new wish ends a stream and begins one with all wishes, once for all that came in a turn", async () => {
  const wishes = [{ type: "open" }];
  const { way, server, heard } = await begin(EventStream, () => wishes);
  server.last.answer(makeBody().body, EVENTS);
  await settle();

  wishes.push({ type: "follow" });
  way.send(wishes[1]);
  way.send(wishes[1]);
  mock.timers.tick(0);
  await settle();

  assert.equal(server.made.length, 2);
  assert.equal(server.made[0].signal.aborted, true);
  assert.deepEqual(asked(server.last), wishes);
  assert.deepEqual(heard, []);
});

test("a page of somebody between here and the server is no stream", async () => {
  const { server, heard } = await begin(EventStream);

  server.last.answer("<h1>Welcome to our network</h1>", { type: "text/html" });
  await settle();

  assert.deepEqual(heard, ["broken"]);
});

test("a poll tells what came, asks on, and gives back what the server told", async () => {
  const { server, heard } = await begin(LongPoll);
  assert.equal(server.last.accept, "application/json");

  server.last.answer('{"frames": [{"type": "state"}], "seen": "abc"}');
  await settle();
  server.last.answer('{"frames": [], "seen": "def"}');
  await settle();

  assert.deepEqual(heard, [{}, { type: "state" }, {}]);
  assert.equal(server.made.length, 3);
  assert.equal(server.last.url.searchParams.get("seen"), "def");
});

test("a wish that a poll's frames cause is in the next request, and in no other", async () => {
  const wishes = [{ type: "open" }];
  const { way, server } = await begin(LongPoll, () => wishes);
  way.addEventListener("frame", ({ detail }) => {
    if (detail.type === "messages") {
      wishes.push({ type: "follow" });
      way.send();
    }
  });

  server.last.answer('{"frames": [{"type": "messages"}], "seen": ""}');
  await settle();
  mock.timers.tick(0);
  await settle();

  assert.equal(server.made.length, 2);
  assert.deepEqual(asked(server.last), wishes);
  assert.equal(server.last.signal.aborted, false);
});

for (const Way of [EventStream, LongPoll]) {
  for (const [status, body, told] of [
    [401, "{}", ["signed-out"]],
    [429, '{"detail": "Too many pages."}', [{ type: "refused", reason: "Too many pages." }, "crowded"]],
    [429, "<h1>Slow down</h1>", ["broken"]],
    [400, "{}", ["broken"]],
    [404, "", ["broken"]],
    [502, "<h1>Bad gateway</h1>", ["unreachable"]],
    [503, "", ["unreachable"]],
  ]) {
    test(`${Way.name}: status ${status} with ${body || "nothing"} is told as ${told.at(-1)}`, async () => {
      const { server, heard } = await begin(Way);

      server.last.answer(body, { status });
      await settle();

      assert.deepEqual(heard, told);
      assert.equal(server.made.length, 1);
    });
  }

  test(`${Way.name}: who cannot be reached is told as unreachable`, async () => {
    const { server, heard } = await begin(Way);

    server.last.fail();
    await settle();

    assert.deepEqual(heard, ["unreachable"]);
  });

  test(`${Way.name}: what was closed says nothing and asks nothing`, async () => {
    const { way, server, heard } = await begin(Way);
    way.send();

    way.close();
    mock.timers.tick(0);
    await settle();

    assert.deepEqual(heard, []);
    assert.equal(server.made.length, 1);
    assert.equal(server.last.signal.aborted, true);
  });
}
