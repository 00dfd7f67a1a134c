"""A model's answer as HTML that is safe to put into a page.

Model output is hostile: whoever wrote the web page or the file that the model read may have written it. So raw HTML is
text here, images become links (an image is fetched without a click, and its address can carry away what was said), and
the last step, after everything that makes HTML, is an allow-list.

The browser does the same, in static/js/markdown/, for the part of an answer that is still being written.
"""

import html
import time
from collections.abc import Iterator, Sequence
from typing import Any

import nh3
import pygments
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Text

MAX_LENGTH = 250_000  # code points; a longer answer is shown as it is. The worst text of this size takes four seconds
MAX_DEPTH = 18  # levels of quotes and lists, a list being two; the parser drops what is deeper than 20
MAX_LANGUAGE = 30  # code points of a language's name
SCHEMES = ("http:", "https:", "mailto:")

# Pygments' lexers are regular expressions, and some take quadratic time for hostile text: 20,000 empty lines of C take
# eight seconds. So: tested languages, blocks of some length, and a time after which the rest of an answer is plain.
MAX_HIGHLIGHTED = 15_000  # code points of one block
HIGHLIGHT_TIME = 0.5  # seconds an answer
LANGUAGES = {
    "bash", "c", "c#", "c++", "clojure", "cpp", "cs", "csharp", "css", "dart", "diff", "docker", "dockerfile",
    "elixir", "erlang", "go", "graphql", "haskell", "html", "ini", "java", "javascript", "js", "json", "jsx",
    "julia", "kotlin", "lua", "make", "makefile", "markdown", "md", "nginx", "objective-c", "perl", "php",
    "powershell", "ps1", "py", "py3", "pycon", "python", "python3", "r", "rb", "ruby", "rs", "rust", "scala",
    "scss", "sh", "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "vim", "xml", "yaml", "yml",
    "zig", "zsh",
}  # fmt: skip

TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
ALIGNMENTS = {"align-left", "align-center", "align-right"}
CLASSES = {
    "div": {"code", "code__bar", "table"},
    "pre": {"plain"},
    "span": {name for name in STANDARD_TYPES.values() if name},
    "td": ALIGNMENTS,
    "th": ALIGNMENTS,
}


def render(text: str) -> str:
    """Return the Markdown `text` as safe HTML; text that is too long to parse in good time comes as it is."""
    if len(text) > MAX_LENGTH:
        return sanitize(f'<pre class="plain">{html.escape(text)}</pre>')
    return sanitize(PARSER.render(text))


def sanitize(unsafe: str) -> str:
    """Return `unsafe` with nothing but the tags, attributes, classes and addresses that are allowed."""
    return nh3.clean(
        unsafe,
        tags=TAGS,
        attributes=ATTRIBUTES,
        allowed_classes=CLASSES,
        url_schemes={scheme.rstrip(":") for scheme in SCHEMES},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def is_allowed_link(url: str) -> bool:
    """Say whether a link may lead there: somewhere else, by its full address."""
    return url.lower().startswith(SCHEMES)


def keep_deep_text(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take as one paragraph what is nested so deeply that the parser would drop it."""
    if silent or state.level < MAX_DEPTH:
        return False
    state.push("paragraph_open", "p", 1).map = [start, end]
    words = state.push("inline", "", 0)
    words.content = state.getLines(start, end, state.blkIndent, False).strip()
    words.map = [start, end]
    words.children = []
    state.push("paragraph_close", "p", -1)
    state.line = end
    return True


def finish_tokens(state: StateCore) -> None:
    """Change the parsed tokens where plain CommonMark would not pass the allow-list."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(show_targets(link_images(token.children)))
        elif token.type in {"th_open", "td_open"} and "style" in token.attrs:
            alignment = str(token.attrs.pop("style")).removeprefix("text-align:")
            token.attrSet("class", f"align-{alignment}")


def link_images(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens with each image as a link to it; inside a link, as its words alone."""
    links = 0
    for token in tokens:
        links += token.nesting if token.type in {"link_open", "link_close"} else 0
        if token.type != "image":
            yield token
            continue
        words = Token("text", "", 0, content=token.content or str(token.attrs["src"]))
        if links or not is_allowed_link(str(token.attrs["src"])):
            yield words
        else:
            yield Token("link_open", "a", 1, attrs={"href": token.attrs["src"]})
            yield words
            yield Token("link_close", "a", -1)


def show_targets(tokens: Iterator[Token]) -> Iterator[Token]:
    """Yield the tokens with each link's address as its title: its words may name another place."""
    for token in tokens:
        if token.type == "link_open":
            token.attrSet("title", str(token.attrs["href"]))
        yield token


def render_code(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: dict[str, Any]) -> str:
    """Return a block of code under a bar with its language's name."""
    deadline = env.setdefault("highlight_until", time.monotonic() + HIGHLIGHT_TIME)
    code = tokens[index].content
    language = (tokens[index].info.split() or ["text"])[0][:MAX_LANGUAGE]
    return (
        f'<div class="code"><div class="code__bar"><span>{html.escape(language)}</span></div>'
        f"<pre><code>{highlighted(code, language.lower(), deadline)}</code></pre></div>\n"
    )


def highlighted(code: str, language: str, deadline: float) -> str:
    """Return `code` as HTML, its tokens in spans with Pygments' short class names."""
    if language not in LANGUAGES or len(code) > MAX_HIGHLIGHTED or time.monotonic() > deadline:
        return html.escape(code)
    return pygments.format(lexed(code, get_lexer_by_name(language), deadline), FORMATTER)


def lexed(code: str, lexer: Lexer, deadline: float) -> Iterator[tuple[Any, str]]:
    """Yield the kind and text of each token; after the deadline the rest as one."""
    for index, kind, text in lexer.get_tokens_unprocessed(code):
        if time.monotonic() > deadline:
            yield Text, code[index:]
            return
        yield kind, text


def open_table(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return '<div class="table"><table>\n'


def close_table(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.validateLink = is_allowed_link  # type: ignore[method-assign]
    parser.block.ruler.before("table", "keep_deep_text", keep_deep_text)
    parser.core.ruler.push("finish_tokens", finish_tokens)
    parser.add_render_rule("fence", render_code)
    parser.add_render_rule("code_block", render_code)
    parser.add_render_rule("table_open", open_table)
    parser.add_render_rule("table_close", close_table)
    return parser


FORMATTER = HtmlFormatter(nowrap=True)
PARSER = make_parser()
