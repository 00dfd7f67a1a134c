"""What the page itself makes of Markdown while an answer is being written: in a real browser, with no CSP to help."""

import json
import math
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from csp.utils import build_policy
from playwright.sync_api import Browser, Page, Request, expect

from chat.markdown import ATTRIBUTES, CLASSES, TAGS, render, runs_of
from tests.test_markdown import FORMULAS, MARKDOWN_ATTACKS, NAUGHTY, PAYLOADS, Checker
from tests.waiting import WAIT_LIMIT, wait_until

STATIC = Path(__file__).parent.parent / "static"

SCRIPT = b"""
import "/js/elements/answer-text.js";
import { MarkdownWriter } from "/js/markdown/writer.js";
import { sanitize } from "/js/markdown/sanitizer.js";
import { settle } from "/js/markdown/settle.js";
const own = trustedTypes.createPolicy("test", { createHTML: (html) => html });
window.alerts = [];
window.alert = (words) => window.alerts.push(String(words));
window.MarkdownWriter = MarkdownWriter;
// Shows what is written at once: a test need not wait for the screen.
window.atOnce = (work) => {
  const { requestAnimationFrame, setTimeout } = window;
  window.requestAnimationFrame = window.setTimeout = (go) => go();
  try {
    return work();
  } finally {
    Object.assign(window, { requestAnimationFrame, setTimeout });
  }
};
function addPlace() {
  const place = document.createElement("div");
  document.body.append(place);
  return place;
}
window.clean = (html) => {
  const place = addPlace();
  place.append(sanitize(html));
  return place.innerHTML;
};
window.stream = (text, size) => window.atOnce(() => {
  const place = addPlace();
  const writer = new MarkdownWriter(place);
  const seen = [];
  for (let start = 0; start < text.length; start += size) {
    writer.write(text.slice(start, start + size));
    seen.push(place.innerHTML);
  }
  return seen;
});
// What is in the page, at each character of the texts, that `isFault` finds.
window.faultsWhileStreaming = (texts, isFault) => window.atOnce(() => texts.flatMap((text) => {
  const place = addPlace();
  const writer = new MarkdownWriter(place);
  const found = new Set();
  for (const character of text) {
    writer.write(character);
    for (const node of [...place.querySelectorAll("*")].filter(isFault)) {
      found.add(`${text}: ${node.outerHTML}`);
    }
  }
  place.remove();
  return [...found];
}));
// An answer as it stands in a page, and what is written into it.
let id = 0;
window.begin = (text) => {
  id += 1;
  document.querySelector("main")?.remove();
  const main = document.createElement("main");
  const html = "<article><answer-text class=prose></answer-text><streaming-answer></streaming-answer></article>";
  main.innerHTML = own.createHTML(html);
  main.firstChild.dataset.message = id;
  document.body.append(main);
  window.writer = new MarkdownWriter(main.querySelector("answer-text"));
  if (text) {
    window.writer.restart(text);
  }
};
window.end = (html) => {
  document.querySelector("article").outerHTML =
    `<article data-message="${id}"><answer-text class="prose">${html}</answer-text></article>`;
};
window.settleAs = async (html) => {
  const answer = document.querySelector("main answer-text");
  const [before, stored] = [[...answer.children], document.createElement("div")];
  stored.innerHTML = html;
  await settle(answer, stored);
  return [...answer.children].map((block) => before.indexOf(block));
};
window.isLoaded = true;
"""

HEAD = b"""<!DOCTYPE html><title>Markdown</title>
<link rel="stylesheet" href="/css/tokens.css"><link rel="stylesheet" href="/css/base.css">
<link rel="stylesheet" href="/css/prose.css"><link rel="stylesheet" href="/css/code.css">
<body><p id="announcer"></p>"""
PAGES = {
    "/": ("text/html", HEAD + b'<script type="module">' + SCRIPT + b"</script>"),
    "/guarded/": ("text/html", HEAD + b'<script type="module" src="/page.js"></script>'),
    "/page.js": ("text/javascript", SCRIPT),
}
CSP = build_policy(update={"trusted-types": ["test"]})

