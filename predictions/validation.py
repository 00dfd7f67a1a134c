"""Whether a version takes what is to be sent, and what people mean by what they type into its form. Pure.

A problem is what every host would refuse. Replicate, and Cog since 0.17, go by the document to the letter. Cog before
that lets pydantic read "5" as a number, 1 as true and 1.9 as the whole number 1. No document says who will read it,
so what one of them takes is no problem here. Patterns are left to the host, as `Input` says.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from predictions.schema import FILE_REFERENCE, Input, InputKind

TEXTS = {InputKind.TEXT, InputKind.SECRET}
TRUE = {"true", "t", "yes", "y", "on", "1"}  # as pydantic reads them
FALSE = {"false", "f", "no", "n", "off", "0"}
# Cog since 0.17 also takes a path, which would open that file in the model's own container: not from here.
FILE = re.compile(rf"[\x00-\x20]*(?:https?:|data:|{FILE_REFERENCE})", re.IGNORECASE)
TOLERANCE = Fraction(1, 10**9)  # relative; 0.3 is no multiple of 0.1 in binary, yet means to be
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?")
GAP = re.compile(r"(?<=[0-9])[\s_'’](?=[0-9]{3}(?![0-9]))")  # 1 000 000, 1_000, 1'000
LIST_IN_JSON = re.compile(r"\[\s*(?:[\]\[{\"0-9-]|true\b|false\b|null\b)")  # [INST] is a text
NULL_CHARACTER = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # within JSON
EXACT = 1e15  # floats below it are written out digit by digit
MOST_CHOICES = 12  # that a sentence names
LONGEST_NUMBER = 100  # digits
LONGEST_CHOICE = 40  # characters, in a sentence

MISSING = "must be given"
NULL = "must not be null: leave it out, and its default holds"
NO_TEXT = "must be a text"
NO_NUMBER = "must be a number"
NOT_WHOLE = "must be a whole number"
NO_BOOLEAN = "must be true or false"
NO_FILE = "must be a file, or an address that begins with http:// or https://"
NO_LIST = "must be a list"
NO_OBJECT = "must be an object with names and values"
NO_JSON_LIST = 'must be written one per line, or as a list in JSON, such as ["a", "b"]'
NO_JSON_OBJECT = 'must be written in JSON, such as {"name": "value"}'
TOO_DEEP = "must not hold so many lists or objects within each other"
NOT_STORABLE = "must not contain null characters or halves of characters"


class NotUnderstood(ValueError):
    """A text that is no value of its kind; the message is a sentence that stands beside the field."""


def problems(inputs: Mapping[str, Input], given: Mapping[str, Any]) -> dict[str, str]:
    """Say by name what every host would refuse, each in a sentence that stands beside the field."""
    faults = {
        name: _fault(asked, given[name]) if name in given else MISSING if asked.is_required else ""
        for name, asked in inputs.items()
    }
    return {name: _sentence(fault) for name, fault in faults.items() if fault}


def unknown(inputs: Mapping[str, Input], given: Mapping[str, Any]) -> list[str]:
    """Return the names that the version does not know; nobody can tell where its document says nothing.

    They are no problem: hosts leave them out without a word. Only the first releases of Cog from 0.17 on refused them.
    """
    return [name for name in given if name not in inputs] if inputs else []


def read(asked: Input, text: str) -> Any:  # any JSON
    """Return the value that somebody means by a text that is not empty; raise NotUnderstood.

    Numbers are read in the usual ways of writing them, lists one item per line or in JSON, objects in JSON. Whether
    the version takes the value is for `problems` to say.
    """
    try:
        value = _value(asked, text.replace("\r\n", "\n"))
        _check_storable(value)
    except NotUnderstood as fault:
        raise NotUnderstood(_sentence(str(fault))) from fault
    return value


def read_all(inputs: Mapping[str, Input], texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a form's filled-in fields, and by name what was not understood.

    An empty field is not given, and the version's own default holds. So does that of a box that is not ticked, of which
    a browser sends nothing: a form has to let people choose between true, false and neither.
    """
    values: dict[str, Any] = {}
    not_understood = {}
    for name, asked in inputs.items():
        text = texts.get(name, "")
        if text if asked.kind in TEXTS else text.strip():
            try:
                values[name] = read(asked, text)
            except NotUnderstood as sentence:
                not_understood[name] = str(sentence)
    return values, not_understood


def _sentence(fault: str) -> str:
    return f"{fault[:1].upper()}{fault[1:]}."


# Values


def _fault(asked: Input, value: object) -> str:
    """Say what is wrong with a value, in words that may follow “item 3”; "" if nothing is."""
    return _null_fault(asked) if value is None else _fault_of_kind(asked, value)


def _null_fault(asked: Input) -> str:
    """Old Cogs take null where the default is null, of which the document shows neither."""
    if asked.is_nullable:
        return ""
    if asked.is_required:
        return MISSING
    return NULL if asked.default is not None else ""


