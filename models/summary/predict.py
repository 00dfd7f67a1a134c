"""A summary by arithmetic as a Cog model: the telling sentences of a text, its keywords, the time to read it.

It does not stream: Cog refuses an event stream (406). Its output grows line by line, as one sees by asking again.
"""

import time
from collections.abc import Iterator

from cog import BaseRunner, ConcatenateIterator, Input
from summarize import MOST_SENTENCES, keywords, minutes_to_read, sentences_of, telling, words_of

KEYWORDS = 6


class Runner(BaseRunner):
    def run(
        self,
        prompt: str = Input(
            min_length=1,
            description="The text to shorten.",
        ),
        sentences: int = Input(
            default=3,
            ge=1,
            le=10,
            description="How many sentences to keep.",
        ),
        pause: float = Input(
            default=0.2,
            ge=0.0,
            le=5.0,
            description="Seconds between two lines, so that they can be read as they come.",
        ),
    ) -> ConcatenateIterator[str]:
        """Yield the report in Markdown, a line at a time."""
        for number, line in enumerate(report(prompt, sentences)):
            if number:
                _sleep(pause)
            yield line


def report(text: str, count: int) -> Iterator[str]:
    """Yield the lines; joined they are the report."""
    found = sentences_of(text)
    size = len(words_of(text))
    if len(found) <= count:
        yield f"This is too short to shorten: {_plural(len(found), 'sentence')}, {_plural(size, 'word')}."
        yield " Paste a longer text to see the sentences that say most of it."
        return
    if len(found) > MOST_SENTENCES:
        print(f"Only the first {MOST_SENTENCES} of {len(found)} sentences were read.")
        found = found[:MOST_SENTENCES]
    yield "**In short**\n\n"
    for sentence in telling(found, count):
        yield f"- {sentence}\n"
    if subjects := keywords(text, KEYWORDS):
        yield f"\n**About:** {', '.join(subjects)}\n"
    minutes = _plural(minutes_to_read(size), "minute")
    yield f"\n{_plural(size, 'word')} in {_plural(len(found), 'sentence')}; about {minutes} to read."


def _sleep(seconds: float) -> None:
    """Sleep in short steps: Cog cancels by an exception, which cannot interrupt a longer one."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
