"""What is wrong with an input before it is sent, as real Cogs judge it, and what people mean by what they type."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, SchemaError

from predictions.schema import Input, inputs_of
from predictions.validation import NotUnderstood, problems, read, read_all, unknown
from tests.cog import CogServer, start_cog_server

ROOT = Path(__file__).parent.parent
RECORDINGS = json.loads((ROOT / "tests/data/recordings/exchanges.json").read_text())
VERDICTS = json.loads((ROOT / "tests/data/schemas/cog-verdicts.json").read_text())
VALUES = [value for values in VERDICTS["0.16.12"]["verdicts"]["text"].values() for value in values]
REAL = {
    name: json.loads((ROOT / path).read_text())
    for name, path in {
        "llama-2-70b-chat": "tests/data/schemas/replicate-llama-2-70b-chat.json",
        "sdxl": "tests/data/schemas/replicate-sdxl.json",
        "cog-0.9.26": "tests/data/schemas/cog-0.9.26.json",
        "cog-0.16.12": "tests/data/schemas/cog-0.16.12.json",
        "smollm2": "models/smollm2/.cog/openapi_schema.json",
        "summary": "models/summary/.cog/openapi_schema.json",
    }.items()
}
REFERENCE = "parley-file:6f0ad9a8-9a3b-4b3e-9a5e-0b1c2d3e4f50"
TEXT = {"type": "string"}
URI = {"type": "string", "format": "uri"}
SHARE = {"type": "number", "minimum": 0, "maximum": 2}
CHOICE = {"type": "string", "enum": ["glad", "sad", "calm"]}
SIZE = {"type": "integer", "enum": [512, 768]}
NUMBERS = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2}
FILES = {"type": "array", "items": URI}
OBJECTS = {"type": "array", "items": {"type": "object"}}
ADDRESS = "Must be a file, or an address that begins with http:// or https://."
NO_LIST_IN_JSON = 'Must be written one per line, or as a list in JSON, such as ["a", "b"].'
NO_OBJECT_IN_JSON = 'Must be written in JSON, such as {"name": "value"}.'

REFUSED = [
    (TEXT, [], "Must be a text."),
    (TEXT, {"a": 1}, "Must be a text."),
    ({**TEXT, "minLength": 2}, "a", "Must have at least 2 characters."),
    ({**TEXT, "minLength": 1}, "", "Must have at least 1 character."),
    ({**TEXT, "maxLength": 4}, "hello", "Must have at most 4 characters."),
    ({**TEXT, "default": "x"}, None, "Must not be null: leave it out, and its default holds."),
    ({"type": "integer"}, "many", "Must be a whole number."),
    ({"type": "integer"}, "1.5", "Must be a whole number."),
    ({"type": "integer"}, [1], "Must be a whole number."),
    ({"type": "integer", "minimum": 1}, 0, "Must be at least 1."),
    ({"type": "integer", "maximum": 50.0}, 51, "Must be at most 50."),
    ({"type": "integer", "minimum": 1, "maximum": 4}, 9.0, "Must be between 1 and 4."),
    ({"type": "number"}, "warm", "Must be a number."),
    ({"type": "number"}, {}, "Must be a number."),
    (SHARE, 2.5, "Must be between 0 and 2."),
    (SHARE, -0.1, "Must be between 0 and 2."),
    ({"type": "number", "maximum": 0.001}, 1, "Must be at most 0.001."),
    ({"type": "number", "exclusiveMinimum": 0}, 0, "Must be more than 0."),
    ({"type": "number", "exclusiveMaximum": 1}, 1.0, "Must be less than 1."),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, 2, "Must be more than 0 and at most 1."),
    ({"type": "integer", "multipleOf": 8}, 500, "Must be a multiple of 8."),
    ({"type": "boolean"}, "maybe", "Must be true or false."),
    ({"type": "boolean"}, 2, "Must be true or false."),
    (CHOICE, "angry", "Must be one of “glad”, “sad” or “calm”."),
    (CHOICE, 1, "Must be one of “glad”, “sad” or “calm”."),
    (SIZE, 500, "Must be one of 512 or 768."),
    ({**TEXT, "enum": ["glad"]}, "sad", "Must be “glad”."),
    ({**TEXT, "enum": ["x" * 50]}, "sad", f"Must be “{'x' * 39}…”."),
    ({**TEXT, "enum": [str(number) for number in range(50)]}, "x", "Must be one of the 50 choices."),
    (URI, 5, ADDRESS),
    (FILES, "https://example.com/a.png", "Must be a list."),
    (FILES, ["https://example.com/a.png", 5], ADDRESS.replace("Must", "Item 2 must")),
    (NUMBERS, [], "Must have at least 1 item."),
    (NUMBERS, [1, 2, 3], "Must have at most 2 items."),
    (NUMBERS, [1, 0], "Item 2 must be at least 1."),
    (NUMBERS, [None], "Item 1 must be given."),
    ({"type": "array", "items": CHOICE}, ["angry"], "Item 1 must be one of “glad”, “sad” or “calm”."),
    (OBJECTS, ["user"], "Item 1 must be an object with names and values."),
    ({"type": "object"}, "user", "Must be an object with names and values."),
]
TAKEN = [
    (TEXT, "hello"),
    ({**TEXT, "maxLength": 4}, "😀😀😀😀"),
    ({"anyOf": [TEXT, {"type": "null"}], "default": "x"}, None),
    ({"type": "integer"}, 7),
    ({"type": "integer"}, 7.0),
    ({"type": "integer"}, 2**70),
    ({"type": "number", "multipleOf": 2}, 2e20),
    ({"type": "number"}, 7),
    (SHARE, 2),
    ({"type": "number", "multipleOf": 0.5}, 1.5),
    ({"type": "boolean"}, False),
    (CHOICE, "sad"),
    (SIZE, 512),
    (SIZE, 512.0),
    (URI, "https://example.com/a.png"),
    (URI, "data:text/plain;base64,YQ=="),
    (URI, REFERENCE),
    (FILES, [REFERENCE, "HTTP://example.com/a.png"]),
    (NUMBERS, [1, 2]),
    ({"type": "array"}, [1, "a", None, {}]),
    (OBJECTS, [{"role": "user"}]),
    ({"type": "object"}, {}),
    ({"anyOf": [TEXT, {"type": "integer"}]}, 5),
    ({"title": "Extra"}, [{}]),
]

json_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, "1e400"])
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
bounds = (
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
)
pieces = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "colour"]),
        "format": st.sampled_from(["uri", "password"]),
        "enum": st.lists(json_scalars, max_size=4),
        "items": st.sampled_from([TEXT, URI, SHARE, CHOICE, NUMBERS, True, {}]),
        **dict.fromkeys((*bounds, "minItems", "maxItems", "nullable", "pattern"), json_scalars),
    },
)


def document(properties: dict[str, Any], **schemas: Any) -> dict[str, Any]:
    return {"components": {"schemas": {"Input": {"type": "object", "properties": properties}, **schemas}}}


def input_of(piece: Any) -> Input:
    return inputs_of(document({"mood": piece}))["mood"]


def problem(piece: Any, value: Any) -> str:
    return problems({"mood": input_of(piece)}, {"mood": value}).get("mood", "")


# What hosts take


@pytest.mark.parametrize(("piece", "value", "sentence"), REFUSED)
def test_what_no_host_takes_is_told_in_a_sentence(piece: Any, value: Any, sentence: str) -> None:
    assert problem(piece, value) == sentence


@pytest.mark.parametrize(("piece", "value"), TAKEN)
def test_what_every_host_takes_is_no_problem(piece: Any, value: Any) -> None:
    assert problem(piece, value) == ""


@pytest.mark.parametrize("value", ["ftp://example.com/a.png", "/etc/hostname", "a.png", "javascript:alert(1)", ""])
def test_a_file_is_neither_another_address_nor_a_path_within_the_model(value: str) -> None:
    assert problem(URI, value) == ADDRESS


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean"])
def test_what_json_cannot_say_is_a_problem(kind: str, value: float) -> None:
    assert problem({"type": kind}, value)


def test_what_is_required_must_be_given() -> None:
    read_from = document({"prompt": TEXT, "top_p": SHARE})
    read_from["components"]["schemas"]["Input"]["required"] = ["prompt"]
    inputs = inputs_of(read_from)

    assert problems(inputs, {}) == {"prompt": "Must be given."}
    assert problems(inputs, {"prompt": None}) == {"prompt": "Must be given."}
    assert problems(inputs, {"prompt": ""}) == {}


def test_each_input_is_told_its_own_problem_in_the_order_of_the_form() -> None:
    inputs = inputs_of(document({"b": {**SHARE, "x-order": 1}, "a": {**CHOICE, "x-order": 0}, "c": TEXT}))

    assert list(problems(inputs, {"c": "fine", "b": 3, "a": "angry"}).items()) == [
        ("a", "Must be one of “glad”, “sad” or “calm”."),
        ("b", "Must be between 0 and 2."),
    ]


def test_an_input_that_a_version_does_not_know_is_no_problem_yet_can_be_told() -> None:
    inputs = inputs_of(document({"prompt": TEXT}))

    assert problems(inputs, {"prompt": "Hi", "top_k": "x"}) == {}
    assert unknown(inputs, {"prompt": "Hi", "top_k": "x"}) == ["top_k"]


def test_without_a_document_nothing_is_unknown_or_wrong() -> None:
    assert problems({}, {"prompt": "Hi"}) == {}
    assert unknown({}, {"prompt": "Hi"}) == []


@pytest.mark.parametrize("value", [0.3, 0.7, 1e22, 3])
def test_a_multiple_of_a_tenth_may_be_one_that_binary_fractions_miss(value: float) -> None:
    assert problem({"type": "number", "multipleOf": 0.1}, value) == ""
    assert problem({"type": "number", "multipleOf": 0.1}, 0.25) == "Must be a multiple of 0.1."


def test_a_pattern_is_left_to_the_host_however_long_it_would_take() -> None:
    assert problem({**TEXT, "pattern": "^(a+)+$"}, "a" * 1_000 + "!") == ""


# Real Cogs


@pytest.mark.parametrize("version", VERDICTS)
def test_what_an_old_cog_took_is_no_problem(version: str) -> None:
    inputs = inputs_of(VERDICTS[version])
    verdicts = [
        (name, value, problems(inputs, {name: value}))
        for name, verdict in VERDICTS[version]["verdicts"].items()
        for value in verdict["taken"]
    ]

    assert [verdict for verdict in verdicts if verdict[2]] == []
    assert len(verdicts) > 200


def test_a_problem_is_what_no_cog_takes(cog: CogServer) -> None:
    inputs = inputs_of(VERDICTS["0.16.12"])
    too_strict, too_lenient = set(), set()
    for value in VALUES:
        refused = refused_by(cog, dict.fromkeys(inputs, value))
        for name in inputs:
            is_taken = name not in refused or was_taken(name, value)
            has_problem = bool(problems(inputs, {name: value}))
            if is_taken and has_problem:
                too_strict.add((name, str(value)))
            if not is_taken and not has_problem:
                too_lenient.add((name, str(value)))

    # The installed one alone takes a path, and opens that file.
    assert {name for name, _ in too_strict} == {"picture", "pictures"}
    assert not [value for _, value in too_strict if "http" in value or "data" in value]
    # Patterns are left to the host; a Cog on pydantic 1 would make of 1.9 what it makes of it for `whole`.
    left = {("number", "nan"), ("optional", "1.9"), ("optional", "0.3"), ("optional", "512.5")}
    assert {verdict for verdict in too_lenient if verdict[0] != "lower"} == left


def test_the_installed_cog_agrees_with_each_verdict(cog: CogServer) -> None:
    refused = {f"refused_{number}": value for number, (_, value, _) in enumerate(REFUSED)}
    taken = {f"taken_{number}": value for number, (_, value) in enumerate(TAKEN)}

    assert refused_by(cog, {**refused, **taken}) == refused.keys()


def test_no_cog_minds_an_input_that_it_does_not_know(cog: CogServer) -> None:
    assert refused_by(cog, {"nonsense": 1}) == set()


@pytest.mark.parametrize("document", REAL.values(), ids=REAL)
def test_the_defaults_of_a_real_version_are_no_problem(document: Any) -> None:
    inputs = inputs_of(document)
    defaults = {each.name: each.default for each in inputs.values() if each.has_default}

    assert problems(inputs, {"prompt": "Hi", "text": "Hi", **defaults}) == {}
    assert unknown(inputs, defaults) == []
    assert len(inputs) > 1


def test_what_replicate_was_sent_and_shows_as_examples_is_no_problem() -> None:
    found = 0
    for inputs, sent in recorded_inputs():
        assert problems(inputs, sent) == {}
        found += 1

    assert found > 20


def recorded_inputs() -> Iterator[tuple[dict[str, Input], dict[str, Any]]]:
    """Yield what was asked of a version, and a model's example, each with the inputs of that version or model."""
    found = [each for exchange in RECORDINGS for each in objects(exchange)]
    schemas = {each["id"]: each["openapi_schema"] for each in found if each.get("openapi_schema")}
    for each in found:
        if each.get("default_example") and "openapi_schema" in (each.get("latest_version") or {}):
            yield inputs_of(each["latest_version"]["openapi_schema"]), each["default_example"]["input"]
        elif each.get("version") in schemas and isinstance(each.get("input"), dict):
            yield inputs_of(schemas[each["version"]]), each["input"]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from objects(each)