# Runs what it contains, so that the test sees that a hit would be seen, and after whatever ran before it.
CONTROL = """
const place = document.createElement("div");
document.body.append(place);
place.innerHTML = '<img src="/missing" onerror="alert(\\'control\\')">';
"""

ANSWER = """# Title & more

A paragraph with **bold**, *slanted*, ~~struck~~ words, `code` and a [link](https://a.example/b?c=1&d=2).
Its second line <b>here</b>.

- one[^1]
- two [^note]
  1. nested
  2. list

7. seven

- [x] done
- [ ] **to do**, for $5 or $7

The mass is \\(m_0\\), $\\gamma > 1$ and:
$$
E
= \\gamma m_0 c^2
- 0
$$
So *much* for that.

\\[ a < b \\]

| a | b |
|---|:-:|
| 1 | **2** |

```python
def f(x):

    return "<&>"
```

> A quote
> goes on

[^1]: The *first* note
goes on.
[^note]: The second.

![A picture](https://a.example/c.png) [no](javascript:x)

---

The end.
"""


# Says of a node whether it may run, load or send something, or lead to where it should not.
IS_DANGER = """node =>
    node.matches("script, iframe, object, embed, img, image, use, style, link, form, input, base, meta, video, audio")
    || [...node.attributes].some(({ name }) => /^on|^src|^formaction/.test(name))
    || (node.localName === "a" && !/^(https?|mailto):/i.test(node.getAttribute("href")))
    || (node.localName !== "a" && [...node.attributes].some(({ name }) => /href$/.test(name)))
"""
ALLOWED = json.dumps([sorted(TAGS), *({tag: sorted(known[tag]) for tag in known} for known in (ATTRIBUTES, CLASSES))])
# The same of anything that the allow-list does not know.
IS_UNKNOWN = f"""node => {{
    const [tags, attributes, classes] = {ALLOWED};
    const own = {{ rel: "noopener noreferrer nofollow", target: "_blank" }};
    return !tags.includes(node.localName)
        || (node.localName === "a" && !/^(https?|mailto):/.test(node.getAttribute("href")))
        || [...node.classList].some(name => !classes[node.localName]?.includes(name))
        || [...node.attributes].some(({{ name, value }}) => name !== "class"
            && !attributes[node.localName]?.includes(name) && !(node.localName === "a" && own[name] === value));
}}"""
NO_SANITIZER = """
export function sanitize(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return document.importNode(template.content, true);
}
"""


class Painter:
    """What is asked to colour code: which blocks, and whether it answers now, and how."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails = False
        self.is_free = threading.Event()
        self.is_free.set()

    def paint(self, blocks: list[dict[str, str]]) -> list[Any] | None:
        self.asked.append([block["language"] for block in blocks])
        self.is_free.wait(WAIT_LIMIT)
        return None if self.fails else [list(runs_of(each["code"], each["language"], math.inf)) for each in blocks]


painter = Painter()


class Handler(SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        painted = painter.paint(body["blocks"])
        self.send_response(500 if painted is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"blocks": painted}).encode())

    def do_GET(self) -> None:
        if self.path not in PAGES:
            super().do_GET()
            return
        kind, content = PAGES[self.path]
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if self.path == "/guarded/":
            self.send_header("Content-Security-Policy", CSP)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


class Outline(HTMLParser):
    """The tags and words of some HTML, without highlighting, and white space being one space."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        self.parts = [" ".join(part.split()) for part in self.parts]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "span":
            self.parts.append(" ".join([f"<{tag}", *(f"{name}={value}" for name, value in sorted(attrs))]))

    def handle_endtag(self, tag: str) -> None:
        if tag != "span":
            self.parts.append(f"/{tag}>")

    def handle_data(self, data: str) -> None:
        if self.parts and self.parts[-1].startswith("' "):
            self.parts[-1] += data
        elif data.strip():
            self.parts.append(f"' {data}")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a server on loopback has the static files and a page that offers what is tested."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(STATIC))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Page:
    # With reduced motion all text is shown at once: a test need not wait for it.
    page = browser.new_page(reduced_motion="reduce")
    page.goto(address)
    page.wait_for_function("window.isLoaded")
    return page


