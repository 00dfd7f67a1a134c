import assert from "node:assert/strict";
import { test } from "node:test";

import { inWords, post } from "../../static/js/post.js";
import { makeUuid } from "../../static/js/uuid.js";
import { describe, inTime } from "../../static/js/waiting.js";

test("the waiting line says what is waited for and how long already", () => {
  const state = { ahead: 0, progress: null };

  assert.equal(describe({ ...state, phase: "queued", ahead: 2 }, 3.9), "Queued, 2 ahead · 3 s");
  assert.equal(describe({ ...state, phase: "queued" }, 0), "Queued · 0 s");
  assert.equal(describe({ ...state, phase: "starting" }, 4), "Starting · 4 s");
  assert.equal(describe({ ...state, phase: "unknown" }, 4), "Checking what became of the question · 4 s");
  assert.equal(describe({ ...state, phase: "running" }, 61), "Running · 1 min 1 s");
});

test("the waiting line says how far the model is, where it tells", () => {
  assert.equal(describe({ phase: "running", ahead: 0, progress: 38 }, 5), "Running, 38 % · 5 s");
  assert.equal(describe({ phase: "running", ahead: 0, progress: 0 }, 5), "Running, 0 % · 5 s");
  assert.equal(describe({ phase: "starting", ahead: 0, progress: 38 }, 5), "Starting · 5 s");
});

test("a clock that is behind never shows a time before the beginning", () => {
  assert.equal(inTime(-7), "0 s");
});

test("ids are UUIDs of version 4, and no two are the same", () => {
  const ids = Array.from({ length: 1000 }, makeUuid);

  assert.equal(new Set(ids).size, 1000);
  for (const id of ids) {
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});

test("a refusal is told in the server's words", () => {
  assert.equal(inWords({ errors: { text: ["Too long."], model: ["Gone."] } }), "Too long. Gone.");
  assert.equal(inWords({ detail: "Still answering." }), "Still answering.");
  assert.match(inWords(null), /went wrong/);
});

test("a form is sent as JSON is asked for, and the answer says where to look", async (context) => {
  const fetched = context.mock.method(globalThis, "fetch", async () => Response.json({ url: "/a/" }, { status: 201 }));

  assert.deepEqual(await post("/b/", new FormData()), { body: { url: "/a/" } });
  const [url, { method, headers, signal }] = fetched.mock.calls[0].arguments;
  assert.deepEqual([url, method, headers.Accept], ["/b/", "POST", "application/json"]);
  assert.ok(signal instanceof AbortSignal); // a server that never answers must not keep the form busy
});

test("what goes wrong is told", async (context) => {
  const answer = context.mock.method(globalThis, "fetch");

  answer.mock.mockImplementation(async () => Response.json({ errors: { text: ["Too long."] } }, { status: 422 }));
  assert.equal((await post("/b/", new FormData())).problem, "Too long.");

  answer.mock.mockImplementation(async () => new Response("<h1>500</h1>", { status: 500 }));
  assert.match((await post("/b/", new FormData())).problem, /went wrong/);

  answer.mock.mockImplementation(async () => new Response("a page", { status: 200 }));
  assert.match((await post("/b/", new FormData())).problem, /went wrong/);

  answer.mock.mockImplementation(async () => Response.json({ detail: "It cannot be saved." }, { status: 503 }));
  assert.equal((await post("/b/", new FormData())).problem, "It cannot be saved.");

  answer.mock.mockImplementation(async () => Promise.reject(new DOMException("late", "TimeoutError")));
  assert.match((await post("/b/", new FormData())).problem, /could not be reached/);

  answer.mock.mockImplementation(async () => Promise.reject(new TypeError("Failed to fetch")));
  assert.match((await post("/b/", new FormData())).problem, /could not be reached/);
});
