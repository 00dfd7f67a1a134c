// What people are told of what they sent, in words, whatever answers: a view, the server, or a proxy.

import assert from "node:assert/strict";
import { test } from "node:test";

import { post } from "../../static/js/post.js";

const PAGE = "<!doctype html><title>Not sent</title>";

async function problemOf(answer) {
  globalThis.fetch = async () => answer;
  return (await post("/conversations/", new FormData())).problem;
}

function page(status) {
  return new Response(PAGE, { status, headers: { "Content-Type": "text/html" } });
}

test("what a view says is told", async () => {
  const errors = { text: ["Write a message first."], id: ["Reload the page."] };
  assert.equal(await problemOf(Response.json({ errors }, { status: 422 })), "Write a message first. Reload the page.");
  assert.equal(await problemOf(Response.json({ detail: "Ask an admin." }, { status: 403 })), "Ask an admin.");
});

test("a page from before somebody signed in anew says that it is to be reloaded", async () => {
  assert.match(await problemOf(page(403)), /Reload it, then send again/);
});

test("what is too large is told as that, by whomever it is refused", async () => {
  for (const answer of [page(400), page(413), new Response(null, { status: 413 })]) {
    assert.match(await problemOf(answer), /Make it shorter/);
  }
});

test("what was deleted meanwhile is told as gone", async () => {
  assert.match(await problemOf(page(404)), /not there any more/);
});

test("anything else went wrong on the server", async () => {
  assert.match(await problemOf(page(502)), /went wrong on the server/);
  assert.match(await problemOf(page(200)), /went wrong on the server/);
});

test("what nobody answered may not have been heard", async () => {
  globalThis.fetch = async () => {
    throw new TypeError("network error");
  };
  assert.equal((await post("/conversations/", new FormData())).isLost, true);
});