@pytest.fixture
def asked(page: Page, address: str) -> Iterator[list[str]]:
    """The addresses that the page asks for, besides its own server's."""
    urls: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(address):
            urls.append(request.url)

    page.on("request", note)
    yield urls
    page.remove_listener("request", note)


def assert_only_the_control_ran(page: Page) -> None:
    page.evaluate("window.alerts.length = 0")
    page.evaluate(CONTROL)
    page.wait_for_function("window.alerts.includes('control')")
    assert page.evaluate("window.alerts") == ["control"]


def test_the_sanitizer_of_the_page_lets_nothing_through(page: Page, asked: list[str]) -> None:
    page.evaluate("window.alerts.length = 0")
    cleaned = page.evaluate("(texts) => texts.map((text) => window.clean(text))", [*PAYLOADS, *NAUGHTY])

    for text, html in zip([*PAYLOADS, *NAUGHTY], cleaned, strict=True):
        assert Checker(html).faults == [], text
    assert page.evaluate("window.alerts") == []
    assert_only_the_control_ran(page)
    assert asked == []


def test_cleaning_twice_is_cleaning_once(page: Page) -> None:
    script = "(texts) => texts.map((text) => { const once = window.clean(text); return [once, window.clean(once)]; })"

    for once, twice in page.evaluate(script, PAYLOADS):
        assert once == twice


def test_every_state_of_an_attack_that_is_streamed_is_safe(page: Page, asked: list[str]) -> None:
    texts = [*MARKDOWN_ATTACKS, *PAYLOADS]

    assert page.evaluate(f"texts => faultsWhileStreaming(texts, {IS_UNKNOWN})", texts) == []

    script = "texts => texts.map((text) => window.stream(text, 7))"
    for text, states in zip(texts, page.evaluate(script, texts), strict=True):
        assert Checker(states[-1]).faults == [], text
    assert_only_the_control_ran(page)
    assert asked == []


def test_without_the_sanitizer_nothing_runs_either(browser: Browser, address: str) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.route(
        "**/markdown/sanitizer.js", lambda route: route.fulfill(content_type="text/javascript", body=NO_SANITIZER)
    )
    urls: list[str] = []
    page.goto(address)
    page.wait_for_function("window.isLoaded")
    page.on("request", lambda request: urls.append(request.url))

    texts = [*MARKDOWN_ATTACKS, *PAYLOADS]
    assert page.evaluate("clean('<b onclick=x>x</b>')") == '<b onclick="x">x</b>'
    assert page.evaluate(f"texts => faultsWhileStreaming(texts, {IS_DANGER})", texts) == []
    assert urls == []
    assert_only_the_control_ran(page)
    page.close()


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_what_was_streamed_looks_like_what_replaces_it(size: int, page: Page) -> None:
    [*_, streamed] = page.evaluate("([text, size]) => window.stream(text, size)", [ANSWER, size])

    assert Outline(streamed).parts == Outline(render(ANSWER)).parts


WRAPPERS = [
    "$${}$$ $done$",
    "\\[\n{}\n\\] $done$",
    "<think>{} ${}$</think>{}",
    "{}\n</think>\n\n{}",
    "x[^1] [^{}]\n\n[^1]: {}\n[^{}]: x",
    "- [x] {}\n- [ ] ${}$",
    "```{}\n{}\n```\n\nx",
    "```html\n{}\n```\n\nx",
]
DANGERS = f"""() => [...document.querySelectorAll("article *")].filter({IS_DANGER}).map(node => node.outerHTML)"""
SHOW = """async ([streamed, stored]) => {
    begin("");
    writer.write(streamed.slice(0, streamed.length / 2));
    await new Promise(requestAnimationFrame);
    writer.write(streamed.slice(streamed.length / 2));
    await new Promise(go => setTimeout(() => requestAnimationFrame(() => setTimeout(go))));
    const dangers = window.dangers();
    end(stored);
    await new Promise(go => setTimeout(go));
    return [...dangers, ...window.dangers()];
}"""


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_attack_within_what_the_page_makes_more_of_is_words(wrapper: str, page: Page, asked: list[str]) -> None:
    page.evaluate(f"window.dangers = {DANGERS}")
    for start in range(0, len(PAYLOADS), 75):
        text = "\n\n".join(wrapper.replace("{}", payload) for payload in PAYLOADS[start : start + 75])

        assert page.evaluate(SHOW, [text, render(text)]) == [], text
    page.evaluate("begin", "$done$")
    expect(page.locator("main [typeset]")).to_have_count(1)
    assert_only_the_control_ran(page)
    assert asked == []


