"""What a version takes and puts out, read from the OpenAPI document that Cog writes for it.

The document is untrusted JSON: anything may be missing, of another type, or refer to itself. What cannot be read
counts as not said; nothing here raises. Pure.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FILE_REFERENCE = "parley-file:"  # begins what stands for a stored file in an input until its host is asked
COMPONENTS = "#/components/schemas/"
LONGEST_DETOUR = 16  # steps from a schema to the type it means; Cog takes two, and a circle would take them all
LAST = 1_000  # the order of an input that has none; no model has so many


class OutputKind(StrEnum):
    TEXT = "text"  # one text, at the end
    TEXT_STREAM = "text_stream"  # parts of one text
    TEXTS = "texts"  # separate texts
    FILE = "file"
    FILES = "files"
    JSON = "json"
    UNKNOWN = "unknown"  # the document does not say, or there is none


class InputKind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    FILE = "file"
    FILES = "files"
    LIST = "list"
    OBJECT = "object"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    ANY = "any"


INPUT_KINDS = {
    "string": InputKind.TEXT,
    "integer": InputKind.INTEGER,
    "number": InputKind.NUMBER,
    "boolean": InputKind.BOOLEAN,
    "array": InputKind.LIST,
    "object": InputKind.OBJECT,
}
OUTPUT_KINDS = {
    "string": OutputKind.TEXT,
    "integer": OutputKind.JSON,
    "number": OutputKind.JSON,
    "boolean": OutputKind.JSON,
    "object": OutputKind.JSON,
}
IN_ONE_PIECE = frozenset({OutputKind.TEXT, OutputKind.TEXT_STREAM, OutputKind.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a version. `default` says something only where `has_default`: it may be null."""

    name: str
    kind: InputKind
    title: str
    description: str = ""
    default: Any = None  # any JSON
    has_default: bool = False
    is_required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str | float, ...] = ()
    order: float = LAST
    is_nullable: bool = False  # null may be sent; Cog before 0.16 takes it for some inputs without saying so
    is_deprecated: bool = False
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    multiple_of: float | None = None
    min_length: int | None = None  # characters
    max_length: int | None = None
    pattern: str = ""  # for people to read; never run: a regular expression from outside can take for ever
    min_items: int | None = None
    max_items: int | None = None
    element: "Input | None" = None  # what each item of a list has to be; what is within those is not looked at

    @property
    def is_secret(self) -> bool:
        """Whether nobody should read what is given."""
        return InputKind.SECRET in {self.kind, self.element.kind if self.element else self.kind}


def inputs_of(document: object) -> dict[str, Input]:
    """Return the inputs by name, in the order in which the model's author shows them."""
    schema = _component(document, "Input")
    required = {name for name in _list(schema.get("required")) if isinstance(name, str)}
    inputs = []
    for name, property_schema in _mapping(schema.get("properties")).items():
        resolved = _resolve(document, property_schema)
        element = _element(resolved, document)
        inputs.append(_input(name, resolved, document, is_required=name in required, element=element))
    inputs.sort(key=lambda each: each.order)
    return {each.name: each for each in inputs}


def output_of(document: object) -> OutputKind:
    """Say what comes out. Texts are parts of one text only if Cog says so, as Replicate's own clients read it."""
    schema = _component(document, "Output")
    if _is_file(schema):
        return OutputKind.FILE
    if _type(schema) != "array":
        return OUTPUT_KINDS.get(_type(schema), OutputKind.UNKNOWN)
    items = _resolve(document, schema.get("items"))
    if _is_file(items):
        return OutputKind.FILES
    if _type(items) != "string":
        return OutputKind.JSON
    is_one_text = (schema.get("x-cog-array-type"), schema.get("x-cog-array-display")) == ("iterator", "concatenate")
    return OutputKind.TEXT_STREAM if is_one_text else OutputKind.TEXTS


def streams(document: object) -> bool:
    """Whether a Cog server would stream it; Replicate says so in each prediction instead."""
    found = document
    for name in ("paths", "/predictions", "post"):
        found = _mapping(found).get(name)
    return _mapping(found).get("x-cog-streaming") is True


def separator_of(document: object) -> str:
    """Return what stands between the parts of an output that is a list of texts."""
    return "" if output_of(document) in IN_ONE_PIECE else "\n"


