"""Shorten a text to the sentences that say most of it. Pure, and nothing but arithmetic: no language model.

A sentence matters as much as the sentences that it shares rare words with (LexRank: Erkan and Radev, 2004).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

READING_SPEED = 230  # words a minute
MOST_SENTENCES = 400  # each is compared with each: 160,000 pairs take about one second
DAMPING = 0.85  # as in PageRank
ROUNDS = 30  # the ranks stand still before

# A word, or one sign of a script that is written without spaces.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['\u2019][^\W_]+)*")
CLOSING = "\"'\u201d\u2019)]"  # what may stand between the end of a sentence and the space
SENTENCE_END = re.compile(
    rf"(?<=[.!?\u2026])[{re.escape(CLOSING)}]*\s+(?![a-z\u00df-\u00ff])"  # no small letter begins a sentence
    r"|(?<=[\u3002\uff01\uff1f])"  # the same marks in Chinese and Japanese, which need no space
    r"|\n\s*\n"
)
NO_SENTENCE_END = re.compile(
    r"\b(?:[^\W\d_]|mr|mrs|ms|dr|prof|st|vs|etc|no|fig|e\.g|i\.e|cf|approx|inc|ltd|u\.s|u\.k)\.$", re.IGNORECASE
)
LONGEST_ABBREVIATION = 8  # characters, with its point and one before
# Frequent English words, which say nothing of what a text is about.
STOP_WORDS = frozenset(
    WORD.findall(
        """
        a about after all also an and any are as at be because been before being but by can could did do does each even
        for from had has have he her here him his how i if in into is it its just like made make many may me more most
        much my no not now of on one only or other our out over own said same she should since so some still such than
        that the their them then there these they this those through to too under up upon us very was way we well were
        what when where which while who whose why will with would you your
        """
    )
)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, without their line breaks. An empty line ends a sentence too."""
    found: list[str] = []
    start = 0
    for end in SENTENCE_END.finditer(text):
        last_word = text[max(start, end.start() - LONGEST_ABBREVIATION) : end.start()]
        if end.group().count("\n") > 1 or not NO_SENTENCE_END.search(last_word):
            found.append(text[start : end.end()])
            start = end.end()
    found.append(text[start:])
    return [" ".join(sentence.split()) for sentence in found if WORD.search(sentence)]


def words_of(text: str) -> list[str]:
    return WORD.findall(text.lower())


def telling(sentences: Sequence[str], count: int) -> list[str]:
    """Return the `count` sentences that say most, in the order of the text."""
    ranks = _ranks([_subjects(sentence) for sentence in sentences])
    best = sorted(range(len(sentences)), key=lambda index: (-ranks[index], index))[:count]
    return [sentences[index] for index in sorted(best)]


def keywords(text: str, count: int) -> list[str]:
    """Return the most frequent words that say something, the most frequent first. A single sign is no word."""
    return [word for word, _ in Counter(word for word in _subjects(text) if len(word) > 1).most_common(count)]


def minutes_to_read(word_count: int) -> int:
    return max(1, round(word_count / READING_SPEED))


def _subjects(text: str) -> list[str]:
    return [word for word in words_of(text) if word not in STOP_WORDS and (len(word) > 2 or ord(word[0]) > 0x3000)]


def _ranks(documents: Sequence[Sequence[str]]) -> list[float]:
    """Rank each document by the ranks of those that it is similar to."""
    vectors = _vectors(documents)
    similar = [[_product(one, other) for other in vectors] for one in vectors]
    totals = [sum(row) for row in similar]
    ranks = [1.0] * len(vectors)
    for _ in range(ROUNDS):
        shares = [rank / total if total else 0.0 for rank, total in zip(ranks, totals, strict=True)]
        ranks = [1 - DAMPING + DAMPING * _dot(row, shares) for row in similar]
    return ranks


def _vectors(documents: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """Return the weights of the words of each document, scaled to length one; rare words weigh more."""
    spread = Counter(word for document in documents for word in set(document))
    vectors = []
    for document in documents:
        weights = {word: n * math.log(1 + len(documents) / spread[word]) for word, n in Counter(document).items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        vectors.append({word: weight / length for word, weight in weights.items()})
    return vectors


def _product(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(weight * other[word] for word, weight in one.items() if word in other)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