def test_an_attack_on_what_shows_formulas_is_words(page: Page, asked: list[str]) -> None:
    page.evaluate(f"window.dangers = {DANGERS}")
    text = "\n\n".join(MARKDOWN_ATTACKS) + "\n\n$done$"
    page.evaluate("begin", text)
    expect(page.locator("main [typeset]").last).to_contain_text("done")

    assert page.evaluate("dangers()") == []
    assert page.locator("main [id], main .composer, main [data-a]").count() == 0
    assert_only_the_control_ran(page)
    assert asked == []


def test_code_in_colours_is_words(page: Page, asked: list[str]) -> None:
    page.evaluate(f"window.dangers = {DANGERS}")
    for language in ("html", "php", "javascript"):
        text = "\n".join(["~~~~~~" + language, *PAYLOADS])[:14_000]
        page.evaluate("begin", f"{text}\n~~~~~~\n\nx")
        expect(page.locator("main code[highlighted]")).to_have_count(1)

        assert page.evaluate("dangers()") == []
        assert page.locator("main code *:not(span)").count() == 0
    assert_only_the_control_ran(page)
    assert asked == []


FORMULA_ATTACKS = [
    r"\href{javascript:alert(1)}{x}",
    r"\url{javascript:alert(1)}",
    r"\includegraphics[height=1em,alt=x]{https://evil.example/p.png}",
    r"\htmlData{onload=alert(1)}{x}",
    r"\htmlStyle{background:url(https://evil.example/p)}{x}",
    r"\htmlClass{composer}{x}\htmlId{message-form}{y}",
    r"\text{<img src=x onerror=alert(1)>}\unicode{x}",
    r"\color{red;background:url(https://evil.example/p)}x",
    r"\colorbox{url(https://evil.example/p)}{x}\fcolorbox{a}{b}{c}",
    r"\def\a{\a\a}\a \gdef\sin{\href{javascript:alert(1)}{x}}\sin",
    r"\rule{99999em}{99999em}\kern99999em\raisebox{99999em}{x}",
    r"\newcommand\x[1]{#1#1}\x{\x{\x{\x{\x{\x{\x{\x{\x{\x{y}}}}}}}}}}",
    r"\begin{array}{" + "c" * 300 + r"}\sqrt{" * 30,
]


def test_every_prefix_of_an_attack_on_what_shows_formulas_is_safe(page: Page, asked: list[str]) -> None:
    page.evaluate(f"window.dangers = {DANGERS}")
    prefixes = [attack[:end] for attack in FORMULA_ATTACKS for end in range(1, min(len(attack), 120) + 1)]
    text = "\n\n".join([rf"\({formula}\)" for formula in prefixes] + ["$done$"])

    page.evaluate("begin", text)
    expect(page.locator("main .formula[typeset]").last).to_contain_text("done")

    assert page.locator("main .formula[typeset]").count() > len(FORMULA_ATTACKS)
    assert page.evaluate("dangers()") == []
    assert page.locator("main [id], main [data-onload], main .composer, main a").count() == 0
    assert page.locator("main [style*=url]").count() == 0
    assert_only_the_control_ran(page)
    assert asked == []


