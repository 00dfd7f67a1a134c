"""A model's answer as HTML that is safe to put into a page.

Model output is hostile: whoever wrote the web page or the file that the model read may have written it. So raw HTML is
text here, images become links (an image is fetched without a click, and its address can carry away what was said), and
the last step, after everything that makes HTML, is an allow-list.

The browser does the same, in static/js/markdown/, for the part of an answer that is still being written.
"""

import html
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Text

from chat import formulas
from predictions.thoughts import split_thoughts

MAX_LENGTH = 250_000  # code points; a longer answer is shown as it is. The worst text of this size takes four seconds
MAX_DEPTH = 18  # levels of quotes and lists, a list being two; the parser drops what is deeper than 20
MAX_LANGUAGE = 30  # code points of a language's name
SCHEMES = ("http:", "https:", "mailto:")

# Pygments' lexers are regular expressions, and some take quadratic time for hostile text: 20,000 empty lines of C take
# eight seconds. So: tested languages, blocks of some length, and a time after which the rest of an answer is plain.
MAX_HIGHLIGHTED = 15_000  # code points of one block
HIGHLIGHT_TIME = 0.5  # seconds of work an answer, not of waiting: code has its colours on a busy machine, too
LANGUAGES = {
    "bash", "c", "c#", "c++", "clojure", "cpp", "cs", "csharp", "css", "dart", "diff", "docker", "dockerfile",
    "elixir", "erlang", "go", "graphql", "haskell", "html", "ini", "java", "javascript", "js", "json", "jsx",
    "julia", "kotlin", "lua", "make", "makefile", "markdown", "md", "nginx", "objective-c", "perl", "php",
    "powershell", "ps1", "py", "py3", "pycon", "python", "python3", "r", "rb", "ruby", "rs", "rust", "scala",
    "scss", "sh", "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript", "vim", "xml", "yaml", "yml",
    "zig", "zsh",
}  # fmt: skip

# Pygments' short names for those kinds of tokens that static/css/code.css has a look for.
COLORED = {
    "bp", "c", "c1", "ch", "cm", "cp", "cpf", "cs", "dl", "fm", "gd", "gh", "gi", "go", "gs", "gu", "il", "k", "kc",
    "kd", "kn", "kp", "kr", "kt", "l", "ld", "m", "mb", "mf", "mh", "mi", "mo", "na", "nb", "nc", "nd", "ne", "nf",
    "nl", "nn", "no", "nt", "nv", "ow", "py", "s", "s1", "s2", "sa", "sb", "sc", "sd", "se", "sh", "si", "sr", "ss",
    "sx", "vc", "vg", "vi",
}  # fmt: skip

TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
ALIGNMENTS = {"align-left", "align-center", "align-right"}
CLASSES = {
    "div": {"code", "code__bar", "footnote", "formula", "table"},
    "pre": {"plain"},
    "span": {"formula", "task", "task--done", *COLORED},
    "sup": {"footnote-mark"},
    "td": ALIGNMENTS,
    "th": ALIGNMENTS,
}

ELEMENTS = {
    "footnote_label": "<sup>{}</sup> ",
    "footnote_mark": '<sup class="footnote-mark">{}</sup>',
    "formula": '<div class="formula">{}</div>\n',
    "formula_in_line": '<span class="formula">{}</span>',
    "task": '<span class="task">{}</span> ',
    "task_done": '<span class="task task--done">{}</span> ',
}
JSON_BEGINNING = re.compile(r"\s*([{\[])\n +[\"{\[\d-]")
TASK = re.compile(r"\[([ xX])\] +(?=\S)")
FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,30})\]:[ \t]+(?=\S)")
FOOTNOTE_MARK = re.compile(r"\[\^([^\]\s]{1,30})\]")


def render(text: str) -> str:
    """Return the Markdown `text` as safe HTML; text that is too long to parse in good time comes as it is.

    A model's thoughts at its beginning are folded into one line.
    """
    thoughts, answer = split_thoughts(text)
    if not thoughts:
        return render_part(answer)
    return (
        '<details class="thoughts"><summary>Thoughts</summary>'
        f'<div class="thoughts__text">{render_part(thoughts)}</div></details>\n{render_part(answer)}'
    )


def render_part(text: str) -> str:
    if len(text) > MAX_LENGTH:
        return sanitize(f'<pre class="plain">{html.escape(text)}</pre>')
    return sanitize(PARSER.render(fence_json(text)))


def fence_json(text: str) -> str:
    """Return `text` with JSON at its beginning, written out in lines, as code: it would lose its indentation."""
    found = JSON_BEGINNING.match(text)
    if found is None:
        return text
    end = text.find("\n}" if found[1] == "{" else "\n]")
    behind = end + 2 if end >= 0 else len(text)
    return f"```json\n{text[:behind].lstrip()}\n```\n\n{text[behind:]}"


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


