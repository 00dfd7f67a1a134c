"""What the page itself makes of Markdown while an answer is being written: in a real browser, with no CSP to help."""

import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request

from chat.markdown import render
from tests.test_markdown import MARKDOWN_ATTACKS, NAUGHTY, PAYLOADS, Checker

STATIC = Path(__file__).parent.parent / "static"

PAGE = b"""<!DOCTYPE html><title>Markdown</title><body><script type="module">
import { MarkdownWriter } from "/js/markdown/writer.js";
import { sanitize } from "/js/markdown/sanitizer.js";
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
window.isLoaded = true;
</script>"""

# Runs what it contains, so that the test sees that a hit would be seen, and after whatever ran before it.
CONTROL = """
const place = document.createElement("div");
document.body.append(place);
place.innerHTML = '<img src="/missing" onerror="alert(\\'control\\')">';
"""

ANSWER = """# Title & more

A paragraph with **bold**, *slanted*, ~~struck~~ words, `code` and a [link](https://a.example/b?c=1&d=2).
Its second line <b>here</b>.

- one
- two
  1. nested
  2. list

7. seven

| a | b |
|---|:-:|
| 1 | **2** |

```python
def f(x):

    return "<&>"
```

> A quote
> goes on

![A picture](https://a.example/c.png) [no](javascript:x)

---

The end.
"""


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(PAGE)

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
    page = browser.new_page()
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


@pytest.mark.parametrize("size", [1, 7])
def test_every_state_of_an_attack_that_is_streamed_is_safe(size: int, page: Page, asked: list[str]) -> None:
    texts = [*MARKDOWN_ATTACKS, *(payload for payload in PAYLOADS if len(payload) < 300)]
    script = "([texts, size]) => texts.map((text) => window.stream(text, size))"

    for text, states in zip(texts, page.evaluate(script, [texts, size]), strict=True):
        for html in states:
            assert Checker(html).faults == [], text
    assert_only_the_control_ran(page)
    assert asked == []


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_what_was_streamed_looks_like_what_replaces_it(size: int, page: Page) -> None:
    [*_, streamed] = page.evaluate("([text, size]) => window.stream(text, size)", [ANSWER, size])

    assert Outline(streamed).parts == Outline(render(ANSWER)).parts


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