def test_nothing_in_an_answer_is_drawn_over_what_stands_beside_it(page: Page) -> None:
    page.evaluate("begin", r"Far $\kern-5em\kern-5em\text{left}$")
    expect(page.locator("main .formula[typeset]")).to_have_count(1)

    drawn = page.evaluate(
        """() => {
            const answer = document.querySelector("answer-text");
            Object.assign(answer.style, { marginInlineStart: "300px" });
            return [...answer.querySelectorAll(".mord")].map(part => {
                const { left, top, width, height } = part.getBoundingClientRect();
                return answer.contains(document.elementFromPoint(left + width / 2, top + height / 2));
            });
        }"""
    )

    assert drawn == [False, False]


def test_nothing_that_an_answer_has_breaks_a_rule_of_the_csp(browser: Browser, address: str) -> None:
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{address}/guarded/")
    page.wait_for_function("window.isLoaded")
    formula = r"\begin{matrix} \sqrt{b} & \vec c \\ \fcolorbox{red}{blue}{d} & \pmb{x} \\ \overbrace{e}^f \end{matrix}"
    page.evaluate("begin", f"<think>{ANSWER}</think>\n\n{ANSWER}\n\n$${formula}$$")

    expect(page.locator("main .katex-display .mtable").first).to_be_visible()
    assert page.locator("main .katex-overlay svg").evaluate("arrow => arrow.style.width") == "0.471em"
    page.wait_for_function("[...document.fonts].some(font => font.family === 'KaTeX_Math' && font.status === 'loaded')")
    assert [text for text in complaints if "Content Security Policy" in text] == []
    page.close()


THOUGHTFUL = [
    "<think>\nI *could* say\n\n- a</think>\n\nAn **answer** $x$\n\nto it\n",
    "Without\n\n```c\nan\n```\n\nopening\n</think>\n\nAn **answer**\n\nto it\n",
    "<think>\n\n</think>\n\nAn answer\n",
]


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_thoughts_that_were_streamed_look_like_what_replaces_them(size: int, page: Page) -> None:
    for text in THOUGHTFUL:
        states = page.evaluate("([text, size]) => window.stream(text, size)", [text, size])

        assert Outline(states[-1]).parts == Outline(render(text)).parts, text
        assert not any("think&gt;" in html or "&lt;" in html for html in states)


def test_thoughts_are_one_line_that_tells_their_time_and_stays_as_the_reader_has_it(page: Page) -> None:
    text = "<think>Let me *see*.</think>\n\nYes.\n"
    page.clock.install(time=0)
    try:
        page.evaluate("begin", "")
        page.evaluate("writer.write('<think>Let me *see*.')")
        page.clock.run_for(4200)
        thoughts = page.locator("main .thoughts")
        expect(thoughts.locator("summary")).to_have_text("Thinking… 4 s")
        expect(thoughts.locator("em")).to_be_hidden()
        thoughts.locator("summary").click()
        expect(thoughts.locator("em")).to_be_visible()
        page.evaluate("writer.write('</think>\\n\\nYes.\\n')")
        page.clock.run_for(500)
        expect(thoughts.locator("summary")).to_have_text("Thought for 4 s")

        page.evaluate("end", render(text))
        expect(thoughts.locator("summary")).to_have_text("Thought for 4 s")
        expect(thoughts.locator("em")).to_be_visible()
        copied = "all => { all.toggleAttribute('copying', true); return all.innerText.trim(); }"
        assert page.locator("main answer-text").evaluate(copied) == "Yes."
    finally:
        page.clock.resume()

    # After a reload nobody knows when they began.
    page.evaluate("begin", "<think>Let me")
    expect(page.locator("main summary")).to_have_text("Thinking…")
    page.evaluate("writer.write(' see.</think>Yes.')")
    expect(page.locator("main summary")).to_have_text("Thoughts")


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_json_that_was_streamed_is_code_as_what_replaces_it(size: int, page: Page) -> None:
    written = json.dumps({"a": ["*b*", {"c": None}], "d": "```"}, indent=2)
    for text in (written, f"<think>x</think>\n\n[{written[1:-1]}]\n\nThat **is** it.\n"):
        [*_, streamed] = page.evaluate("([text, size]) => window.stream(text, size)", [text, size])

        assert Outline(streamed).parts == Outline(render(text)).parts, text
        assert "<em>" not in streamed


