"""What a version takes and puts out, in words. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from predictions.schema import Input, InputKind, OutputKind
from predictions.validation import number_in_words

INPUTS = {
    InputKind.TEXT: "a text",
    InputKind.INTEGER: "a whole number",
    InputKind.NUMBER: "a number",
    InputKind.BOOLEAN: "yes or no",
    InputKind.CHOICE: "a choice",
    InputKind.FILE: "a file",
    InputKind.FILES: "a list of files",
    InputKind.LIST: "a list",
    InputKind.OBJECT: "a set of named values",
    InputKind.SECRET: "a secret",
    InputKind.ANY: "anything",
}
OUTPUTS = {
    OutputKind.TEXT: "one text at the end",
    OutputKind.TEXT_STREAM: "one text in parts",
    OutputKind.TEXTS: "separate texts",
    OutputKind.FILE: "a file",
    OutputKind.FILES: "files",
    OutputKind.JSON: "JSON",
    OutputKind.UNKNOWN: "not described",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How small and how large something may be; each end with 1 or -1 where the end itself is out, else 0."""

    lowest: tuple[float, int] = (-inf, 0)
    highest: tuple[float, int] = (inf, 0)
    noun: str = ""  # what is counted

    @classmethod
    def of_value(cls, asked: Input) -> "Limits":
        lowest = [(asked.minimum, 0), (asked.exclusive_minimum, 1)]
        highest = [(asked.maximum, 0), (asked.exclusive_maximum, -1)]
        return cls(
            max(((bound, out) for bound, out in lowest if bound is not None), default=(-inf, 0)),
            min(((bound, out) for bound, out in highest if bound is not None), default=(inf, 0)),
        )

    @classmethod
    def of_length(cls, asked: Input) -> "Limits":
        return cls._of_count(asked.min_length, asked.max_length, "character")

    @classmethod
    def of_items(cls, asked: Input) -> "Limits":
        return cls._of_count(asked.min_items, asked.max_items, "item")

    @classmethod
    def _of_count(cls, fewest: int | None, most: int | None, noun: str) -> "Limits":
        return cls((fewest or 0, 0), (inf if most is None else most, 0), noun)

    def is_narrower_than(self, other: "Limits") -> bool:
        return self.lowest > other.lowest or self.highest < other.highest

    @property
    def is_low(self) -> bool:
        """Whether something can be too little."""
        return self.lowest > (0 if self.noun else -inf, 0)

    @property
    def is_high(self) -> bool:
        """Whether something can be too much."""
        return self.highest < (inf, 0)

    def __str__(self) -> str:
        """`0 to 5`, `at least 1 character`, `more than 0 and at most 1`, `any number`."""
        (lowest, above), (highest, below) = self.lowest, self.highest
        nouns = f" {self.noun}s" if self.noun else ""
        if self.is_low and self.is_high and not above and not below:
            return f"{number_in_words(lowest)} to {number_in_words(highest)}{nouns}"
        ends = [f"{'more than' if above else 'at least'} {number_in_words(lowest)}"] if self.is_low else []
        ends += [f"{'less than' if below else 'at most'} {number_in_words(highest)}"] if self.is_high else []
        if not ends:
            return f"any number of{nouns}" if nouns else "any number"
        is_one = ends in (["at least 1"], ["at most 1"])
        return " and ".join(ends) + (nouns.removesuffix("s") if is_one else nouns)


def limits_of(asked: Input) -> Iterator[str]:
    """Yield what holds for an input beside its kind and its choices: `0 to 5`, `a multiple of 2`."""
    for limits in (Limits.of_value(asked), Limits.of_length(asked), Limits.of_items(asked)):
        if limits.is_low or limits.is_high:
            yield str(limits)
    if asked.multiple_of:
        yield step_of(asked)


def step_of(asked: Input) -> str:
    return f"a multiple of {number_in_words(asked.multiple_of)}" if asked.multiple_of else "any number"
