"""Text as the search sees it: words in lower case without accents, whatever stands between them. Pure.

Both databases are given these words, with spaces between them, so that both find the same.
"""

import re
import unicodedata
from dataclasses import dataclass

INDEXED = 100_000  # characters of a message that are searched
LONGEST_WORD = 64  # characters; what is longer is found by its beginning
LONGEST_QUERY = 200  # characters
MOST_PHRASES = 16  # of a query
SHORTEST_BEGINNING = 3  # characters; shorter ones would be the beginnings of too many words

# Chinese and Japanese put no spaces between words: each character is one.
_CHARACTER = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+")
PHRASE = re.compile(r'"([^"]*)"|([^\s"]+)')


class _Folds(dict[int, str]):
    """What each character becomes: always one, so that places in a text stay what they are."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        parts = unicodedata.normalize("NFKD", char)
        folded = parts[0] if all(map(unicodedata.combining, parts[1:])) else char
        lower = folded.lower()
        self[code] = lower if len(lower) == 1 else folded
        return self[code]


_FOLDS = _Folds()


def fold(text: str) -> str:
    """Return `text` in lower case without accents, as long as it is in form NFC."""
    return unicodedata.normalize("NFC", text).translate(_FOLDS)


def words_of(text: str) -> list[str]:
    """Return the words of a text that can be searched for, in order."""
    return [word[:LONGEST_WORD] for word in WORD.findall(fold(text[:INDEXED]))]


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody looks for: phrases that must all be there, the last of which may be only begun."""

    phrases: tuple[tuple[str, ...], ...]
    is_begun: bool  # whether the last word may go on

    @classmethod
    def of(cls, text: str) -> "Query":
        """Read what was typed; words in quotation marks belong together, and nothing is a mistake."""
        typed = text[:LONGEST_QUERY].strip()
        found = [words_of(quoted or plain) for quoted, plain in PHRASE.findall(typed)]
        phrases = tuple(tuple(words) for words in found if words)[:MOST_PHRASES]
        is_begun = bool(phrases) and not typed.endswith('"') and len(phrases[-1][-1]) >= SHORTEST_BEGINNING
        return cls(phrases, is_begun)

    def __bool__(self) -> bool:
        return bool(self.phrases)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds the phrases in a folded text."""
        begun = self.phrases[-1] if self.is_begun else None
        return re.compile("|".join(_pattern(phrase, is_begun=phrase is begun) for phrase in self.phrases))


def _pattern(phrase: tuple[str, ...], *, is_begun: bool) -> str:
    first, last = phrase[0], phrase[-1]
    begin = "" if _stands_alone(first) else rf"(?<![^\W_{_CHARACTER}])"
    is_open = is_begun or _stands_alone(last) or len(last) == LONGEST_WORD
    end = "" if is_open else rf"(?![^\W_{_CHARACTER}])"
    return begin + r"[\W_]{0,20}".join(phrase) + end


def _stands_alone(word: str) -> bool:
    return re.fullmatch(f"[{_CHARACTER}]", word) is not None