def test_half_of_something_is_shown_as_that(page: Page) -> None:
    states = page.evaluate("(text) => window.stream(text, 1)", "**bold** and [a link](https://a.example/) `code`")

    assert states[3] == "<p><strong>bo</strong></p>"
    assert not any("](" in html for html in states)
    assert any(html.endswith("<code>co</code></p>") for html in states)


def test_finished_blocks_are_left_alone(page: Page) -> None:
    stays = page.evaluate(
        """(text) => window.atOnce(() => {
            const place = document.createElement("div");
            const half = text.indexOf("```");
            const writer = new MarkdownWriter(place);
            writer.write(text.slice(0, half));
            const finished = [...place.children].slice(0, -1);
            writer.write(text.slice(half));
            return finished.length > 3 && finished.every((node, index) => place.children[index] === node);
        })""",
        ANSWER,
    )

    assert stays


SPOKEN = (
    "# Title\n\nSo $x$[^1].\n\n- a\n  - b\n\n| a |\n|---|\n| b |\n\n```\ncode\n```\n\nMuch\n*more*.\n\n[^1]: A note."
)


def test_of_what_is_stored_only_what_differs_takes_the_place_of_what_was_streamed(page: Page) -> None:
    for stored, kept in [
        (SPOKEN, [0, 1, 2, 3, 4, 5, 6]),
        (SPOKEN.replace("Much", "Most"), [0, 1, 2, 3, 4, -1, 6]),
        (SPOKEN.replace("So $x$", "So $y$").replace("- a", "- [a](https://a.example/)"), [0, -1, -1, 3, 4, 5, 6]),
        (f"{SPOKEN}\n\nThe end.", [0, 1, 2, 3, 4, 5, 6, -1]),
        (SPOKEN.partition("```")[0], [0, -1, 2, 3]),  # without its footnote a mark is text
    ]:
        page.evaluate("begin", SPOKEN)
        expect(page.locator("main .formula[typeset]")).to_have_count(1)
        expect(page.get_by_role("button", name="Footnote 1")).to_have_count(1)

        assert page.evaluate("settleAs", render(stored)) == kept, stored
        expect(page.locator("main .formula[typeset]")).to_have_count(1)
        settled = page.locator("main answer-text").inner_text()
        page.evaluate("end", render(stored))
        expect(page.locator("main answer-text")).to_have_text(settled, use_inner_text=True)


def test_a_text_that_is_replaced_leaves_nothing_of_the_former(page: Page) -> None:
    html = page.evaluate(
        """() => window.atOnce(() => {
            const place = document.createElement("div");
            const writer = new MarkdownWriter(place);
            writer.write("# Old\\n\\nOld text.\\n\\nMore");
            writer.restart("New *te");
            writer.write("xt*.");
            return place.innerHTML;
        })"""
    )

    assert html == "<p>New <em>text</em>.</p>"


def test_browser_and_server_find_the_same_formulas(page: Page) -> None:
    for text, _ in FORMULAS:
        [streamed] = page.evaluate("([text, size]) => window.stream(text, size)", [f"{text}\n\nx", 1000])

        assert Outline(streamed).parts == Outline(render(f"{text}\n\nx")).parts, text


def test_formulas_are_shown_and_what_cannot_be_read_stays(page: Page) -> None:
    text = "The $x_1$ of\n\n$$\n\\frac{1}{2}\n$$\n\nis \\(\\nonsense{\\) and $\\href{javascript:alert(1)}{y}$.\n\n$$a"
    page.evaluate("begin", text)
    main = page.locator("main")

    expect(main.locator(".formula[typeset]")).to_have_count(3)
    expect(main.locator(".katex-display .mfrac").first).to_be_visible()
    expect(main).to_contain_text("\\(\\nonsense{\\)")
    assert main.locator("a").count() == 0
    assert "$$a" not in main.inner_text()
    kept = main.locator(".formula").first.element_handle()
    page.evaluate("writer.write(' = b\\n$$\\n')")
    expect(main.locator(".formula[typeset]")).to_have_count(4)
    assert kept.evaluate("formula => formula.isConnected")

    # What is copied of an answer is what was written.
    page.evaluate("end", render(text))
    expect(main.locator(".formula[typeset]")).to_have_count(3)
    copied = main.locator("answer-text").evaluate(
        "all => { all.toggleAttribute('copying', true); return all.innerText; }"
    )
    assert copied.startswith("The $x_1$ of\n\n$$\n\\frac{1}{2}\n$$\n\nis")


