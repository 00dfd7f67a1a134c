"""What versions take and put out, as their documents say."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.schema import Input, InputKind, OutputKind, inputs_of, output_of, separator_of, streams

RECORDED = Path(__file__).parent / "data/schemas"
BUNDLED = Path(__file__).parent.parent / "models"
TEXT = {"type": "string"}
FILE = {"type": "string", "format": "uri"}
NULL = {"type": "null"}

# The words of these documents in any order, so that chance finds its way past the first look-up.
words = st.sampled_from([
    "components", "schemas", "Input", "Output", "properties", "required", "paths", "/predictions", "post", "prompt",
    "type", "items", "format", "enum", "title", "description", "default", "minimum", "maximum", "x-order", "$ref",
    "allOf", "anyOf", "oneOf", "x-cog-streaming", "x-cog-array-type", "x-cog-array-display", "x-cog-secret",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "nullable",
])  # fmt: skip
values = st.sampled_from([
    "#/components/schemas/Input", "#/components/schemas/Output", "#/components/schemas/prompt", "#/", "string",
    "array", "object", "number", "null", "uri", "password", "iterator", "concatenate",
])  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | values
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=5), inner, max_size=6)
)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def bundled(name: str) -> Any:
    return json.loads((BUNDLED / name / ".cog/openapi_schema.json").read_text())


def document(*, properties: Any = None, output: Any = None, **schemas: Any) -> dict[str, Any]:
    described = {"Input": {"type": "object", "properties": properties or {}}, "Output": output, **schemas}
    return {"openapi": "3.0.2", "components": {"schemas": described}}


def input_of(schema: Any, **schemas: Any) -> Input:
    return inputs_of(document(properties={"mood": schema}, **schemas))["mood"]


# Documents that Cog wrote


def test_the_inputs_of_a_chat_model_at_replicate() -> None:
    inputs = inputs_of(recorded("replicate-llama-2-70b-chat"))

    assert list(inputs)[:5] == ["prompt", "system_prompt", "max_new_tokens", "min_new_tokens", "temperature"]
    assert inputs["prompt"] == Input(
        "prompt", InputKind.TEXT, "Prompt", "Prompt to send to the model.", is_required=True, order=0
    )
    assert inputs["max_new_tokens"] == Input(
        "max_new_tokens",
        InputKind.INTEGER,
        "Max New Tokens",
        "Maximum number of tokens to generate. A word is generally 2-3 tokens",
        default=128,
        has_default=True,
        minimum=1,
        order=2,
    )
    assert [each.name for each in inputs.values() if each.is_required] == ["prompt"]


def test_the_inputs_of_an_image_model_at_replicate() -> None:
    inputs = inputs_of(recorded("replicate-sdxl"))

    assert [each.order for each in inputs.values()] == list(range(19))
    assert inputs["image"].kind == InputKind.FILE
    assert inputs["apply_watermark"].kind == InputKind.BOOLEAN
    assert (inputs["guidance_scale"].minimum, inputs["guidance_scale"].maximum) == (1, 50)
    assert inputs["refine"] == Input(
        "refine",
        InputKind.CHOICE,
        "Refine",
        "Which refine style to use",
        default="no_refiner",
        has_default=True,
        choices=("no_refiner", "expert_ensemble_refiner", "base_image_refiner"),
        order=12,
    )


@pytest.mark.parametrize("name", ["cog-0.9.26", "cog-0.16.12"])
def test_older_cog_servers_say_the_same_in_their_own_order(name: str) -> None:
    inputs = inputs_of(recorded(name))

    assert [(each.name, each.kind) for each in inputs.values()] == [
        ("prompt", InputKind.TEXT),
        ("n", InputKind.INTEGER),
        ("delay", InputKind.NUMBER),
    ]
    assert inputs["n"] == Input(
        "n", InputKind.INTEGER, "N", default=4, has_default=True, minimum=1, maximum=50, order=1
    )


def test_the_inputs_of_the_bundled_model() -> None:
    inputs = inputs_of(bundled("smollm2"))

    assert list(inputs) == ["prompt", "system_prompt", "messages", "max_tokens", "temperature", "top_p", "seed"]
    assert inputs["messages"].kind == InputKind.LIST
    assert inputs["messages"].has_default
    assert inputs["messages"].default == []
    assert not inputs["seed"].has_default


@pytest.mark.parametrize(
    ("read", "kind", "can_stream", "separator"),
    [
        (recorded("replicate-llama-2-70b-chat"), OutputKind.TEXT_STREAM, False, ""),
        (recorded("replicate-sdxl"), OutputKind.FILES, False, "\n"),
        (recorded("cog-0.9.26"), OutputKind.TEXT_STREAM, False, ""),
        (recorded("cog-0.16.12"), OutputKind.TEXT_STREAM, False, ""),
        (bundled("smollm2"), OutputKind.TEXT_STREAM, True, ""),
        (bundled("summary"), OutputKind.TEXT_STREAM, False, ""),
    ],
    ids=["llama-2-70b-chat", "sdxl", "cog-0.9.26", "cog-0.16.12", "smollm2", "summary"],
)
def test_the_outputs_of_documents_that_cog_wrote(read: Any, kind: OutputKind, can_stream: bool, separator: str) -> None:
    assert output_of(read) == kind
    assert streams(read) is can_stream
    assert separator_of(read) == separator


# Inputs, one trap at a time


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (TEXT, InputKind.TEXT),
        ({"type": "string", "format": "date"}, InputKind.TEXT),
        ({"type": "integer"}, InputKind.INTEGER),
        ({"type": "number"}, InputKind.NUMBER),
        ({"type": "boolean"}, InputKind.BOOLEAN),
        (FILE, InputKind.FILE),
        ({"type": "array", "items": FILE}, InputKind.FILES),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Picture"}}, InputKind.FILES),
        ({"type": "array", "items": {"anyOf": [FILE, NULL]}}, InputKind.FILES),
        ({"type": "array", "items": TEXT}, InputKind.LIST),
        ({"type": "array"}, InputKind.LIST),
        ({"type": "object", "additionalProperties": TEXT}, InputKind.OBJECT),
        ({"type": "string", "format": "password", "writeOnly": True}, InputKind.SECRET),
        ({"type": "string", "x-cog-secret": True}, InputKind.SECRET),
        ({"type": "string", "enum": ["glad", "sad"]}, InputKind.CHOICE),
        ({"anyOf": [TEXT, NULL]}, InputKind.TEXT),
        ({"anyOf": [NULL, {"type": "array", "items": FILE}]}, InputKind.FILES),
        ({"oneOf": [{"type": "integer"}]}, InputKind.INTEGER),
        ({"type": ["string", "null"]}, InputKind.TEXT),
        ({"type": "string", "nullable": True}, InputKind.TEXT),
        ({"allOf": [{"anyOf": [{"$ref": "#/components/schemas/Picture"}, NULL]}]}, InputKind.FILE),
        ({"anyOf": [TEXT, {"type": "integer"}]}, InputKind.ANY),
        ({"type": ["string", "integer"]}, InputKind.ANY),
        ({"type": "colour"}, InputKind.ANY),
        ({"type": {"type": "string"}}, InputKind.ANY),
        ({"$ref": "#/components/schemas/Missing"}, InputKind.ANY),
        ({"$ref": ["#/components/schemas/Picture"]}, InputKind.ANY),
        ({"title": "Extra"}, InputKind.ANY),
        ({}, InputKind.ANY),
        (True, InputKind.ANY),
        (None, InputKind.ANY),
    ],
)
def test_the_kind_of_an_input_is_seen_through_what_wraps_it(schema: Any, kind: InputKind) -> None:
    assert input_of(schema, Picture=FILE).kind == kind


@pytest.mark.parametrize(
    "wrapping",
    [
        {"allOf": [{"$ref": "#/components/schemas/Mood"}]},
        {"anyOf": [{"$ref": "#/components/schemas/Mood"}, NULL]},
        {"$ref": "#/components/schemas/Mood"},
    ],
)
def test_a_choice_keeps_what_is_said_beside_the_reference(wrapping: dict[str, Any]) -> None:
    mood = {
        "title": "Mood",
        "description": "An enumeration.",
        "type": "string",
        "enum": ["glad", "sad"],
        "default": "sad",
    }
    said = {"title": "Your mood", "description": "How it feels.", "default": "glad", "x-order": 3}

    assert input_of({**wrapping, **said}, Mood=mood) == Input(
        "mood",
        InputKind.CHOICE,
        "Your mood",
        "How it feels.",
        default="glad",
        has_default=True,
        choices=("glad", "sad"),
        order=3,
        is_nullable="anyOf" in wrapping,
    )


def test_what_a_type_says_of_itself_is_not_said_of_the_input() -> None:
    mood = {"title": "mood", "description": "An enumeration.", "type": "string", "enum": ["glad", "sad"]}

    asked = input_of({"allOf": [{"$ref": "#/components/schemas/mood"}]}, mood=mood)

    assert (asked.title, asked.description) == ("Mood", "")


def test_choices_are_what_can_be_chosen_from_a_list() -> None:
    assert input_of({"type": "integer", "enum": [1, 2.5, None, ["x"], {}, "three"]}).choices == (1, 2.5, "three")
    assert input_of({"type": "string", "enum": [None]}).kind == InputKind.TEXT
    assert input_of({"type": "string", "enum": "glad"}).kind == InputKind.TEXT


@pytest.mark.parametrize("title", [{}, {"title": ""}, {"title": 7}])
def test_an_input_without_a_title_is_called_by_its_name(title: dict[str, Any]) -> None:
    inputs = inputs_of(document(properties={"top_p": title, "maxTokens": title}))

    assert [each.title for each in inputs.values()] == ["Top P", "MaxTokens"]


def test_a_default_of_null_is_a_default() -> None:
    assert input_of({"type": "string", "default": None}).has_default
    assert not input_of(TEXT).has_default


@pytest.mark.parametrize("bound", [True, "5", None, [5], float("inf"), float("nan")])
def test_a_bound_that_is_no_number_is_none(bound: Any) -> None:
    asked = input_of({"type": "number", "minimum": bound, "maximum": bound, "x-order": bound})

    assert (asked.minimum, asked.maximum) == (None, None)
    assert asked.order == input_of(TEXT).order


def test_what_else_a_schema_asks_of_a_value_is_read() -> None:
    asked = input_of({"type": "string", "minLength": 2, "maxLength": 80.0, "pattern": "^[a-z]+$", "deprecated": True})
    number = input_of({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.5})

    assert (asked.min_length, asked.max_length, asked.pattern, asked.is_deprecated) == (2, 80, "^[a-z]+$", True)
    assert (number.exclusive_minimum, number.exclusive_maximum, number.multiple_of) == (0, 1.5, 0.5)
    assert (number.minimum, number.maximum, number.is_deprecated) == (None, None, False)


def test_an_exclusive_bound_may_be_said_beside_the_bound() -> None:
    asked = input_of(
        {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": False}
    )

    assert (asked.exclusive_minimum, asked.exclusive_maximum) == (0, None)
    assert input_of({"type": "number", "exclusiveMinimum": True}).exclusive_minimum is None


@pytest.mark.parametrize("count", [True, -1, 1.5, "5", None, [5], float("inf"), float("nan")])
def test_a_length_that_is_no_count_is_none(count: Any) -> None:
    asked = input_of(dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), count))

    assert (asked.min_length, asked.max_length, asked.min_items, asked.max_items) == (None, None, None, None)


@pytest.mark.parametrize("step", [True, 0, -1, "5", None, float("inf")])
def test_a_step_that_leads_nowhere_is_none(step: Any) -> None:
    assert input_of({"type": "number", "multipleOf": step}).multiple_of is None


@pytest.mark.parametrize(
    ("schema", "is_nullable"),
    [
        ({"type": "string", "nullable": True}, True),
        ({"type": ["string", "null"]}, True),
        ({"anyOf": [TEXT, NULL]}, True),
        ({"oneOf": [NULL, TEXT]}, True),
        ({"allOf": [{"anyOf": [{"$ref": "#/components/schemas/Picture"}, NULL]}]}, True),
        ({"anyOf": [TEXT, {"type": "integer"}, NULL]}, True),
        (TEXT, False),
        ({"type": "string", "nullable": "true"}, False),
        ({"type": "string", "default": None}, False),
        ({"allOf": [{"$ref": "#/components/schemas/Picture"}]}, False),
    ],
)
def test_null_may_be_sent_only_where_a_schema_says_so(schema: Any, is_nullable: bool) -> None:
    assert input_of(schema, Picture=FILE).is_nullable is is_nullable


def test_the_elements_of_a_list_are_described_one_level_deep() -> None:
    mood = {"type": "string", "enum": ["glad", "sad"], "title": "mood"}
    moods = input_of({"type": "array", "items": {"$ref": "#/components/schemas/Mood"}, "maxItems": 3}, Mood=mood)
    rows = input_of({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}})

    assert (moods.kind, moods.max_items) == (InputKind.LIST, 3)
    assert moods.element == Input("", InputKind.CHOICE, "", is_required=True, choices=("glad", "sad"))
    assert rows.element == Input("", InputKind.LIST, "", is_required=True)
    assert input_of({"type": "array", "items": FILE}).element == Input("", InputKind.FILE, "", is_required=True)


@pytest.mark.parametrize("schema", [{"type": "array"}, TEXT, {"type": "string", "items": TEXT}])
def test_only_the_elements_of_lists_are_described(schema: Any) -> None:
    assert input_of(schema).element is None


def test_inputs_without_an_order_follow_in_that_of_the_document() -> None:
    properties = {"d": TEXT, "c": {"x-order": 1}, "b": {"x-order": "0"}, "a": {"x-order": 0}}

    assert list(inputs_of(document(properties=properties))) == ["a", "c", "d", "b"]


@pytest.mark.parametrize("required", [None, "mood", 5, [["mood"], {}, 5], {"mood": True}])
def test_a_list_of_required_inputs_that_is_none_requires_nothing(required: Any) -> None:
    described = document(Input={"properties": {"mood": TEXT}, "required": required})

    assert not inputs_of(described)["mood"].is_required


def test_the_inputs_may_themselves_be_a_reference() -> None:
    asked = {"properties": {"prompt": TEXT}, "required": ["prompt"]}

    inputs = inputs_of(document(Input={"$ref": "#/components/schemas/Asked"}, Asked=asked))

    assert inputs["prompt"].is_required


# Outputs, one trap at a time


@pytest.mark.parametrize(
    ("schema", "kind", "separator"),
    [
        (TEXT, OutputKind.TEXT, ""),
        ({"anyOf": [TEXT, NULL]}, OutputKind.TEXT, ""),
        ({"allOf": [{"$ref": "#/components/schemas/Mood"}]}, OutputKind.TEXT, ""),
        (FILE, OutputKind.FILE, "\n"),
        ({"type": "array", "items": FILE}, OutputKind.FILES, "\n"),
        ({"type": "array", "items": FILE, "x-cog-array-type": "iterator"}, OutputKind.FILES, "\n"),
        ({"type": "array", "items": TEXT}, OutputKind.TEXTS, "\n"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Mood"}}, OutputKind.TEXTS, "\n"),
        ({"type": "array", "items": TEXT, "x-cog-array-type": "iterator"}, OutputKind.TEXTS, "\n"),
        ({"type": "array", "items": TEXT, "x-cog-array-display": "concatenate"}, OutputKind.TEXTS, "\n"),
        ({"type": "array", "items": {"type": "object"}}, OutputKind.JSON, "\n"),
        ({"type": "array", "items": TEXT["type"]}, OutputKind.JSON, "\n"),
        ({"type": "object", "properties": {"text": TEXT}}, OutputKind.JSON, "\n"),
        ({"$ref": "#/components/schemas/Score", "title": "Output"}, OutputKind.JSON, "\n"),
        ({"type": "number"}, OutputKind.JSON, "\n"),
        ({"title": "Output"}, OutputKind.UNKNOWN, ""),
        ({"anyOf": [TEXT, {"type": "object"}]}, OutputKind.UNKNOWN, ""),
        ({"$ref": "#/components/schemas/Output"}, OutputKind.UNKNOWN, ""),
        (None, OutputKind.UNKNOWN, ""),
        ("string", OutputKind.UNKNOWN, ""),
    ],
)
def test_the_kind_of_an_output_is_seen_through_what_wraps_it(schema: Any, kind: OutputKind, separator: str) -> None:
    described = document(output=schema, Score={"type": "object"}, Mood={"type": "string", "enum": ["glad", "sad"]})

    assert output_of(described) == kind
    assert separator_of(described) == separator


def test_a_stream_of_text_may_be_behind_a_reference() -> None:
    stream = {"type": "array", "items": TEXT, "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"}

    assert output_of(document(output={"$ref": "#/components/schemas/Stream"}, Stream=stream)) == OutputKind.TEXT_STREAM


@pytest.mark.parametrize("said", ["true", 1, None, {}])
def test_only_true_means_that_a_server_streams(said: Any) -> None:
    assert streams({"paths": {"/predictions": {"post": {"x-cog-streaming": True}}}})
    assert not streams({"paths": {"/predictions": {"post": {"x-cog-streaming": said}}}})


# Anything else


@pytest.mark.parametrize("read", [None, {}, [], "openapi", 5, {"components": []}, {"components": {"schemas": None}}])
def test_without_a_document_nothing_is_known(read: Any) -> None:
    assert inputs_of(read) == {}
    assert output_of(read) == OutputKind.UNKNOWN
    assert separator_of(read) == ""
    assert not streams(read)


def test_a_circle_of_references_ends_with_what_was_said_on_the_way() -> None:
    there = {"anyOf": [{"$ref": "#/components/schemas/Back"}, NULL], "minimum": 1}
    back = {"$ref": "#/components/schemas/There", "maximum": 2}

    asked = input_of({"$ref": "#/components/schemas/There", "title": "Round"}, There=there, Back=back)

    assert (asked.kind, asked.title, asked.minimum, asked.maximum) == (InputKind.ANY, "Round", 1, 2)


def test_a_document_of_any_depth_is_read() -> None:
    schema: Any = TEXT
    for _ in range(100_000):
        schema = {"anyOf": [{"type": "array", "items": schema}]}

    assert input_of(schema).kind == InputKind.LIST


@given(anything)
def test_no_document_is_too_strange(read: Any) -> None:
    inputs_of(read)
    streams(read)

    assert separator_of(read) in {"", "\n"}


@given(st.dictionaries(words | st.text(max_size=5), anything, max_size=6), anything, anything)
def test_every_input_is_told_however_strange(properties: dict[str, Any], output: Any, mood: Any) -> None:
    read = document(properties=properties, output=output, prompt=mood)

    inputs = inputs_of(read)

    assert inputs.keys() == properties.keys()
    assert [each.order for each in inputs.values()] == sorted(each.order for each in inputs.values())
    assert output_of(read) in OutputKind
