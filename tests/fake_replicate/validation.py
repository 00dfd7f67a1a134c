"""What is wrong with an input, by its version's schema; in the words of Go's gojsonschema, which the reports show."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .replies import Flaw

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def input_flaws(document: Mapping[str, Any], given: Mapping[str, Any]) -> list[Flaw]:
    """Return what is wrong with the input; keys that the schema does not know are ignored, as Cog does."""
    schemas = document.get("components", {}).get("schemas", {})
    described = schemas.get("Input", {})
    known = described.get("properties", {})
    flaws = [
        Flaw("required", "input", f"{name} is required") for name in described.get("required", ()) if name not in given
    ]
    for name in given.keys() & known.keys():
        flaws += _flaws_of(f"input.{name}", _resolve(known[name], schemas), given[name])
    return sorted(flaws, key=lambda flaw: flaw.field)


def _resolve(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with what it refers to: an enum is `allOf` with one `$ref`."""
    resolved = dict(schema)
    for part in schema.get("allOf", ()):
        resolved |= schemas[part["$ref"].rpartition("/")[2]]
    return resolved


def _flaws_of(field: str, schema: Mapping[str, Any], value: Any) -> Iterator[Flaw]:
    expected = schema.get("type")
    if value is None and schema.get("nullable"):
        return
    if expected and not _is_a(expected, value):
        given = NAMES.get(type(value), "null")
        yield Flaw("invalid_type", field, f"Invalid type. Expected: {expected}, given: {given}")
        return
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(json.dumps(choice) for choice in schema["enum"])
        yield Flaw("enum", field, f"{field} must be one of the following: {choices}")
    if "minimum" in schema and value < schema["minimum"]:
        yield Flaw("number_gte", field, f"Must be greater than or equal to {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        yield Flaw("number_lte", field, f"Must be less than or equal to {schema['maximum']}")
    if schema.get("format") == "uri" and not _is_address(value):
        yield Flaw("format", field, "Does not match format 'uri'")


def _is_a(expected: str, value: Any) -> bool:
    # To JSON, true is not a number, and 1.0 is an integer.
    if isinstance(value, bool):
        return expected == "boolean"
    if expected == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[expected])


def _is_address(value: str) -> bool:
    try:
        return urlsplit(value).scheme in ("http", "https", "data")
    except ValueError:
        return False