def test_a_footnotes_mark_leads_to_it(page: Page) -> None:
    page.evaluate("begin", "One[^a]\n\n[^b]: Not this.\n[^a]: But this.")

    page.get_by_role("button", name="Footnote a").click()

    expect(page.locator("main .footnote").last).to_be_focused()
    expect(page.locator("main .footnote").last).to_have_text("a But this.")


def test_code_has_its_buttons_while_it_grows_and_stays_as_the_reader_has_it(page: Page) -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    wide = f"```python\n# {'wide ' * 100}\n{lines}"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("begin", wide)
    block, code = page.locator("main .code"), page.locator("main pre")
    end = "pre => pre.scrollHeight - pre.scrollTop - pre.clientHeight < 2"

    expect(block.locator(".code__bar")).to_have_text("pythonWrapCopy")
    page.wait_for_function(f"({end})(document.querySelector('main pre'))")
    block.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == wide.removeprefix("```python\n")
    code.evaluate("pre => { window.former = pre; pre.scrollLeft = 50; }")
    page.evaluate("writer.write('another line')")
    expect(code).to_contain_text("another line")
    page.wait_for_function(f"({end})(document.querySelector('main pre'))")

    # Who scrolls up is left alone, also when the block is finished and when the stored one comes.
    code.hover()
    page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelector('main pre[left]')")
    block.get_by_role("button", name="Wrap").click()
    top = code.evaluate("pre => { pre.scrollTop -= 100; return pre.scrollTop; }")
    page.evaluate("writer.write('\\nand another\\nand one more')")
    expect(code).to_contain_text("and one more")
    page.evaluate("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")
    assert code.evaluate("pre => pre.scrollTop") == top
    page.evaluate("writer.write('\\n```\\n\\nThe end.\\n\\nReally')")
    expect(page.locator("main")).to_contain_text("Really")
    assert code.evaluate("pre => pre === former && pre.scrollTop") == top
    page.evaluate("end", render(f"{wide}another line\nand another\nand one more\n```\n\nThe end.\n\nReally"))
    expect(block.get_by_role("button", name="Wrap")).to_have_attribute("aria-pressed", "true")
    assert code.evaluate("pre => pre.scrollTop") == top
    expect(code).to_have_attribute("tabindex", "0")


def test_code_that_fits_has_no_button_to_wrap_it_and_is_no_stop_for_the_keyboard(page: Page) -> None:
    page.evaluate("begin", "- a list\n\n  ```js\n  1\n  ```")

    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    expect(page.get_by_role("button", name="Wrap")).to_be_hidden()
    expect(page.locator("main pre")).not_to_have_attribute("tabindex", "0")


def test_code_has_its_colours_once_it_is_finished_and_keeps_them(page: Page) -> None:
    painter.asked.clear()
    written = ""

    def write(text: str) -> None:
        nonlocal written
        written += text
        page.evaluate("text => writer.write(text)", text)

    page.evaluate("begin", "")
    code = page.locator("main code")
    write("```python\ndef f():\n    pass\n")
    expect(code).to_contain_text("pass")
    assert painter.asked == []
    write("```\n")
    expect(code.locator(".k").first).to_have_text("def")
    code.evaluate("code => { window.kept = code; }")
    write("\nWords in the same")
    write(" line.\n\n- a\n\n  ```js\n  let x;\n  ```\n\n  b")
    expect(code.nth(1).locator(".kd")).to_have_text("let")
    code.nth(1).evaluate("code => { window.inList = code; }")
    write(" c\n\n```klingon\nx\n```\n\n    indented\n\n```mermaid\npie\n```\n\nd")
    expect(page.locator("main > article")).to_contain_text("d")
    expect(page.locator("main .code__bar").last).to_have_text("mermaidShow diagramWrapCopy")
    expect(page.locator("main [name=diagram]")).to_have_count(1)
    assert page.evaluate("kept.isConnected && inList.isConnected")
    assert painter.asked == [["python"], ["js"]]

    # It begins anew, as after a reload: what has colours keeps them, and nobody is asked.
    html = "() => [...document.querySelectorAll('main code')].map(code => code.innerHTML)"
    before = page.evaluate(html)
    assert page.evaluate("text => atOnce(() => { writer.restart(text); return kept.isConnected; })", written)
    assert page.evaluate(html) == before
    page.evaluate("end", render(written))
    assert page.evaluate(html) == before
    assert painter.asked == [["python"], ["js"]]


