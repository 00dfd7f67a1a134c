"""What chat.markdown lets into a page: of Markdown what an answer needs, of everything else its words."""

import html
import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import pytest

from chat.markdown import (
    ATTRIBUTES,
    CLASSES,
    LANGUAGES,
    MAX_LENGTH,
    SCHEMES,
    TAGS,
    render,
    sanitize,
)

XSS = Path(__file__).parent / "data" / "xss"
PAYLOADS = [case["payload"] for case in json.loads((XSS / "dompurify-expect.json").read_text())["cases"]]
NAUGHTY = json.loads((XSS / "naughty-strings.json").read_text())["strings"]

MARK = '<sup class="footnote-mark">1</sup>'
FORMULAS = [
    (r"$x_1$", "<span>$x_1$</span>"),
    ("($x$)", "(<span>$x$</span>)"),
    (r"$5$ and $2 + 2$", "<span>$5$</span> and <span>$2 + 2$</span>"),
    (r"\(a *b* c*\)", r"<span>\(a *b* c*\)</span>"),
    (r"a $$b$$ c \[d\]", r"a <span>$$b$$</span> c <span>\[d\]</span>"),
    (r"$a < b$", "<span>$a &lt; b$</span>"),
    (r"$\$5$", r"<span>$\$5$</span>"),
    ("it costs $5 per item, or $7", "it costs $5 per item, or $7"),
    ("$20,000 and $30,000", "$20,000 and $30,000"),
    ("US$5 and CA$7 and $HOME/$USER", "US$5 and CA$7 and $HOME/$USER"),
    ("5$ or 6$ or $ 7 $", "5$ or 6$ or $ 7 $"),
    ("$5 or 10$ each", "$5 or 10$ each"),
    (r"\$x\$ and \\(x\\)", r"$x$ and \(x\)"),
    ("`$x$`", "<code>$x$</code>"),
    (r"\(\) and \(x", "() and (x"),
]

MARKDOWN_ATTACKS = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\nscript:alert(1)>)",
    "[x](\x01javascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/)",
    "[x](/accounts/logout/)",
    "[x](?next=//evil.example)",
    "[x]\n\n[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/p.png?q=secret)",
    "![x][r]\n\n[r]: https://evil.example/p.png",
    '![x](https://evil.example/"onerror="alert(1))',
    '[x](https://evil.example/ "title\\" onmouseover=alert(1)")',
    "```js onload=alert(1)\n1\n```",
    '```"><img/src=x/onerror=alert(1)>\n1\n```',
    "~~~html\n</code></pre><script>alert(1)</script>\n~~~",
    "    </code></pre><script>alert(1)</script>",
    "`<img src=x onerror=alert(1)>`",
    "|<img src=x onerror=alert(1)>|b|\n|:-:|-|\n|<script>alert(1)</script>|`|`|",
    "# <svg onload=alert(1)>",
    "- <math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<details type="tool_calls" done="true"><summary>x</summary></details>',
    "<style>*{display:none}</style>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "- [x] <img src=x onerror=alert(1)>",
    "a[^<script>alert(1)</script>] [^1]\n\n[^<script>alert(1)</script>]: b\n[^1]: <img src=x onerror=alert(1)>",
    '[^"onclick=alert(1)]: [x](javascript:alert(1)) ![x](https://evil.example/p.png)\n\na[^"onclick=alert(1)]',
    r"$<img src=x onerror=alert(1)>$ \(</span><script>alert(1)</script>\) $$<!--$$",
    "$$\n</div><script>alert(1)</script>\n$$",
    r"$\href{javascript:alert(1)}{x}$ $\url{javascript:alert(1)}$ $\includegraphics{https://evil.example/p.png}$",
    r"\[\htmlStyle{background:url(https://evil.example/p.png)}{x} \htmlData{a=b}{x} \htmlId{message-form}{x}\]",
    r"$$\def\a{\a\a}\a$$ $$\rule{99999em}{99999em}$$ $$\htmlClass{composer}{x}$$",
]


