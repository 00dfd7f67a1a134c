r"""Where a formula stands in Markdown: `$$…$$`, `\[…\]`, `\(…\)` and, guarded, `$…$`. Pure.

static/js/markdown/formulas.js finds the same ones.
"""

import re

MAX_LENGTH = 2_000  # code points of a formula: what opens and never closes must not be slow
MAX_LINES = 50  # of a formula that is a block of its own
CLOSINGS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}

# Prices: a dollar sign behind a letter opens nothing, one before a letter or a digit closes nothing.
DOLLARS = re.compile(r"\$(?![\s$])((?:\\[^\n]|[^$\\\n]){1,500})(?<!\s)\$(?![\w$])")
PRICE = re.compile(r"\d(?!\S*$)[^\\^_=+<>{}]*$")


def formula_at(text: str, start: int) -> int | None:
    """Return where the formula ends that begins at `start`, if one does."""
    closing = CLOSINGS.get(text[start : start + 2])
    if closing is None:
        return _between_dollars(text, start)
    end = text.find(closing, start + 2, start + MAX_LENGTH)
    return end + 2 if text[start + 2 : max(end, 0)].strip() else None


def _between_dollars(text: str, start: int) -> int | None:
    if start > 0 and (text[start - 1] in "$\\" or text[start - 1].isalnum()):
        return None
    found = DOLLARS.match(text, start)
    return found.end() if found and not PRICE.match(found[1]) else None