def test_a_diagram_stays_where_an_answer_begins_anew(page: Page) -> None:
    text = "```mermaid\npie\n```\n\nx"
    page.evaluate("begin", text)
    expect(page.get_by_role("button", name="Show diagram")).to_be_visible()
    drawn = "bar => bar.dispatchEvent(new CustomEvent('diagram-drawn', { bubbles: true, detail: 120 }))"
    page.locator("main .code__bar").evaluate(drawn)

    page.evaluate("text => writer.restart(text)", text)

    expect(page.locator("main diagram-frame iframe")).to_have_css("height", "120px")
    expect(page.locator("main pre")).to_be_hidden()
    page.evaluate("begin", "")


def test_colours_that_do_not_come_are_not_missed(page: Page) -> None:
    painter.asked.clear()
    page.evaluate("begin", "")
    code = page.locator("main code")
    painter.fails = True
    page.evaluate("writer.write('```c\\nint a;\\n```\\n')")
    wait_until(lambda: painter.asked == [["c"]])
    painter.fails = False
    painter.is_free.clear()
    page.evaluate("writer.write('\\n```css\\na{}\\n```\\n')")
    wait_until(lambda: painter.asked == [["c"], ["css"]])

    # One request at a time, and of very many blocks only the last ones.
    many = "".join(f"```go\nvar a{number}\n```\n\n" for number in range(50))
    page.evaluate("text => writer.restart(text)", f"{many}```sql\nselect 1\n```\n\n```js\nlet x\n```\n\nx")
    expect(code).to_have_count(52)
    code.last.evaluate("code => getSelection().selectAllChildren(code)")
    painter.is_free.set()
    expect(code.nth(50).locator(".k")).to_have_text("select")
    assert painter.asked == [["c"], ["css"], ["go"] * 6 + ["sql", "js"]]
    assert code.filter(has=page.locator("span")).count() == 7
    assert page.evaluate("String(getSelection())") == "let x"
    page.evaluate("getSelection().removeAllRanges()")


LONG = f"""# {"A long heading " * 8}

{"Word" * 40} and `{"code_" * 30}`

| {"What it is " * 5} | {"Price " * 9} | c | d |
|---|---|--:|---|
| {"Averylongword" * 5} | {"many words " * 12} | 1 | `{"x_" * 40}` |

- a
  - b
    - c
      - d {"Word" * 20}

مرحبا بالعالم.

- قائمة
"""


def test_an_answer_fits_a_phone_and_its_words_run_in_their_own_direction(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.wait_for_function("window.isLoaded")
    page.evaluate("begin", "")
    page.evaluate("end", render(LONG))

    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    assert page.locator(".table").evaluate("box => box.scrollWidth > box.clientWidth")
    widths = page.locator("td").evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().width)")
    assert 100 < min(widths[:2]) <= max(widths) < 240
    expect(page.locator(".table")).to_have_attribute("tabindex", "0")
    sides = """node => {
        const words = document.createRange();
        words.selectNodeContents(node);
        const [{ left, right }, box] = [words.getBoundingClientRect(), node.getBoundingClientRect()];
        return [Math.round(left - box.left), Math.round(box.right - right)];
    }"""
    assert page.locator("main p").last.evaluate(sides)[1] == 0
    assert page.locator("main li").last.evaluate(sides)[0] == 0
    page.close()