def _element(schema: dict[str, Any], document: object) -> Input | None:
    if _type(schema) != "array" or "items" not in schema:
        return None
    return _input("", _resolve(document, schema["items"]), document, is_required=True)


def _input(
    name: str, schema: dict[str, Any], document: object, *, is_required: bool, element: Input | None = None
) -> Input:
    choices = tuple(choice for choice in _list(schema.get("enum")) if isinstance(choice, str | int | float))
    order = _number(schema.get("x-order"))
    return Input(
        name=name,
        kind=InputKind.CHOICE if choices else _input_kind(schema, document),
        title=_text(schema.get("title")) or _title_of(name),
        description=_text(schema.get("description")),
        default=schema.get("default"),
        has_default="default" in schema,
        is_required=is_required,
        minimum=_number(schema.get("minimum")),
        maximum=_number(schema.get("maximum")),
        choices=choices,
        order=LAST if order is None else order,
        is_nullable=_is_nullable(schema),
        is_deprecated=schema.get("deprecated") is True,
        exclusive_minimum=_exclusive(schema, "Minimum"),
        exclusive_maximum=_exclusive(schema, "Maximum"),
        multiple_of=_positive(schema.get("multipleOf")),
        min_length=_count(schema.get("minLength")),
        max_length=_count(schema.get("maxLength")),
        pattern=_text(schema.get("pattern")),
        min_items=_count(schema.get("minItems")),
        max_items=_count(schema.get("maxItems")),
        element=element,
    )


def _is_nullable(schema: dict[str, Any]) -> bool:
    members = [member for keyword in ("anyOf", "oneOf") for member in _list(schema.get(keyword))]
    said = [_mapping(member).get("type") for member in members]
    return schema.get("nullable") is True or "null" in said or "null" in _list(schema.get("type"))


def _exclusive(schema: dict[str, Any], end: str) -> float | None:
    """Read the bound that a value must not reach; up to OpenAPI 3.0 it is said by `true` beside the other one."""
    said = schema.get(f"exclusive{end}")
    return _number(schema.get(end.lower()) if said is True else said)


def _input_kind(schema: dict[str, Any], document: object) -> InputKind:
    if schema.get("format") == "password" or schema.get("x-cog-secret") is True:
        return InputKind.SECRET
    if _is_file(schema):
        return InputKind.FILE
    if _type(schema) == "array" and _is_file(_resolve(document, schema.get("items"))):
        return InputKind.FILES
    return INPUT_KINDS.get(_type(schema), InputKind.ANY)


def _component(document: object, name: str) -> dict[str, Any]:
    return _resolve(document, {"$ref": COMPONENTS + name})


def _resolve(document: object, schema: object) -> dict[str, Any]:
    """Return a schema with all that it refers to; where both say something, the nearer one counts.

    `{"allOf": [{"$ref": "#/components/schemas/mood"}], "default": "glad"}` is how Cog writes a choice.
    """
    components = _mapping(_mapping(_mapping(document).get("components")).get("schemas"))
    resolved: dict[str, Any] = {}
    for _ in range(LONGEST_DETOUR):
        resolved = {**_mapping(schema), **resolved}
        match schema:
            case {"$ref": str(reference)}:
                target = _mapping(components.get(reference.removeprefix(COMPONENTS)))
                # These describe the type, not what refers to it: each of Cog's choices is "An enumeration."
                schema = {key: value for key, value in target.items() if key not in {"title", "description"}}
            case dict():
                schema = _only_member(schema)
            case _:
                break
    return resolved


def _only_member(schema: dict[str, Any]) -> object:
    """Return what a composed schema comes down to, if it is one thing: an optional text is "any of text and null"."""
    for keyword in ("allOf", "anyOf", "oneOf"):
        members = [each for each in _list(schema.get(keyword)) if _mapping(each).get("type") != "null"]
        if len(members) == 1:
            return members[0]
    return None


def _is_file(schema: dict[str, Any]) -> bool:
    return schema.get("format") == "uri"


def _type(schema: dict[str, Any]) -> str:
    """Return the type's name, "" if there is none or more than one; null beside it does not count."""
    named = schema.get("type")
    names = [name for name in (named if isinstance(named, list) else [named]) if name != "null"]
    return _text(names[0]) if len(names) == 1 else ""


def _title_of(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None
