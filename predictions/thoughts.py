"""What a model thinks before it answers, as many write it: `<think>…</think>`, some without the first mark. Pure.

static/js/markdown/thoughts.js splits the same way what is still being written.
"""

import re

OPENING = "<think>"
CLOSING = "</think>"
CLOSING_LINE = re.compile(r"^[ \t]*</think>[ \t]*$", re.MULTILINE)
FENCE = "```"


def split_thoughts(text: str) -> tuple[str, str]:
    """Return the thoughts at the beginning of `text`, which may be empty or not at their end yet, and the answer."""
    begun = text.lstrip()
    if begun.startswith(OPENING):
        thoughts, _, answer = begun.removeprefix(OPENING).partition(CLOSING)
        return thoughts.strip(), answer.lstrip("\n")
    closing = CLOSING_LINE.search(text)
    # An answer may well be about these marks: in code, or after the first one, they are its words.
    if closing and OPENING not in text[: closing.start()] and text.count(FENCE, 0, closing.start()) % 2 == 0:
        return text[: closing.start()].strip(), text[closing.end() :].lstrip("\n")
    return "", text
