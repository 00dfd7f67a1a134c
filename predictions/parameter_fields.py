"""What people may set beside a question, and as what each input is shown: in the composer, and in the admin. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictions import validation
from predictions.attachments import takes_files
from predictions.families import Family
from predictions.schema import Input, InputKind
from predictions.schema_words import limits_of
from predictions.validation import number_in_words

FIELDS_MOST = 60  # inputs with a field of their own; no known model has half as many
CHOICES_MOST = 500  # that are offered in a list
LONGEST = 100_000  # characters of one value
FILLED_BY_CHAT = ("prompt", "messages", "system_prompt")  # roles of inputs
MANY_LINES = {InputKind.TEXT, InputKind.LIST, InputKind.FILES, InputKind.OBJECT, InputKind.ANY}
NUMBERS = {InputKind.INTEGER, InputKind.NUMBER}
STOPS = 100  # that a slider has at least
WIDEST = 100_000  # stops; more cannot be aimed at
LARGEST, NARROWEST = 1e12, 1e-9  # numbers that a slider has at its ends, and between two of them


def with_fields(inputs: Mapping[str, Input], family: Family) -> dict[str, Input]:
    """Return the inputs that a form shows: not those that the chat fills in."""
    filled = {getattr(family, role) for role in FILLED_BY_CHAT}
    shown = [asked for name, asked in inputs.items() if name not in filled]
    return {asked.name: asked for asked in shown[:FIELDS_MOST]}


def parameters_of(inputs: Mapping[str, Input], family: Family) -> dict[str, Input]:
    """Return the inputs that anybody may set with a question: no files, which are picked, and no secrets."""
    shown = with_fields({name: asked for name, asked in inputs.items() if not takes_files(asked)}, family)
    return {name: asked for name, asked in shown.items() if not asked.is_secret}


def text_of(asked: Input, value: object) -> str:
    """Write a value as its field shows it; "" if the field could not say the same."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        understood = validation.read(asked, text)
    except (validation.NotUnderstood, ValueError, RecursionError):
        return ""
    return text if understood == value and type(understood) is type(value) else ""


def choice_text(choice: object) -> str:
    return choice if isinstance(choice, str) else json.dumps(choice)


@dataclass(frozen=True, slots=True)
class Control:
    """One input as the composer’s panel shows it; `standing` is what holds as long as nothing is set."""

    asked: Input
    widget: str  # "switch", "choice", "seed", "number", "lines"
    standing: str
    help: str
    minimum: str = ""
    maximum: str = ""
    step: str = ""  # of its slider; "" means that it has none

    @property
    def choices(self) -> list[str]:
        return [choice_text(choice) for choice in self.asked.choices]


def controls_for(inputs: Mapping[str, Input], family: Family, default_input: Mapping[str, Any]) -> list[Control]:
    """Return a control for each parameter, in the order of the model’s author."""
    return [_control(asked, family, default_input) for asked in parameters_of(inputs, family).values()]


def _control(asked: Input, family: Family, default_input: Mapping[str, Any]) -> Control:
    standing = text_of(asked, default_input.get(asked.name, asked.default))
    help_ = " ".join(filter(None, [asked.description.strip()[:500], _limits(asked)]))
    if asked.kind in NUMBERS:
        is_seed = asked.name in {family.seed, "seed"}
        ends = {"minimum": _end(asked.minimum), "maximum": _end(asked.maximum)}
        step = "" if is_seed else _step(asked)
        return Control(asked, "seed" if is_seed else "number", standing, help_, **ends, step=step)
    return Control(asked, _widget(asked, standing), standing, help_)


def _widget(asked: Input, standing: str) -> str:
    if asked.kind == InputKind.BOOLEAN and standing:
        return "switch"
    if asked.kind == InputKind.CHOICE and len(asked.choices) <= CHOICES_MOST:
        return "choice"
    return "yes-no" if asked.kind == InputKind.BOOLEAN else "lines"


def _limits(asked: Input) -> str:
    limits = ", ".join(limits_of(asked))
    return f"Takes {limits}." if limits else ""


def _end(bound: float | None) -> str:
    return "" if bound is None else number_in_words(bound)


def _step(asked: Input) -> str:
    """Return how far apart the stops of a slider are; "" where both ends are not known, or too far apart."""
    least, most = asked.minimum, asked.maximum
    if least is None or most is None or max(abs(least), abs(most)) > LARGEST:
        return ""
    width = most - least
    if width < NARROWEST:
        return ""
    usual: float = 10 ** math.floor(math.log10(width / STOPS))
    step = asked.multiple_of or (1 if asked.kind == InputKind.INTEGER else usual)
    return _plain(step) if NARROWEST <= step <= width and width / step <= WIDEST else ""


def _plain(number: float) -> str:
    return f"{number:.10f}".rstrip("0").rstrip(".")