def _fault_of_kind(asked: Input, value: object) -> str:
    match asked.kind:
        case InputKind.CHOICE:
            return "" if _is_choice(asked, value) else _choices_fault(asked)
        case InputKind.TEXT | InputKind.SECRET:
            return _text_fault(asked, value)
        case InputKind.INTEGER:
            whole = _as_integer(value)
            return NOT_WHOLE if whole is None else _number_fault(asked, whole)
        case InputKind.NUMBER:
            number = _as_number(value)
            return NO_NUMBER if number is None else _number_fault(asked, number)
        case InputKind.BOOLEAN:
            return "" if _is_boolean(value) else NO_BOOLEAN
        case InputKind.FILE:
            return "" if isinstance(value, str) and FILE.match(value) else NO_FILE
        case InputKind.LIST | InputKind.FILES:
            return _list_fault(asked, value)
        case InputKind.OBJECT:
            return "" if isinstance(value, dict) else NO_OBJECT
        case InputKind.ANY:
            return ""


def _is_choice(asked: Input, value: object) -> bool:
    meant = {value} if isinstance(value, str | int | float) else set()
    return not meant.isdisjoint(asked.choices) or (
        any(not isinstance(choice, str) for choice in asked.choices)
        and not {_as_number(value), _as_integer(value)}.isdisjoint(asked.choices)
    )


def _choices_fault(asked: Input) -> str:
    if len(asked.choices) > MOST_CHOICES:
        return f"must be one of the {len(asked.choices)} choices"
    *others, last = [_quoted(choice) for choice in asked.choices]
    return f"must be one of {', '.join(others)} or {last}" if others else f"must be {last}"


def _quoted(choice: str | float) -> str:
    if not isinstance(choice, str):
        return number_in_words(choice)
    return f"“{choice if len(choice) <= LONGEST_CHOICE else choice[: LONGEST_CHOICE - 1] + '…'}”"


def _text_fault(asked: Input, value: object) -> str:
    if not isinstance(value, str) and _as_number(value) is None:
        return NO_TEXT
    return _count_fault(len(str(value)), asked.min_length, asked.max_length, "character")


def _list_fault(asked: Input, value: object) -> str:
    if not isinstance(value, list):
        return NO_LIST
    if asked.element:
        for position, item in enumerate(value, 1):
            if fault := _fault(asked.element, item):
                return f"item {position} {fault}"
    return _count_fault(len(value), asked.min_items, asked.max_items, "item")


def _count_fault(count: int, fewest: int | None, most: int | None, noun: str) -> str:
    if fewest is not None and count < fewest:
        return f"must have at least {fewest} {noun}{'' if fewest == 1 else 's'}"
    if most is not None and count > most:
        return f"must have at most {most} {noun}{'' if most == 1 else 's'}"
    return ""


def _number_fault(asked: Input, number: float) -> str:
    if not _is_within(asked, number):
        return f"must be {_range(asked)}"
    if asked.multiple_of and _is_finite(number):
        quotient = Fraction(number) / Fraction(asked.multiple_of)
        if abs(quotient - round(quotient)) > TOLERANCE + TOLERANCE * abs(quotient):
            return f"must be a multiple of {number_in_words(asked.multiple_of)}"
    return ""


def _is_within(asked: Input, number: float) -> bool:
    return (
        (asked.minimum is None or number >= asked.minimum)
        and (asked.maximum is None or number <= asked.maximum)
        and (asked.exclusive_minimum is None or number > asked.exclusive_minimum)
        and (asked.exclusive_maximum is None or number < asked.exclusive_maximum)
    )


def _range(asked: Input) -> str:
    least, most = asked.minimum, asked.maximum
    above, below = asked.exclusive_minimum, asked.exclusive_maximum
    if least is not None and most is not None and above is None and below is None:
        return f"between {number_in_words(least)} and {number_in_words(most)}"
    ends = []
    if above is not None and (least is None or above >= least):
        ends.append(f"more than {number_in_words(above)}")
    elif least is not None:
        ends.append(f"at least {number_in_words(least)}")
    if below is not None and (most is None or below <= most):
        ends.append(f"less than {number_in_words(below)}")
    elif most is not None:
        ends.append(f"at most {number_in_words(most)}")
    return " and ".join(ends)


def number_in_words(number: float) -> str:
    """Write a number as people do: 5 for 5.0."""
    if isinstance(number, bool):
        return str(number).lower()
    is_whole = isinstance(number, float) and number.is_integer() and abs(number) < EXACT
    written = str(int(number)) if is_whole else str(number)
    return written if len(written) <= LONGEST_NUMBER else f"{written[:LONGEST_NUMBER]}…"


