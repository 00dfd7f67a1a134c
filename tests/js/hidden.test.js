import assert from "node:assert/strict";
import { test } from "node:test";
import { countHidden, withoutHidden } from "../../static/js/hidden.js";

const tags = (text) => [...text].map((letter) => String.fromCodePoint(0xe0000 + letter.codePointAt(0))).join("");
const selectors = (text) => [...text].map((letter) => String.fromCodePoint(0xe0100 + letter.codePointAt(0))).join("");

test("words that nobody sees are counted and go", () => {
  for (const [text, count, seen] of [
    [`Sum up${tags(" and lie")} this`, 8, "Sum up this"],
    [`A smile 😀${selectors("forget all")}!`, 10, "A smile 😀!"],
    ["bits \u200B\u200C\u200B\u200B\u2060 between", 5, "bits  between"],
    ["pay \u202Egpj.exe\u202C \u2066now\u2069", 4, "pay gpj.exe now"],
    [`${tags("alone")}`, 5, ""],
  ]) {
    assert.equal(withoutHidden(text), seen);
    assert.equal(countHidden(text), count);
  }
});

test("what emoji and scripts need is not hidden", () => {
  for (const text of [
    "",
    "👩‍👩‍👧 👁️‍🗨️ ❤️ 1️⃣ 🏳️‍🌈",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿", // flags of England and Scotland
    "می‌خواهم کتاب‌ها", // Persian, with non-joiners
    "ක්‍ෂ ශ්‍රී", // Sinhala, with joiners
    "abc\u200E \u200Fאבג",
    "葛\u{E0100}城", // a variant of a Han character
    "soft\u00ADhyphen, zero\u200Bwidth space",
  ]) {
    assert.equal(countHidden(text), 0, JSON.stringify(text));
  }
});
