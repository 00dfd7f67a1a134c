// What the composer decides: whether a model takes some files, which drafts are kept, and what waits to be sent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { inBytes, kindOf, refusalOf } from "../../static/js/attachments.js";
import { Drafts } from "../../static/js/drafts.js";
import { MOST, Outbox, State } from "../../static/js/outbox.js";

class FakeStorage {
  #items = new Map();
  limit = Number.POSITIVE_INFINITY;

  get length() {
    return this.#items.size;
  }

  key(place) {
    return [...this.#items.keys()][place] ?? null;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    if (value.length > this.limit) {
      throw new DOMException("full", "QuotaExceededError");
    }
    this.#items.set(key, value);
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

const OFFER = { name: "Painter", files: "up to 2 images", rooms: { image: ["images", 2], video: ["images", 2] } };
const image = { name: "a.png", kind: "image" };

test("files that a model takes are not refused", () => {
  assert.equal(refusalOf([], OFFER, 10), "");
  assert.equal(refusalOf([image, image], OFFER, 10), "");
});

test("files that a model does not take are refused with what it takes", () => {
  assert.match(
    refusalOf([image, { name: "b", kind: "video" }, image], OFFER, 10),
    /^Painter takes up to 2 images, and/,
  );
  assert.match(refusalOf([{ name: "b.wav", kind: "audio" }], OFFER, 10), /cannot take “b.wav”/);
  assert.match(refusalOf([{ name: "b", kind: "constructor" }], OFFER, 10), /cannot take “b”/);
  assert.match(refusalOf(Array(11).fill(image), { ...OFFER, rooms: { image: ["images", 20] } }, 10), /takes 10/);
});

test("a file is what its type says", () => {
  assert.deepEqual(["image/png", "audio/x", "video/mp4", "text/plain", ""].map(kindOf), [
    ...["image", "audio", "video", "file", "file"],
  ]);
});

test("sizes are written for people", () => {
  assert.deepEqual([0, 1_023, 1_024, 15_400, 1_500_000, 100_000_000].map(inBytes), [
    ...["0 bytes", "1023 bytes", "1.0 KB", "15.0 KB", "1.4 MB", "95.4 MB"],
  ]);
});

test("each page has its draft, and each person their own", () => {
  const storage = new FakeStorage();
  const drafts = new Drafts(storage, "1");
  drafts.write("/", { text: "Hello" });
  drafts.write("/a", { text: "Hi" });
  drafts.remove("/a");

  assert.deepEqual(new Drafts(storage, "1").read("/"), { text: "Hello" });
  assert.equal(drafts.read("/a"), null);
  assert.equal(new Drafts(storage, "2").read("/"), null);
  assert.equal(new Drafts(storage, "1").read("/"), null);
});

test("so many drafts are kept, the newest", () => {
  const storage = new FakeStorage();
  let now = 0;
  const drafts = new Drafts(storage, "1", () => now++);
  for (let page = 0; page < 60; page++) {
    drafts.write(`/${page}`, { text: String(page) });
  }

  assert.equal(storage.length, 50);
  assert.equal(drafts.read("/9"), null);
  assert.deepEqual(drafts.read("/10"), { text: "10" });
  storage.setItem("something else", "x");
  drafts.clear();
  assert.equal(storage.length, 1);
});

test("storage that is full or holds something odd costs the draft alone", () => {
  const storage = new FakeStorage();
  storage.setItem("parley-draft:1:/", "{");
  const drafts = new Drafts(storage, "1");
  assert.equal(drafts.read("/"), null);
  storage.limit = 10;
  drafts.write("/", { text: "A long text" });
  assert.equal(drafts.read("/"), null);
});

test("what waits is kept in its order, also over a reload", () => {
  const storage = new FakeStorage();
  const outbox = new Outbox(storage, "outbox");
  for (const id of ["a", "b", "c"]) {
    outbox.add({ id, text: id });
  }
  outbox.wait(State.ANSWER);
  assert.equal(outbox.remove("b").text, "b");
  assert.equal(outbox.remove("b"), null);

  const again = new Outbox(storage, "outbox");
  assert.deepEqual(
    again.items.map(({ id }) => id),
    ["a", "c"],
  );
  again.remove("a");
  again.remove("c");
  assert.equal(storage.length, 0);
});

test("an outbox has an end, and takes nothing odd out of storage", () => {
  const storage = new FakeStorage();
  storage.setItem("outbox", '[{"id": 1}, null, {"id": "a", "text": "b"}, "x"]');
  const outbox = new Outbox(storage, "outbox");
  assert.equal(outbox.items.length, 1);
  for (let number = 1; number < MOST; number++) {
    assert.equal(outbox.isFull, false);
    outbox.add({ id: String(number), text: "x" });
  }
  assert.equal(outbox.isFull, true);
  storage.setItem("other", '"text"');
  assert.deepEqual(new Outbox(storage, "other").items, []);
});
