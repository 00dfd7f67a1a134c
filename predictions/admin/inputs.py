"""What a version takes, in words. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from predictions.schema import Input, InputKind, OutputKind

LONGEST = 80  # characters of a default, or of a choice
CHOICES_TOLD = 12
ROWS_MOST = 200

KINDS = {
    InputKind.TEXT: "text",
    InputKind.INTEGER: "whole number",
    InputKind.NUMBER: "number",
    InputKind.BOOLEAN: "yes or no",
    InputKind.CHOICE: "choice",
    InputKind.FILE: "file",
    InputKind.FILES: "files",
    InputKind.LIST: "list",
    InputKind.OBJECT: "object",
    InputKind.SECRET: "secret",
    InputKind.ANY: "anything",
}
OUTPUTS = {
    OutputKind.TEXT: "a text, in one piece",
    OutputKind.TEXT_STREAM: "a text, piece by piece",
    OutputKind.TEXTS: "several texts",
    OutputKind.FILE: "a file",
    OutputKind.FILES: "files",
    OutputKind.JSON: "JSON",
    OutputKind.UNKNOWN: "something that its schema does not tell",
}


@dataclass(frozen=True, slots=True)
class InputRow:
    """An input as the table of a model's page shows it."""

    name: str
    kind: str
    default: str
    limits: str
    description: str
    is_required: bool
    is_deprecated: bool


def rows_of(inputs: Mapping[str, Input]) -> list[InputRow]:
    """Return a row for each input, in the order of the model's author."""
    return [
        InputRow(
            name=asked.name,
            kind=_kind(asked),
            default=written(asked.default) if asked.has_default else "",
            limits=limits_of(asked),
            description=asked.description,
            is_required=asked.is_required,
            is_deprecated=asked.is_deprecated,
        )
        for asked in list(inputs.values())[:ROWS_MOST]
    ]


def written(value: Any) -> str:  # any JSON
    """Write a value in one short line."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
    return _short(" ".join(text.split())) or "empty"


def limits_of(asked: Input) -> str:
    """Say what an input takes beyond its kind: "0 to 5", "one of png, webp"; "" for anything of that kind."""
    return ", ".join(_limits(asked))


def _kind(asked: Input) -> str:
    if asked.kind == InputKind.LIST and asked.element is not None:
        return f"list, each a {KINDS[asked.element.kind]}"
    return KINDS[asked.kind]


def _limits(asked: Input) -> Iterator[str]:
    if asked.choices:
        yield _choices(asked.choices)
    if text := _span(asked.minimum, asked.maximum):
        yield text
    if asked.exclusive_minimum is not None:
        yield f"more than {asked.exclusive_minimum}"
    if asked.exclusive_maximum is not None:
        yield f"less than {asked.exclusive_maximum}"
    if asked.multiple_of is not None:
        yield f"multiples of {asked.multiple_of}"
    if text := _span(asked.min_length, asked.max_length):
        yield f"{text} characters"
    if text := _span(asked.min_items, asked.max_items):
        yield f"{text} items"


def _choices(choices: tuple[str | float, ...]) -> str:
    told = ", ".join(written(choice) for choice in choices[:CHOICES_TOLD])
    more = len(choices) - CHOICES_TOLD
    return f"one of {told}" + (f" and {more} more" if more > 0 else "")


def _span(least: float | None, most: float | None) -> str:
    match least, most:
        case None, None:
            return ""
        case _, None:
            return f"at least {least}"
        case None, _:
            return f"at most {most}"
        case _:
            return f"{least} to {most}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