class Checker(HTMLParser):
    """Collects everything in some HTML that the allow-list does not know."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if not self._is_allowed(tag, name, value or ""):
                self.faults.append(f'<{tag} {name}="{value}">')

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def _is_allowed(self, tag: str, name: str, value: str) -> bool:
        match tag, name:
            case _, "class":
                return set(value.split()) <= CLASSES.get(tag, set())
            case "a", "href":
                return f"{urlsplit(value).scheme}:" in SCHEMES
            case "a", "rel":
                return value == "noopener noreferrer nofollow"
            case "a", "target":
                return value == "_blank"
            case _:
                return name in ATTRIBUTES.get(tag, set())


@pytest.mark.parametrize("text", [*PAYLOADS, *MARKDOWN_ATTACKS])
def test_hostile_text_becomes_nothing_but_what_is_allowed(text: str) -> None:
    html = render(text)

    assert Checker(html).faults == []


@pytest.mark.parametrize("text", PAYLOADS)
def test_the_sanitizer_holds_without_the_parser(text: str) -> None:
    once = sanitize(text)

    assert Checker(once).faults == []
    assert sanitize(once) == once


def test_naughty_strings_are_rendered_safely() -> None:
    for text in NAUGHTY:
        assert Checker(render(text)).faults == [], text


def test_every_prefix_of_an_attack_is_safe() -> None:
    for text in MARKDOWN_ATTACKS:
        for end in range(len(text)):
            assert Checker(render(text[:end])).faults == [], text[:end]


def test_the_checker_sees_what_it_looks_for() -> None:
    html = (
        "<img src=x><a href='javascript:alert(1)' onclick=x rel=opener>x</a><p class=composer style='x'>x</p><!-- x -->"
    )

    assert len(Checker(html).faults) == 8


def test_raw_html_is_shown_as_text() -> None:
    assert render("a <b>c</b>") == "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"


def test_images_become_links() -> None:
    html = render("![a *cat*](https://pictures.example/cat.png)")

    assert "<img" not in html
    assert 'href="https://pictures.example/cat.png"' in html
    assert ">a *cat*</a>" in html


def test_an_image_in_a_link_is_its_words() -> None:
    html = render("[![logo](https://a.example/i.png)](https://b.example/)")

    assert html.count("<a ") == 1
    assert ">logo</a>" in html
    assert "a.example" not in html


def test_a_link_tells_where_it_leads() -> None:
    html = render('[https://bank.example](https://evil.example/ "https://bank.example")')

    assert 'title="https://evil.example/"' in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert 'target="_blank"' in html


def test_a_link_to_a_name_in_another_script_shows_it_in_ascii() -> None:
    assert 'title="https://xn--80ak6aa92e.com"' in render("[x](https://аррӏе.com)")


def test_a_link_that_is_not_allowed_stays_as_it_was_written() -> None:
    assert render("[x](javascript:alert(1))") == "<p>[x](javascript:alert(1))</p>\n"


def test_code_is_highlighted_with_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.markdown.HIGHLIGHT_TIME", 60)  # on any machine
    html = render("```python\ndef f(): pass\n```")

    assert '<div class="code"><div class="code__bar"><span>python</span></div><pre><code>' in html
    assert '<span class="k">def</span>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{\n  "a": 1\n}', '{\n  "a": 1\n}'),
        ('\n[\n  {\n    "a": "*b*"\n  }\n]\n\nAnd *that*.', '[\n  {\n    "a": "*b*"\n  }\n]'),
        ('{\n  "a": [\n    1,', '{\n  "a": [\n    1,'),
    ],
)
def test_json_is_code(text: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.markdown.HIGHLIGHT_TIME", -1)

    rendered = render(text)

    assert rendered.startswith('<div class="code"><div class="code__bar"><span>json</span></div>')
    assert f"<pre><code>{html.escape(code, quote=False)}\n</code></pre>" in rendered
    assert ("<em>that</em>" in rendered) == ("*that*" in text)


@pytest.mark.parametrize("text", ["[a](https://a.example/)", "{a}", "[\n  \\frac{1}{2}\n]", "{\n", ""])
def test_what_only_looks_a_little_like_json_is_markdown(text: str) -> None:
    assert "code" not in render(text)


def test_code_of_an_unknown_language_is_left_alone() -> None:
    html = render("```klingon\n<b> & c\n```")

    assert "<span>klingon</span>" in html
    assert "<code>&lt;b&gt; &amp; c\n</code>" in html


def test_code_keeps_its_empty_lines() -> None:
    assert "<code>\n\nx" in render("```python\n\n\nx\n```")


def test_highlighting_that_takes_too_long_stops_and_keeps_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.markdown.HIGHLIGHT_TIME", -1)

    assert "<code>def f(): pass\n</code>" in render("```python\ndef f(): pass\n```")


def test_a_table_is_aligned_by_classes() -> None:
    html = render("|a|b|c|\n|:-|:-:|--:|\n|1|2|3|")

    assert html.startswith('<div class="table"><table>')
    assert '<td class="align-left">1</td>' in html
    assert '<td class="align-center">2</td>' in html
    assert '<td class="align-right">3</td>' in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\nb", "<p>a<br>\nb</p>"),
        ("~~a~~", "<p><s>a</s></p>"),
        ("**a** *b* `c`", "<p><strong>a</strong> <em>b</em> <code>c</code></p>"),
        ("3. a", '<ol start="3">\n<li>a</li>\n</ol>'),
        ("> a", "<blockquote>\n<p>a</p>\n</blockquote>"),
        ("see http://a.example", "<p>see http://a.example</p>"),
        ("- [x] a", '<ul>\n<li><span class="task task--done">☑</span> a</li>\n</ul>'),
        ("- [ ] *a*", '<ul>\n<li><span class="task">☐</span> <em>a</em></li>\n</ul>'),
        ("[x] a", "<p>[x] a</p>"),
        ("a[^1]\n\n[^1]: *b*\nc", f'<p>a{MARK}</p>\n<div class="footnote">\n<sup>1</sup> <em>b</em><br>\nc</div>'),
        ("a[^1]", "<p>a[^1]</p>"),
    ],
)
def test_markdown_is_rendered(text: str, html: str) -> None:
    assert render(text).strip() == html


@pytest.mark.parametrize(("text", "html"), FORMULAS)
def test_formulas_are_found_and_prices_are_left_alone(text: str, html: str) -> None:
    assert render(text).replace(' class="formula"', "") == f"<p>{html}</p>\n"


@pytest.mark.parametrize("text", ["$$\na\n= b\n- c\n$$", "\\[\na\n\\]", "$$a$$", r"\[a\]"])
def test_a_formula_may_be_a_block_also_right_behind_words_and_in_a_list(text: str) -> None:
    block = f'<div class="formula">{text}</div>'

    assert render(f"words\n{text}\nmore") == f"<p>words</p>\n{block}\n<p>more</p>\n"
    assert block in render("1. words\n\n" + "".join(f"   {line}\n" for line in text.split("\n")))


@pytest.mark.parametrize("text", ["$$\na\n\nb\n$$", "$$\na", "\\[ a", "\\[\n\\["])
def test_what_never_closes_is_no_formula(text: str) -> None:
    assert "formula" not in render(text)


@pytest.mark.parametrize("marker", ["> ", "- ", "1. ", "> - "])
def test_text_under_any_number_of_markers_is_kept(marker: str) -> None:
    for depth in (5, 9, 10, 15, 25, 200):
        assert "treasure" in render(marker * depth + "treasure\n\nnext"), depth
        assert "next" in render(marker * depth + "treasure\n\nnext"), depth


def test_text_that_is_too_long_is_shown_as_it_is() -> None:
    html = render("**a** <b>" + "x" * MAX_LENGTH)

    assert html.startswith('<pre class="plain">**a** &lt;b&gt;xxx')


class _Text(HTMLParser):
    """What a reader sees of HTML."""

    @classmethod
    def of(cls, html: str) -> str:
        reader = cls()
        reader.text = ""
        reader.feed(html)
        return reader.text

    def handle_data(self, data: str) -> None:
        self.text += data


# Each of these is quadratic, or worse, for a careless parser.
SLOW = [
    *("[", "![", "[![a](", "[a](", "](a", "<a", "&", "\\"),
    *("> ", "- a\n", "|a|b|\n|-|-|\n|x|y|\n"),
    *("**a", "*a _b ", "`a", "~~a"),
    *("$", "$a", "$$a", "\\(", "\\[", "$$\n", "\\[\n", "[^1]", "[^1]: a\n", "- [ ] "),
]


def count_lines(text: str) -> int:
    """How many lines of Python `render` runs for `text`: the same on every machine."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        render(text)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("piece", SLOW)
def test_hostile_text_costs_at_most_the_square_of_its_length(piece: str) -> None:
    size = 600
    once, twice = (count_lines((piece * n)[:n]) for n in (size, 2 * size))

    assert twice < 5 * once


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_hostile_code_loses_nothing(language: str) -> None:
    for piece in ("\n", "/", "a:", "="):
        code = piece * 500

        html = render(f"~~~~~~{language}\n{code}\n~~~~~~")

        assert "".join(_Text.of(html).split()) == language + "".join(code.split())