def read_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take lines from `$$` to `$$`, or from `\\[` to `\\]`, as a formula."""
    closing = formulas.CLOSINGS.get(line_of(state, start)[:2])
    if closing in {None, "\\)"} or state.is_code_block(start):
        return False
    for line in range(start, min(end, start + formulas.MAX_LINES)):
        words = line_of(state, line)
        begins_anew = line > start and words.startswith("\\[")
        if not words or begins_anew or state.sCount[line] < state.blkIndent:
            return False
        _, closes, behind = words[2 if line == start else 0 :].partition(closing)
        if closes:
            return not behind.strip() and (silent or push_formula(state, start, line + 1))
    return False


def push_formula(state: StateBlock, start: int, end: int) -> bool:
    formula = state.push("formula", "div", 0)
    formula.content = state.getLines(start, end, state.blkIndent, False).strip()
    formula.map = [start, end]
    state.line = end
    return True


def read_formula_in_line(state: StateInline, silent: bool) -> bool:
    end = formulas.formula_at(state.src, state.pos)
    if end is None or end > state.posMax:
        return False
    if not silent:
        state.push("formula_in_line", "span", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def read_footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Take `[^1]: …` and the lines behind it, up to an empty one or the next footnote."""
    found = FOOTNOTE.match(line_of(state, start))
    if found is None or silent or state.is_code_block(start):
        return False
    behind = start + 1
    while behind < end and line_of(state, behind) and state.sCount[behind] >= state.blkIndent:
        if FOOTNOTE.match(line_of(state, behind)):
            break
        behind += 1
    state.env.setdefault("footnotes", set()).add(found[1])
    state.push("footnote_open", "div", 1).attrSet("class", "footnote")
    state.push("footnote_label", "sup", 0).content = found[1]
    words = state.push("inline", "", 0)
    words.content = "\n".join(line_of(state, line) for line in range(start, behind))[found.end() :].strip()
    words.map = [start, behind]
    words.children = []
    state.push("footnote_close", "div", -1)
    state.line = behind
    return True


def read_footnote_mark(state: StateInline, silent: bool) -> bool:
    """Take `[^1]` as a footnote's mark where there is such a footnote: it may as well be of a regular expression."""
    found = FOOTNOTE_MARK.match(state.src, state.pos, state.posMax)
    if found is None or found[1] not in state.env.get("footnotes", ()):
        return False
    if not silent:
        state.push("footnote_mark", "sup", 0).content = found[1]
    state.pos = found.end()
    return True


def line_of(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()


def finish_tokens(state: StateCore) -> None:
    """Change the parsed tokens where plain CommonMark would not pass the allow-list."""
    kinds = ["", "", *(token.type for token in state.tokens)]
    for place, token in enumerate(state.tokens):
        if token.type == "inline" and token.children:
            token.children = list(show_targets(link_images(token.children)))
            if kinds[place : place + 2] == ["list_item_open", "paragraph_open"]:
                mark_task(token)
        elif token.type in {"th_open", "td_open"} and "style" in token.attrs:
            alignment = str(token.attrs.pop("style")).removeprefix("text-align:")
            token.attrSet("class", f"align-{alignment}")


def mark_task(item: Token) -> None:
    """Put a box where the words of a list's item begin with `[ ]` or `[x]`."""
    found = TASK.match(item.content)
    if found and item.children and item.children[0].type == "text":
        first = item.children[0]
        first.content = first.content[found.end() :]
        kind, sign = ("task", "☐") if found[1] == " " else ("task_done", "☑")
        item.children.insert(0, Token(kind, "span", 0, content=sign))


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
    deadline = env.setdefault("highlight_until", time.thread_time() + HIGHLIGHT_TIME)
    code = tokens[index].content
    language = (tokens[index].info.split() or ["text"])[0][:MAX_LANGUAGE]
    return (
        f'<div class="code"><div class="code__bar"><span>{html.escape(language)}</span></div>'
        f"<pre><code>{highlighted(code, language.lower(), deadline)}</code></pre></div>\n"
    )


def highlighted(code: str, language: str, deadline: float) -> str:
    """Return `code` as HTML, what has a colour in spans whose class is the short name of its kind."""
    return "".join(
        f'<span class="{kind}">{html.escape(text)}</span>' if kind else html.escape(text)
        for kind, text in runs_of(code, language, deadline)
    )


def runs_of(code: str, language: str, deadline: float) -> Iterator[tuple[str, str]]:
    """Yield the pieces of `code`, each with the short name of its kind; that is empty for what has no colour."""
    if language not in LANGUAGES or len(code) > MAX_HIGHLIGHTED or time.thread_time() > deadline:
        yield "", code
        return
    named = ((name_of(kind), text) for kind, text in lexed(code, get_lexer_by_name(language), deadline))
    for name, run in itertools.groupby(named, key=itemgetter(0)):
        yield name, "".join(text for _, text in run)


def name_of(kind: Any) -> str:
    """Return the short name of a kind of tokens, or of the nearest one above it that has one."""
    while kind not in STANDARD_TYPES:
        kind = kind.parent
    name = STANDARD_TYPES[kind]
    return name if name in COLORED else ""


def lexed(code: str, lexer: Lexer, deadline: float) -> Iterator[tuple[Any, str]]:
    """Yield Pygments' kind and the text of each token; after the deadline the rest as one."""
    for index, kind, text in lexer.get_tokens_unprocessed(code):
        if time.thread_time() > deadline:
            yield Text, code[index:]
            return
        yield kind, text


def open_table(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return '<div class="table"><table>\n'


def close_table(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def element_of(layout: str) -> Any:
    """Return a renderer of tokens that are one element with words."""

    def render_element(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return layout.format(html.escape(tokens[index].content))

    return render_element


def make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.validateLink = is_allowed_link  # type: ignore[method-assign]
    parser.block.ruler.before("table", "keep_deep_text", keep_deep_text)
    parser.block.ruler.before("blockquote", "formula", read_formula, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.before("reference", "footnote", read_footnote)
    parser.inline.ruler.before("escape", "formula_in_line", read_formula_in_line)
    parser.inline.ruler.before("link", "footnote_mark", read_footnote_mark)
    parser.core.ruler.push("finish_tokens", finish_tokens)
    parser.add_render_rule("fence", render_code)
    parser.add_render_rule("code_block", render_code)
    for name, layout in ELEMENTS.items():
        parser.add_render_rule(name, element_of(layout))
    parser.add_render_rule("table_open", open_table)
    parser.add_render_rule("table_close", close_table)
    return parser


PARSER = make_parser()
