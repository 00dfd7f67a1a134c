"""Answers as models write them, as long as wanted: paragraphs, lists, tables and code, about 180 characters a block."""

import random
import time
from collections.abc import Iterator
from itertools import count

TOKEN = 4  # characters
SHORTEST_SLEEP = 0.002  # seconds; what is due sooner is said at once

SPOKEN = """
    the of and a to in is that it for as with on be this are by from or which at not an can has each when more than
    browser server request database index query token model answer stream worker memory latency function value table
    column result client process thread event socket message version cache schema field record file error request
    measures returns keeps reads writes waits sends shows grows falls depends follows begins ends holds changes
    small large quick slow simple common single next first last open whole long short early late separate
"""
WORDS = SPOKEN.split()


def write_answer(length: int, seed: int = 1) -> str:
    """Return Markdown of `length` characters; the same for the same `seed`."""
    chance = random.Random(seed)  # noqa: S311 - nothing is kept secret with it
    text = ""
    for number in count(1):
        text += "".join(_section(chance, number))
        if len(text) >= length:
            return text[:length]
    raise AssertionError("counting does not end")


def say(text: str, rate: float) -> Iterator[str | float]:
    """Yield the tokens of `text`, `rate` a second, and the seconds to wait between them; by the clock: none is lost."""
    begin = time.monotonic()
    for number, start in enumerate(range(0, len(text), TOKEN)):
        wait = begin + number / rate - time.monotonic()
        if wait > SHORTEST_SLEEP:
            yield wait
        yield text[start : start + TOKEN]


def _section(chance: random.Random, number: int) -> Iterator[str]:
    yield f"## {number}. {_words(chance, 4).capitalize()}\n\n"
    yield f"{_paragraph(chance, 4)}\n\n"
    yield "".join(f"- **{_words(chance, 2).capitalize()}**: {_words(chance, 9)}\n" for _ in range(4)) + "\n"
    yield f"{_paragraph(chance, 2)} See `{chance.choice(WORDS)}_{chance.choice(WORDS)}()`.\n\n"
    match number % 3:
        case 0:
            yield _table(chance)
        case 1:
            yield _code(chance)
        case 2:
            yield f"> {_paragraph(chance, 2)}\n\n"
            yield "".join(f"{place}. {_paragraph(chance, 1)}\n   - {_words(chance, 6)}\n" for place in (1, 2, 3)) + "\n"
    yield f"{_paragraph(chance, 3)}\n\n{_paragraph(chance, 2)}\n\n"


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def _sentence(chance: random.Random) -> str:
    return f"{_words(chance, 6).capitalize()} *{chance.choice(WORDS)}* {_words(chance, chance.randint(3, 9))}."


def _paragraph(chance: random.Random, sentences: int) -> str:
    return " ".join(_sentence(chance) for _ in range(sentences))


def _table(chance: random.Random) -> str:
    rows = "".join(f"| {_words(chance, 2)} | {chance.randint(1, 900)} | {_words(chance, 5)} |\n" for _ in range(5))
    return f"| What | How many | Why |\n|---|--:|---|\n{rows}\n"


def _code(chance: random.Random) -> str:
    lines = "".join(f"    {_call(chance)}  # {_words(chance, 3)}\n" for _ in range(10))
    return f"```python\ndef {chance.choice(WORDS)}():\n{lines}    return {chance.choice(WORDS)}\n```\n\n"


def _call(chance: random.Random) -> str:
    return f'{chance.choice(WORDS)} = read("{chance.choice(WORDS)}", limit={chance.randint(1, 99)})'