def refused_by(cog: CogServer, given: dict[str, Any]) -> set[str]:
    """Ask for all at once, with one that is wrong for certain: the server names what it refuses and runs nothing."""
    response = cog.ask(**given, certain=None)
    assert response.status_code == 422, response.text
    refused = {fault["loc"][2].partition("/")[0] for fault in response.json()["detail"]}
    return refused - {"certain"}


def was_taken(name: str, value: Any) -> bool:
    """Whether one of the old Cogs took it; 1, 1.0 and True are different values."""
    taken = [verdicts["verdicts"].get(name, {}).get("taken", []) for verdicts in VERDICTS.values()]
    return json.dumps(value) in {json.dumps(each) for values in taken for each in values}


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    """A real Cog server, of a model that has an input for each row of the tables and does nothing with them."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "cog.yaml").write_text('run: "predict.py:Runner"\n')
    (folder / "predict.py").write_text(
        "from cog import BaseRunner\n\n\nclass Runner(BaseRunner):\n    def run(self) -> str:\n        return 'done'\n"
    )
    properties = {"certain": TEXT} | {f"refused_{number}": piece for number, (piece, _, _) in enumerate(REFUSED)}
    properties |= {f"taken_{number}": piece for number, (piece, _) in enumerate(TAKEN)}
    schemas = VERDICTS["0.16.12"]["components"]["schemas"]
    (folder / ".cog").mkdir()
    (folder / ".cog/openapi_schema.json").write_text(
        json.dumps(
            document({**schemas["Input"]["properties"], **properties}, mood=schemas["mood"], size=schemas["size"])
        )
    )
    with start_cog_server(str(folder)) as server:
        yield server


# What people type


@pytest.mark.parametrize(
    ("piece", "text", "value"),
    [
        (TEXT, "  as typed ", "  as typed "),
        (TEXT, "two\r\nlines", "two\nlines"),
        ({**TEXT, "format": "password"}, " s3cret", " s3cret"),
        ({"type": "integer"}, " 7 ", 7),
        ({"type": "integer"}, "1,000,000", 1_000_000),
        ({"type": "integer"}, "1 000", 1_000),
        ({"type": "integer"}, "12\u202f345", 12_345),
        ({"type": "integer"}, "1'000", 1_000),
        ({"type": "integer"}, "−3", -3),
        ({"type": "integer"}, "512.0", 512),
        ({"type": "integer"}, "1e3", 1_000),
        ({"type": "integer"}, "18446744073709551615", 18446744073709551615),
        ({"type": "integer"}, "9" * 400, 10**400 - 1),
        ({"type": "number"}, "0.7", 0.7),
        ({"type": "number"}, "0,7", 0.7),
        ({"type": "number"}, ".5", 0.5),
        ({"type": "number"}, "1,234.5", 1234.5),
        ({"type": "number"}, "1e-4", 0.0001),
        ({"type": "boolean"}, "on", True),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "no", False),
        ({"type": "boolean"}, "0", False),
        (CHOICE, "sad", "sad"),
        (CHOICE, " sad ", "sad"),
        (SIZE, "768", 768),
        ({"type": "number", "enum": [0.5, 1]}, "1.0", 1),
        ({"enum": [True, False]}, "False", False),
        ({"enum": ["1", 1]}, "1", "1"),
        (URI, " https://example.com/a.png\n", "https://example.com/a.png"),
        (FILES, f"{REFERENCE}\r\n\r\nhttps://example.com/a.png\r\n", [REFERENCE, "https://example.com/a.png"]),
        (NUMBERS, "3\n4", [3, 4]),
        (NUMBERS, "[3, 4]", [3, 4]),
        (NUMBERS, "[\n  3,\n  4\n]", [3, 4]),
        ({"type": "array", "items": TEXT}, "one\n two ", ["one", "two"]),
        ({"type": "array", "items": TEXT}, '["one", "two\\n"]', ["one", "two\n"]),
        ({"type": "array", "items": TEXT}, "[INST]\n</s>", ["[INST]", "</s>"]),
        ({"type": "array", "items": TEXT}, "[]", []),
        ({"type": "array", "items": TEXT}, "5", ["5"]),
        ({"type": "array"}, "5\nfive", [5, "five"]),
        (OBJECTS, '{"role": "user"}\n{"role": "system"}', [{"role": "user"}, {"role": "system"}]),
        ({"type": "object"}, ' {"a": [1, 0.5, null]} ', {"a": [1, 0.5, None]}),
        ({"title": "Extra"}, '{"a": 1}', {"a": 1}),
        ({"title": "Extra"}, "a word", "a word"),
        ({"title": "Extra"}, "NaN", "NaN"),
    ],
)
def test_a_text_becomes_the_value_that_is_meant(piece: Any, text: str, value: Any) -> None:
    read_value = read(input_of(piece), text)

    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("piece", "text", "sentence"),
    [
        ({"type": "integer"}, "many", "Must be a whole number."),
        ({"type": "integer"}, "1.5", "Must be a whole number."),
        ({"type": "integer"}, "9" * 5_000, "Must be a whole number."),
        ({"type": "number"}, "1/2", "Must be a number."),
        ({"type": "number"}, "1,2,3", "Must be a number."),
        ({"type": "number"}, "12 3", "Must be a number."),
        ({"type": "number"}, "1e999", "Must be a number."),
        ({"type": "number"}, "nan", "Must be a number."),
        ({"type": "boolean"}, "maybe", "Must be true or false."),
        (CHOICE, "angry", "Must be one of “glad”, “sad” or “calm”."),
        (SIZE, "many", "Must be one of 512 or 768."),
        ({"enum": [True, False, 0.5]}, "many", "Must be one of true, false or 0.5."),
        (NUMBERS, "3\n\nfour", "Item 2 must be a whole number."),
        (NUMBERS, "[3, 4", NO_LIST_IN_JSON),
        ({"type": "array", "items": TEXT}, '["one", "two",]', NO_LIST_IN_JSON),
        ({"type": "array"}, "[1e999]", NO_LIST_IN_JSON),
        (OBJECTS, "user", NO_OBJECT_IN_JSON.replace("Must", "Item 1 must")),
        ({"type": "object"}, "a: 1", NO_OBJECT_IN_JSON),
        ({"type": "object"}, '["a"]', NO_OBJECT_IN_JSON),
        ({"type": "object"}, '{"a": NaN}', NO_OBJECT_IN_JSON),
        (NUMBERS, "[" * 100_000, "Must not hold so many lists or objects within each other."),
        (TEXT, "a\0b", "Must not contain null characters or halves of characters."),
        ({"type": "object"}, '{"a": "\\u0000"}', "Must not contain null characters or halves of characters."),
        ({"type": "object"}, '{"a": "\\ud83d"}', "Must not contain null characters or halves of characters."),
    ],
)
def test_a_text_that_means_no_value_is_told_in_a_sentence(piece: Any, text: str, sentence: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        read(input_of(piece), text)

    assert str(raised.value) == sentence


def test_a_text_may_name_the_null_character_without_containing_it() -> None:
    assert read(input_of(TEXT), r"the escape \u0000") == r"the escape \u0000"


def test_an_empty_field_is_not_given_and_a_choice_of_neither_keeps_the_default() -> None:
    inputs = inputs_of(document({"prompt": TEXT, "top_p": SHARE, "flag": {"type": "boolean"}, "stop": TEXT}))

    values, not_understood = read_all(
        inputs, {"prompt": "Hi", "top_p": "  ", "flag": "", "stop": "\n", "csrfmiddlewaretoken": "x"}
    )

    assert values == {"prompt": "Hi", "stop": "\n"}
    assert not_understood == {}


def test_a_form_tells_all_that_was_not_understood_and_reads_the_rest() -> None:
    inputs = inputs_of(document({"prompt": TEXT, "top_p": SHARE, "size": SIZE, "flag": {"type": "boolean"}}))

    values, not_understood = read_all(inputs, {"prompt": "Hi", "top_p": "high", "size": "512", "flag": "maybe"})

    assert values == {"prompt": "Hi", "size": 512}
    assert not_understood == {"top_p": "Must be a number.", "flag": "Must be true or false."}


@pytest.mark.parametrize("version", VERDICTS)
def test_what_is_written_of_a_default_is_read_as_that_default(version: str) -> None:
    for asked in inputs_of(VERDICTS[version]).values():
        if asked.has_default:
            written = asked.default if isinstance(asked.default, str) else json.dumps(asked.default)
            assert read(asked, written) == asked.default


# Anything else


@given(st.dictionaries(st.text(max_size=5), pieces | json_values, max_size=4), json_values, json_values)
def test_no_schema_and_no_value_is_too_strange(properties: dict[str, Any], value: Any, other: Any) -> None:
    inputs = inputs_of(document(properties))

    for given_value in (value, other):
        found = problems(inputs, {**dict.fromkeys(inputs, given_value), "another": other})
        assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in found.values())
        assert found.keys() <= inputs.keys()


@given(pieces, st.text() | json_values.map(json.dumps))
def test_no_text_is_too_strange(piece: dict[str, Any], text: str) -> None:
    asked = input_of(piece)

    with contextlib.suppress(NotUnderstood):
        json.dumps(read(asked, text), allow_nan=False).encode()


@given(pieces, json_values)
def test_what_the_document_allows_to_the_letter_is_no_problem(piece: dict[str, Any], value: Any) -> None:
    # What a format asks for, the library does not know.
    if "format" not in repr(piece) and is_allowed(piece, value):
        assert problem(piece, value) == ""


def is_allowed(piece: dict[str, Any], value: Any) -> bool:
    """Ask the library; null is left out, of which hosts make what they want."""
    try:
        json.dumps([piece, value], allow_nan=False)
        Draft202012Validator.check_schema(piece)
        return value is not None and Draft202012Validator(piece).is_valid(value)
    except (ValueError, SchemaError, OverflowError):
        return False