def _is_finite(number: float) -> bool:
    return not isinstance(number, float) or math.isfinite(number)  # isfinite() cannot take 10**400


# What pydantic makes of values of another type


def _as_number(value: object) -> float | None:
    """Return what float() would, yet whole numbers exactly; None for what is no number."""
    match value:
        case float():
            return value if math.isfinite(value) else None  # JSON has no other ones
        case int():
            return int(value)
        case str():
            return _from_text(value)
        case _:
            return None


def _from_text(text: str) -> float | None:
    for type_ in (int, float):
        try:
            return type_(text)
        except ValueError:
            continue
    return None


def _as_integer(value: object) -> int | None:
    """Return what the most lenient Cog makes of it: of numbers it cuts fractions off, and "1.0" is 1, but not "1e3"."""
    number = _as_number(value)
    if number is None or not _is_finite(number):
        return None
    is_fraction = isinstance(value, str) and (number != int(number) or "e" in value.lower())
    return None if is_fraction else int(number)


def _is_boolean(value: object) -> bool:
    if isinstance(value, str):
        return value.lower() in TRUE | FALSE
    return isinstance(value, int | float) and value in {0, 1}


# Texts


def _value(asked: Input, text: str) -> Any:
    match asked.kind:
        case InputKind.TEXT | InputKind.SECRET:
            return text
        case InputKind.FILE:
            return text.strip()
        case InputKind.CHOICE:
            return _choice_in(asked, text)
        case InputKind.INTEGER:
            return _integer_in(text)
        case InputKind.NUMBER:
            return _number_in(text)
        case InputKind.BOOLEAN:
            return _boolean_in(text)
        case InputKind.LIST | InputKind.FILES:
            return _list_in(asked, text.strip())
        case InputKind.OBJECT:
            return _json_in(text, dict, NO_JSON_OBJECT)
        case InputKind.ANY:
            return _anything_in(text)


def _choice_in(asked: Input, text: str) -> str | float:
    for meant in _meanings(text):
        if meant in asked.choices:
            return asked.choices[asked.choices.index(meant)]
    raise NotUnderstood(_choices_fault(asked))


def _meanings(text: str) -> Iterator[str | float]:
    yield text
    yield text.strip()
    for understood in (_number_in, _boolean_in):
        with contextlib.suppress(NotUnderstood):
            yield understood(text)


def _number_in(text: str) -> float:
    """Read a number as people write it: 1,000 is a thousand, 0,5 a half."""
    plain = GAP.sub("", text.strip()).replace("−", "-")
    if GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    elif plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    number = _from_text(plain) if NUMBER.fullmatch(plain) else None
    if number is None or not _is_finite(number):
        raise NotUnderstood(NO_NUMBER)
    return number


def _integer_in(text: str) -> int:
    try:
        number = _number_in(text)
    except NotUnderstood as fault:
        raise NotUnderstood(NOT_WHOLE) from fault
    if number != int(number):
        raise NotUnderstood(NOT_WHOLE)
    return int(number)


def _boolean_in(text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise NotUnderstood(NO_BOOLEAN)
    return word in TRUE


def _list_in(asked: Input, text: str) -> list[Any]:
    if LIST_IN_JSON.match(text):
        items: list[Any] = _json_in(text, list, NO_JSON_LIST)
        return items
    lines = [line.strip() for line in text.split("\n")]
    return [_item_in(asked, line, position) for position, line in enumerate(filter(None, lines), 1)]


def _item_in(asked: Input, line: str, position: int) -> Any:
    try:
        return _value(asked.element, line) if asked.element else _anything_in(line)
    except NotUnderstood as fault:
        raise NotUnderstood(f"item {position} {fault}") from fault


def _anything_in(text: str) -> Any:
    """Read JSON; what is none is a text."""
    try:
        return _json_in(text, object, NO_TEXT)
    except NotUnderstood:
        return text


def _json_in(text: str, kind: type, fault: str) -> Any:
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except ValueError as error:
        raise NotUnderstood(fault) from error
    except RecursionError as error:
        raise NotUnderstood(TOO_DEEP) from error
    if not isinstance(value, kind):
        raise NotUnderstood(fault)
    return value


def _finite(number: str) -> float:
    """Refuse what Python reads, though it is no JSON: NaN, Infinity, and 1e999, which it takes for that."""
    if not math.isfinite(float(number)):
        raise ValueError(number)
    return float(number)


def _check_storable(value: object) -> None:
    """Refuse what PostgreSQL cannot store and no host could be sent."""
    try:
        written = json.dumps(value, ensure_ascii=False)
        written.encode()
    except RecursionError as error:
        raise NotUnderstood(TOO_DEEP) from error
    except UnicodeEncodeError as error:
        raise NotUnderstood(NOT_STORABLE) from error
    if NULL_CHARACTER.search(written):
        raise NotUnderstood(NOT_STORABLE)
