import assert from "node:assert/strict";
import { test } from "node:test";

import { allowedClasses, LINKS } from "../../static/js/markdown/allowed.js";
import { lex, toHtml } from "../../static/js/markdown/parser.js";

const parse = (text) => toHtml(lex(text)).trim();

const DONE = `<ul>
<li><span class="task task--done">☑</span> a</li>
<li><span class="task">☐</span> b</li>
</ul>`;

const CASES = {
  "a formula that is not closed yet is none of what its lines look like": [
    "words\n$$\na\n- b\n=",
    '<p>words</p>\n<div class="formula"></div>',
  ],
  "what begins as a formula twice is none": ["\\[\n\\[ x\n\ny", "<p>[<br>[ x</p>\n<p>y</p>"],
  "a price is no formula": ["$5 or $6, $x$", '<p>$5 or $6, <span class="formula">$x$</span></p>'],
  "a footnote and its mark": [
    "a[^1]\n\n[^1]: *b*\nc\n[^2]: d",
    '<p>a<sup class="footnote-mark">1</sup></p>\n<div class="footnote"><sup>1</sup> <em>b</em><br>c</div>\n<div class="footnote"><sup>2</sup> d</div>',
  ],
  "HTML is text": ["a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>"],
  "a block of HTML is text": ["<script>\nalert(1)\n</script>", "<p>&lt;script&gt;<br>alert(1)<br>&lt;/script&gt;</p>"],
  "a comment is text": ["<!-- a -->", "<p>&lt;!-- a --&gt;</p>"],
  "a line is a line": ["a\nb", "<p>a<br>b</p>"],
  "a bare address is text": ["http://a.example", "<p>http://a.example</p>"],
  "struck text": ["~~a~~", "<p><s>a</s></p>"],
  "a box of a task": ["- [x] a\n- [ ] b", DONE],
  "a link tells where it leads": [
    '[a](https://b.example/ "https://c.example/")',
    '<p><a href="https://b.example/" title="https://b.example/">a</a></p>',
  ],
  "a name in another script is shown in ASCII": [
    "[a](https://аррӏе.com/)",
    '<p><a href="https://xn--80ak6aa92e.com/" title="https://xn--80ak6aa92e.com/">a</a></p>',
  ],
  "an image is a link": [
    "![a *cat*](https://b.example/c.png)",
    '<p><a href="https://b.example/c.png" title="https://b.example/c.png">a *cat*</a></p>',
  ],
  "an image in a link is its words": [
    "[![a](https://b.example/c.png) **d**](https://e.example/)",
    '<p><a href="https://e.example/" title="https://e.example/">a <strong>d</strong></a></p>',
  ],
  "a link to a script stays as written": ["[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"],
  "a relative link stays as written": ["[a](/accounts/logout/)", "<p>[a](/accounts/logout/)</p>"],
  "an image of data stays as written": ["![a](data:image/png;base64,x)", "<p>![a](data:image/png;base64,x)</p>"],
  "a table": [
    "|a|\n|-:|\n|1|",
    '<div class="table"><table>\n<thead>\n<tr>\n<th class="align-right">a</th>\n</tr>\n</thead>\n<tbody><tr>\n<td class="align-right">1</td>\n</tr>\n</tbody></table>\n</div>',
  ],
  code: [
    "```js onload=x\n<b>\n```",
    '<div class="code"><div class="code__bar"><span>js</span></div><pre><code>&lt;b&gt;\n</code></pre></div>',
  ],
  "code whose language is an attack": [
    '```"><script>\nx\n```',
    '<div class="code"><div class="code__bar"><span>&quot;&gt;&lt;script&gt;</span></div><pre><code>x\n</code></pre></div>',
  ],
};

for (const [name, [text, html]] of Object.entries(CASES)) {
  test(name, () => assert.equal(parse(text), html));
}

test("only known classes pass", () => {
  assert.deepEqual(allowedClasses("div", "code composer  code__bar"), ["code", "code__bar"]);
  assert.deepEqual(allowedClasses("p", "code"), []);
});

test("only addresses elsewhere pass", () => {
  for (const url of ["http://a.example", "HTTPS://a.example", "mailto:a@b.example"]) {
    assert.match(url, LINKS);
  }
  for (const url of [
    "javascript:alert(1)",
    " https://a.example",
    "//a.example",
    "/a",
    "data:text/html,x",
    "httpsx:a",
  ]) {
    assert.doesNotMatch(url, LINKS);
  }
});
