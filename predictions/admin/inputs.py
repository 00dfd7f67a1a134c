"""What a version takes, as a table. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictions import schema_words
from predictions.schema import Input, InputKind
from predictions.schema_words import INPUTS

LONGEST = 80  # characters of a default, or of a choice
CHOICES_TOLD = 12
ROWS_MOST = 200


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
    choices = [_choices(asked.choices)] if asked.choices else []
    return ", ".join([*choices, *schema_words.limits_of(asked)])


def _kind(asked: Input) -> str:
    kind = INPUTS[asked.kind].removeprefix("a ")
    if asked.kind == InputKind.LIST and asked.element is not None:
        return f"{kind}, each {INPUTS[asked.element.kind]}"
    return kind


def _choices(choices: tuple[str | float, ...]) -> str:
    told = ", ".join(written(choice) for choice in choices[:CHOICES_TOLD])
    more = len(choices) - CHOICES_TOLD
    return f"one of {told}" + (f" and {more} more" if more > 0 else "")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
