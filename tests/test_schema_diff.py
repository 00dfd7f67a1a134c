"""What an admin is told before another version of a model answers."""

import copy
import json
from collections.abc import Callable
from dataclasses import astuple
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.schema_diff import MOST_CHANGES, Aspect, Change, Weight, compare

RECORDED = Path(__file__).parent / "data/schemas"
BUNDLED = Path(__file__).parent.parent / "models"
BREAKING, NOTABLE, HARMLESS = Weight
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
FILE = {"type": "string", "format": "uri"}
SECRET = {"type": "string", "format": "password"}
LIST = {"type": "array"}
STREAM = {"type": "array", "items": TEXT, "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"}
MOODS = {"type": "string", "enum": ["glad", "sad", "grim"]}
OTHER_SIDE = {Aspect.ADDED: Aspect.REMOVED, Aspect.REMOVED: Aspect.ADDED}
MOST_LETTERS = 4_000  # of one change: a name, and some values of 100 letters each

words = st.sampled_from(["prompt", "mood", "seed", "n"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([10**400, -(10**400), 1e308, 5e-324, float("nan"), float("inf"), 0.1, 1.0, "", "glad", "\ud800"])
)
anything = st.recursive(
    scalars | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
types = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", None])
bounds = scalars | st.integers(0, 5) | st.floats()
property_schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": types | anything,
            "format": st.sampled_from(["uri", "password"]),
            "enum": st.lists(scalars | st.sampled_from(["glad", "sad"]), max_size=4),
            "title": st.text(max_size=3) | anything,
            "description": st.text(max_size=3),
            "default": anything,
            "nullable": st.booleans(),
            "deprecated": st.booleans(),
            "pattern": st.text(max_size=3),
            "x-order": bounds,
            **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"], bounds),
            **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], bounds),
        },
    ),
    lambda inner: st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": bounds}),
    max_leaves=2,
)
outputs = st.sampled_from([None, TEXT, STREAM, FILE, {"type": "array", "items": FILE}, {"type": "object"}]) | anything


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def bundled(name: str) -> Any:
    return json.loads((BUNDLED / name / ".cog/openapi_schema.json").read_text())


REAL = {
    **{path: bundled(path) for path in ("smollm2", "summary")},
    **{
        name: recorded(name)
        for name in (
            "cog-0.9.26",
            "cog-0.16.12",
            "cog-0.23.1",
            "replicate-llama-2-70b-chat",
            "replicate-sdxl-2023-08",
            "replicate-sdxl",
            "replicate-sdxl-2024-05",
        )
    },
}


def version(
    properties: Any = None, *, required: Any = (), output: Any = STREAM, is_streaming: bool = False
) -> dict[str, Any]:
    asked = {"type": "object", "properties": properties or {}, "required": list(required)}
    document: dict[str, Any] = {"components": {"schemas": {"Input": asked, "Output": output}}}
    if is_streaming:
        document["paths"] = {"/predictions": {"post": {"x-cog-streaming": True}}}
    return document


documents = (
    st.builds(
        version,
        st.dictionaries(words | st.text(max_size=3), property_schemas | anything, max_size=4),
        required=st.lists(words, max_size=2),
        output=outputs,
        is_streaming=st.booleans(),
    )
    | anything
)


def one_change(old: Any, new: Any, **options: Any) -> Change:
    """Return what is told of the input `mood`, which has to be one thing."""
    (change,) = compare(version({"mood": old}), version({"mood": new}), **options)
    assert change.input == "mood"
    return change


def aspects(changes: list[Change]) -> list[tuple[str, Aspect]]:
    return sorted((change.input, change.aspect) for change in changes)


# Documents that hosts wrote


@pytest.mark.parametrize("name", REAL)
def test_a_version_does_not_differ_from_itself(name: str) -> None:
    assert compare(REAL[name], REAL[name]) == []
    assert compare(REAL[name], copy.deepcopy(REAL[name])) == []


@pytest.mark.parametrize(("one", "other"), list(permutations(REAL, 2)))
def test_the_way_back_changes_the_same(one: str, other: str) -> None:
    there, back = compare(REAL[one], REAL[other]), compare(REAL[other], REAL[one])

    turned = [(change.input, OTHER_SIDE.get(change.aspect, change.aspect)) for change in back]
    assert aspects(there) == sorted(turned)
    for change in there:
        assert change.sentence.endswith(".")
        assert sum(map(len, astuple(change))) < MOST_LETTERS


def test_a_rebuild_with_a_newer_cog_changes_nothing_for_people() -> None:
    assert compare(REAL["cog-0.9.26"], REAL["cog-0.16.12"]) == []


def test_what_three_versions_of_an_image_model_changed() -> None:
    first, second, third = (REAL[f"replicate-sdxl{end}"] for end in ("-2023-08", "", "-2024-05"))

    assert [(change.weight, change.sentence) for change in compare(first, second)] == [
        (HARMLESS, "“replicate_weights” is new and need not be set."),
        (HARMLESS, "“disable_safety_checker” is new; its default is no."),
    ]
    (described,) = compare(second, third)
    assert described == Change(
        "disable_safety_checker",
        Aspect.DESCRIPTION,
        HARMLESS,
        "The description of “disable_safety_checker” changes.",
        "…hrough the API. See https://replicate.com/docs/how-does-replicate-work#safety",
        "…hrough the API. See [https://replicate.com/docs/how-does-replicate-work#safety](https://replicate.co…",
    )


def test_a_chat_model_is_replaced_by_another() -> None:
    used = {"temperature": 4, "max_new_tokens": 500, "top_p": 0.9, "debug": False}

    changes = compare(REAL["replicate-llama-2-70b-chat"], REAL["smollm2"], used=used)

    assert [(change.input, change.aspect, change.hit) for change in changes if change.weight == BREAKING] == [
        ("max_new_tokens", Aspect.REMOVED, "It is set to 500 today."),
        ("temperature", Aspect.RANGE, "It is set to 4 today."),
        ("debug", Aspect.REMOVED, "It is set to no today."),
        ("min_new_tokens", Aspect.REMOVED, ""),
        ("seed", Aspect.RANGE, ""),
        ("top_k", Aspect.REMOVED, ""),
        ("stop_sequences", Aspect.REMOVED, ""),
        ("replicate_weights", Aspect.REMOVED, ""),
    ]
    assert changes[0].sentence == (
        "“max_new_tokens” is gone, perhaps renamed to “max_tokens”: "
        "predictions that set it may be refused, or run without it."
    )
    assert changes[1].sentence == "“temperature” must now be 0 to 2; before, it could be 0.01 to 5."


# Inputs that come and go


def test_an_input_that_is_gone() -> None:
    (change,) = compare(version({"prompt": TEXT, "top_p": NUMBER}), version({"prompt": TEXT}))

    assert change == Change(
        "top_p",
        Aspect.REMOVED,
        BREAKING,
        "“top_p” is gone: predictions that set it may be refused, or run without it.",
        before="a number",
    )


@pytest.mark.parametrize(
    ("schema", "required", "weight", "sentence"),
    [
        (INTEGER, ["seed"], BREAKING, "“seed” is new and required: predictions without it will be refused."),
        (INTEGER, [], HARMLESS, "“seed” is new and need not be set."),
        ({**INTEGER, "default": None}, [], HARMLESS, "“seed” is new and need not be set."),
        ({**INTEGER, "default": 5}, [], HARMLESS, "“seed” is new; its default is 5."),
        # Cog does not fill a default in for what it requires.
        ({"type": "integer", "default": 5}, ["seed"], BREAKING,
         "“seed” is new and required: predictions without it will be refused."),
    ],
)  # fmt: skip
def test_an_input_that_is_new(schema: Any, required: list[str], weight: Weight, sentence: str) -> None:
    (change,) = compare(version({"prompt": TEXT}), version({"prompt": TEXT, "seed": schema}, required=required))

    assert change == Change("seed", Aspect.ADDED, weight, sentence, after="a whole number")


@pytest.mark.parametrize(
    ("gone", "come", "is_alike"),
    [
        ({"max_new_tokens": INTEGER}, {"max_tokens": INTEGER}, True),
        ({"maxTokens": INTEGER}, {"max_tokens": INTEGER}, True),
        ({"text": {**TEXT, "title": "Question"}}, {"prompt": {**TEXT, "title": "Question"}}, True),
        ({"text": {**TEXT, "description": "What to ask."}}, {"prompt": {**TEXT, "description": "What to ask."}}, True),
        ({"text": {**TEXT, "description": ""}}, {"prompt": {**TEXT, "description": ""}}, False),
        ({"max_tokens": INTEGER}, {"max_token": NUMBER}, False),
        ({"top_p": NUMBER}, {"top_k": NUMBER}, False),
        ({"p" * 40: NUMBER}, {"p" * 39: NUMBER}, True),
        ({"p" * 41: NUMBER}, {"p" * 39: NUMBER}, False),  # to liken long names takes long
        ({"p" * 39: NUMBER}, {"p" * 41: NUMBER}, False),
    ],
)
def test_an_input_that_comes_as_another_goes_is_perhaps_renamed(gone: Any, come: Any, is_alike: bool) -> None:
    removed, _added = compare(version(gone), version(come))

    assert (f"perhaps renamed to “{next(iter(come))}”" in removed.sentence) is is_alike


def test_one_new_input_is_the_new_name_of_one_old_input_at_most() -> None:
    changes = compare(version({"max_tokens_1": INTEGER, "max_tokens_2": INTEGER}), version({"max_tokens": INTEGER}))

    assert sum("perhaps renamed" in change.sentence for change in changes) == 1


# Types

REFUSED = "what is set for it may be refused"
WORKS = "what worked goes on working"


@pytest.mark.parametrize(
    ("old", "new", "weight", "sentence"),
    [
        (INTEGER, NUMBER, HARMLESS, f"“mood” was a whole number and is now a number: {WORKS}."),
        (NUMBER, INTEGER, BREAKING, f"“mood” was a number and is now a whole number: {REFUSED}."),
        (TEXT, {**INTEGER, "minimum": 1}, BREAKING, f"“mood” was a text and is now a whole number: {REFUSED}."),
        (TEXT, MOODS, BREAKING, f"“mood” was a text and is now a choice of “glad”, “sad”, “grim”: {REFUSED}."),
        (MOODS, TEXT, HARMLESS, f"“mood” was a choice of “glad”, “sad”, “grim” and is now a text: {WORKS}."),
        (MOODS, LIST, BREAKING, f"“mood” was a choice of “glad”, “sad”, “grim” and is now a list: {REFUSED}."),
        ({"enum": [1, 2]}, NUMBER, HARMLESS, f"“mood” was a choice of 1, 2 and is now a number: {WORKS}."),
        ({"enum": ["1", 2]}, NUMBER, BREAKING, f"“mood” was a choice of “1”, 2 and is now a number: {REFUSED}."),
        (SECRET, TEXT, NOTABLE, "“mood” was a secret and is now a text: what is set for it is no longer kept secret."),
        (TEXT, SECRET, HARMLESS, f"“mood” was a text and is now a secret: {WORKS}."),
        (TEXT, FILE, BREAKING, f"“mood” was a text and is now a file: {REFUSED}."),
        (FILE, TEXT, BREAKING, f"“mood” was a file and is now a text: {REFUSED}."),
        (FILE, {**LIST, "items": FILE}, BREAKING, f"“mood” was a file and is now a list of files: {REFUSED}."),
        ({"type": "boolean"}, {}, HARMLESS, f"“mood” was yes or no and is now anything: {WORKS}."),
        ({}, {"type": "object"}, BREAKING, f"“mood” was anything and is now a set of named values: {REFUSED}."),
    ],
)
def test_another_type(old: Any, new: Any, weight: Weight, sentence: str) -> None:
    change = one_change(old, new)

    assert (change.aspect, change.weight, change.sentence) == (Aspect.TYPE, weight, sentence)


@pytest.mark.parametrize(
    ("old", "new", "weight", "sentence"),
    [
        (TEXT, INTEGER, BREAKING, f"“mood (each item)” was a text and is now a whole number: {REFUSED}."),
        ({}, TEXT, BREAKING, f"“mood (each item)” was anything and is now a text: {REFUSED}."),
        (TEXT, {}, HARMLESS, f"“mood (each item)” was a text and is now anything: {WORKS}."),
        (MOODS, {"enum": ["glad", "sad"]}, BREAKING, "“mood (each item)” no longer takes “grim”."),
    ],
)
def test_other_items_of_a_list(old: Any, new: Any, weight: Weight, sentence: str) -> None:
    change = one_change({**LIST, "items": old}, {**LIST, "items": new})

    assert (change.weight, change.sentence) == (weight, sentence)


def test_what_an_item_is_called_is_not_told() -> None:
    old, new = ({**LIST, "items": {**TEXT, "title": title, "description": title}} for title in ("Word", "Term"))

    assert compare(version({"mood": old}), version({"mood": new})) == []


# What may be set


def test_an_input_becomes_required_and_optional_again() -> None:
    optional, required = version({"mood": TEXT}), version({"mood": TEXT}, required=["mood"])

    assert compare(optional, required) == [
        Change(
            "mood",
            Aspect.REQUIRED,
            BREAKING,
            "“mood” is now required: predictions without it will be refused.",
            "optional",
            "required",
        )
    ]
    assert compare(required, optional) == [
        Change("mood", Aspect.REQUIRED, HARMLESS, "“mood” is no longer required.", "required", "optional")
    ]


@pytest.mark.parametrize(
    ("choices", "weight", "sentence"),
    [
        (["glad", "sad"], BREAKING, "“mood” no longer takes “grim”."),
        (["glad", "sad", "calm"], BREAKING, "“mood” no longer takes “grim”, but now takes “calm”."),
        (["glad", "sad", "grim", "calm"], HARMLESS, "“mood” now also takes “calm”."),
        (["grim", "glad", "sad"], HARMLESS, "The choices of “mood” come in another order."),
    ],
)
def test_other_choices(choices: list[str], weight: Weight, sentence: str) -> None:
    change = one_change(MOODS, {"type": "string", "enum": choices})

    assert (change.aspect, change.weight, change.sentence) == (Aspect.CHOICES, weight, sentence)
    assert change.before == "“glad”, “sad”, “grim”"
    assert change.after == ", ".join(f"“{choice}”" for choice in choices)


def test_choices_that_python_takes_for_the_same() -> None:
    assert one_change({"enum": [1, 2]}, {"enum": [True, 2]}).sentence == "“mood” no longer takes 1, but now takes yes."
    assert one_change({"enum": [1]}, {"enum": ["1"]}).sentence == "“mood” no longer takes 1, but now takes “1”."
    assert compare(version({"mood": {"enum": [1, 2]}}), version({"mood": {"enum": [1.0, 2.0]}})) == []
    assert compare(version({"mood": {"enum": [float("nan")]}}), version({"mood": {"enum": [float("nan")]}})) == []


def test_many_choices_are_counted() -> None:
    change = one_change({"enum": list(range(1000))}, {"enum": list(range(1, 1000))})

    assert change.before == "0, 1, 2, 3, 4, 5 and 994 more"
    assert change.sentence == "“mood” no longer takes 0."


@pytest.mark.parametrize(
    ("old", "new", "weight", "sentence"),
    [
        ((1, 500), (1, 100), BREAKING, "“mood” must now be 1 to 100; before, it could be 1 to 500."),
        ((1, 500), (2, 900), BREAKING, "“mood” must now be 2 to 900; before, it could be 1 to 500."),
        ((None, None), (0, None), BREAKING, "“mood” must now be at least 0; before, it could be any number."),
        ((0, None), (0, 5), BREAKING, "“mood” must now be 0 to 5; before, it could be at least 0."),
        ((1, 500), (1.0, 1000.0), HARMLESS, "“mood” can now be 1 to 1000; before, it had to be 1 to 500."),
        ((None, 0.5), (None, None), HARMLESS, "“mood” can now be any number; before, it had to be at most 0.5."),
    ],
)
def test_another_range(old: Any, new: Any, weight: Weight, sentence: str) -> None:
    change = one_change(*({**NUMBER, "minimum": least, "maximum": most} for least, most in (old, new)))

    assert (change.aspect, change.weight, change.sentence) == (Aspect.RANGE, weight, sentence)


@pytest.mark.parametrize(
    ("old", "new", "aspect", "weight", "sentence"),
    [
        ({**NUMBER, "minimum": 0}, {**NUMBER, "exclusiveMinimum": 0}, Aspect.RANGE, BREAKING,
         "“mood” must now be more than 0; before, it could be at least 0."),
        ({**NUMBER, "maximum": 1, "exclusiveMaximum": True}, {**NUMBER, "maximum": 1}, Aspect.RANGE, HARMLESS,
         "“mood” can now be at most 1; before, it had to be less than 1."),
        ({**NUMBER, "exclusiveMinimum": 0, "maximum": 2}, {**NUMBER, "exclusiveMinimum": 0, "maximum": 1}, Aspect.RANGE,
         BREAKING, "“mood” must now be more than 0 and at most 1; before, it could be more than 0 and at most 2."),
        (INTEGER, {**INTEGER, "multipleOf": 8}, Aspect.STEP, BREAKING,
         "“mood” must now be a multiple of 8; before, it could be any number."),
        ({**INTEGER, "multipleOf": 64}, {**INTEGER, "multipleOf": 8}, Aspect.STEP, HARMLESS,
         "“mood” can now be a multiple of 8; before, it had to be a multiple of 64."),
        ({**INTEGER, "multipleOf": 10**400}, {**INTEGER, "multipleOf": 0.5}, Aspect.STEP, HARMLESS,
         f"“mood” can now be a multiple of 0.5; before, it had to be a multiple of 1{'0' * 99}…."),
        ({**INTEGER, "multipleOf": 8}, {**INTEGER, "multipleOf": 64}, Aspect.STEP, BREAKING,
         "“mood” must now be a multiple of 64; before, it could be a multiple of 8."),
        (TEXT, {**TEXT, "maxLength": 500}, Aspect.LENGTH, BREAKING,
         "“mood” must now have at most 500 characters; before, it could have any number of characters."),
        ({**TEXT, "minLength": 1}, {**TEXT, "minLength": 0}, Aspect.LENGTH, HARMLESS,
         "“mood” can now have any number of characters; before, it had to have at least 1 character."),
        ({"type": "array", "maxItems": 5}, {"type": "array", "minItems": 1, "maxItems": 4}, Aspect.LENGTH, BREAKING,
         "“mood” must now have 1 to 4 items; before, it could have at most 5 items."),
        (TEXT, {**TEXT, "pattern": "^[a-z]+$"}, Aspect.PATTERN, BREAKING,
         "“mood” must now match the pattern “^[a-z]+$”."),
        ({**TEXT, "pattern": "^[a-z]+$"}, TEXT, Aspect.PATTERN, HARMLESS,
         "“mood” need no longer match the pattern “^[a-z]+$”."),
        ({**TEXT, "nullable": True}, TEXT, Aspect.NULL, BREAKING, "“mood” can no longer be empty (null)."),
        (TEXT, {**TEXT, "nullable": True}, Aspect.NULL, HARMLESS, "“mood” can now be empty (null)."),
        (TEXT, {**TEXT, "deprecated": True}, Aspect.DEPRECATED, NOTABLE,
         "“mood” is now deprecated: a later version may do without it."),
        ({**TEXT, "deprecated": True}, TEXT, Aspect.DEPRECATED, HARMLESS, "“mood” is no longer deprecated."),
    ],
)  # fmt: skip
def test_other_limits(old: Any, new: Any, aspect: Aspect, weight: Weight, sentence: str) -> None:
    change = one_change(old, new)

    assert (change.aspect, change.weight, change.sentence) == (aspect, weight, sentence)


def test_no_lower_limit_of_a_length_is_one_of_nothing() -> None:
    assert compare(version({"mood": TEXT}), version({"mood": {**TEXT, "minLength": 0}})) == []


# Defaults


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ({"default": 0.7}, {"default": 1.0}, "The default of “mood” changes from 0.7 to 1.0."),
        ({"default": False}, {"default": True}, "The default of “mood” changes from no to yes."),
        ({"default": 1}, {"default": True}, "The default of “mood” changes from 1 to yes."),
        ({"default": "5"}, {"default": 5}, "The default of “mood” changes from “5” to 5."),
        ({"default": []}, {"default": {"a": [None]}}, 'The default of “mood” changes from [] to {"a": [null]}.'),
        ({}, {"default": 5}, "“mood” now has a default: 5."),
        ({"default": None}, {"default": ""}, "“mood” now has a default: “”."),
        ({"default": 5}, {}, "“mood” no longer has a default; it was 5."),
        ({"default": "a\tb"}, {"default": "a b"}, "The default of “mood” changes."),
    ],
)
def test_another_default(old: Any, new: Any, sentence: str) -> None:
    change = one_change(old, new)

    assert (change.aspect, change.weight, change.sentence) == (Aspect.DEFAULT, NOTABLE, sentence)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"default": None}),
        ({"default": 1}, {"default": 1.0}),
        ({"default": [1]}, {"default": [1]}),
        ({"default": float("nan")}, {"default": float("-nan")}),
        ({"default": 10**400}, {"default": 10**400}),
    ],
)
def test_the_same_default_in_other_words(old: Any, new: Any) -> None:
    assert compare(version({"mood": old}), version({"mood": new})) == []


def test_a_long_default_is_shown_where_it_differs() -> None:
    prompt = "You are a pirate. " * 1000

    change = one_change({"default": prompt + "Sing." + prompt}, {"default": prompt + "Be brief.\n" + prompt})

    assert change.before.startswith("“…. You are a pirate. Sing.")
    assert "Be brief.↵You" in change.after
    assert len(change.sentence) < 300


def test_a_long_list_is_cut() -> None:
    change = one_change({"default": [{"role": "user"}] * 100_000}, {"default": []})

    assert change.before.startswith('[{"role": "user"}, {"role": "user"}')
    assert change.before.endswith("…")
    assert len(change.before) < 110


def test_secrets_are_not_shown() -> None:
    old, new = ({**SECRET, "default": default} for default in ("hunter2", "hunter3"))
    keys = {"type": "array", "items": SECRET}

    told = [
        *compare(version({"key": old}), version({"key": new}), used={"key": "hunter4"}),
        *compare(version({"key": old}), version({"key": {**TEXT, "default": "hunter3"}})),
        *compare(version({"key": old}), version({"other": new}), used={"key": "hunter4"}),
        *compare(version({"key": {**TEXT, "default": "hunter3"}}), version({"key": SECRET})),
        *compare(version({"key": keys}), version({"key": {**keys, "default": ["hunter5"]}})),
        *compare(version({"key": keys}), version({}), used={"key": ["hunter5"]}),
    ]

    assert "hunter" not in str(told)
    assert one_change(old, new).sentence == "The default of “mood” changes."
    assert one_change(SECRET, new).sentence == "“mood” now has a default: •••."
    assert [change.hit for change in told if change.hit] == ["It is set today."] * 2


# How it is shown


def test_another_title_and_description() -> None:
    title = one_change({**TEXT, "title": "Mood"}, {**TEXT, "title": "Feeling"})
    description = one_change({**TEXT, "description": "How it is."}, TEXT)

    assert title == Change(
        "mood", Aspect.TITLE, HARMLESS, "“mood” is now called “Feeling”, before “Mood”.", "Mood", "Feeling"
    )
    assert description == Change(
        "mood", Aspect.DESCRIPTION, HARMLESS, "The description of “mood” changes.", "How it is."
    )


def test_another_order_is_told_once() -> None:
    old = {name: {"x-order": order} for order, name in enumerate(["a", "b", "c"])}
    new = {name: {"x-order": order} for order, name in enumerate(["c", "a", "b"])}

    assert compare(version(old), version(new)) == [
        Change("", Aspect.ORDER, HARMLESS, "The inputs are listed in another order.", "“a”, “b”, “c”", "“c”, “a”, “b”")
    ]


def test_an_input_between_others_does_not_change_their_order() -> None:
    changes = compare(
        version({"a": {"x-order": 0}, "c": {"x-order": 1}}),
        version({"a": {"x-order": 0}, "b": {"x-order": 1}, "c": {"x-order": 2}}),
    )

    assert aspects(changes) == [("b", Aspect.ADDED)]


# The version as a whole


@pytest.mark.parametrize(
    ("old", "new", "weight", "sentence"),
    [
        (STREAM, TEXT, BREAKING, "The output was one text in parts and is now one text at the end."),
        (TEXT, STREAM, NOTABLE, "The output was one text at the end and is now one text in parts."),
        (FILE, {"type": "array", "items": FILE}, BREAKING, "The output was a file and is now files."),
        (TEXT, {"type": "object"}, BREAKING, "The output was one text at the end and is now JSON."),
        (TEXT, None, BREAKING, "The output was one text at the end and is now not described."),
        (None, TEXT, NOTABLE, "The output was not described and is now one text at the end."),
    ],
)
def test_another_output(old: Any, new: Any, weight: Weight, sentence: str) -> None:
    (change,) = compare(version({"mood": TEXT}, output=old), version({"mood": TEXT}, output=new))

    assert (change.input, change.aspect, change.weight, change.sentence) == ("", Aspect.OUTPUT, weight, sentence)


def test_streaming_goes_and_comes() -> None:
    streamed, whole = version(is_streaming=True), version()

    assert compare(streamed, whole) == [
        Change(
            "",
            Aspect.STREAMING,
            BREAKING,
            "Answers are no longer streamed: they may appear all at once, at the end.",
            "yes",
            "no",
        )
    ]
    assert compare(whole, streamed) == [
        Change("", Aspect.STREAMING, HARMLESS, "Answers are now streamed.", "no", "yes")
    ]


@pytest.mark.parametrize("nothing", [None, {}, [], "", {"components": {"schemas": {"Input": {}}}}])
def test_a_version_that_does_not_describe_itself_is_not_taken_for_one_without_inputs(nothing: Any) -> None:
    sentence = "The {} version does not say what it takes, so nothing can be compared: try it before you pin."

    assert compare(nothing, REAL["smollm2"]) == [Change("", Aspect.SCHEMA, NOTABLE, sentence.format("old"))]
    assert compare(REAL["smollm2"], nothing) == [Change("", Aspect.SCHEMA, NOTABLE, sentence.format("new"))]
    assert compare(nothing, None) == []


def test_what_breaks_is_first_and_then_it_goes_by_the_order_of_the_inputs() -> None:
    old = {"e": {**NUMBER, "default": 1}, "d": INTEGER, "c": INTEGER, "b": {"title": "Old"}, "a": NUMBER}
    new = {"e": {**NUMBER, "default": 2}, "d": NUMBER, "b": {"title": "New"}, "a": INTEGER}
    for properties in (old, new):
        for name, schema in properties.items():
            properties[name] = {**schema, "x-order": "abcde".index(name)}

    changes = compare(version(old), version(new, output=TEXT))

    assert [(change.weight, change.input, change.aspect) for change in changes] == [
        (BREAKING, "", Aspect.OUTPUT),
        (BREAKING, "a", Aspect.TYPE),
        (BREAKING, "c", Aspect.REMOVED),
        (NOTABLE, "e", Aspect.DEFAULT),
        (HARMLESS, "b", Aspect.TITLE),
        (HARMLESS, "d", Aspect.TYPE),
    ]


# What is set today


@pytest.mark.parametrize(
    ("old", "new", "value", "hit"),
    [
        (NUMBER, INTEGER, 0.5, "It is set to 0.5 today."),
        (NUMBER, INTEGER, 2, ""),
        (NUMBER, INTEGER, 2.0, ""),
        (NUMBER, INTEGER, True, "It is set to yes today."),
        (TEXT, MOODS, "merry", "It is set to “merry” today."),
        (TEXT, MOODS, "sad", ""),
        (TEXT, FILE, "a cat", "It is set to “a cat” today."),
        (TEXT, FILE, "https://example.com/cat.png", ""),
        (MOODS, {"enum": ["glad"]}, "grim", "It is set to “grim” today."),
        (MOODS, {"enum": ["glad"]}, "glad", ""),
        (NUMBER, {**NUMBER, "maximum": 1}, 1.5, "It is set to 1.5 today."),
        (NUMBER, {**NUMBER, "maximum": 1}, 1, ""),
        (TEXT, {**TEXT, "maxLength": 3}, "long", "It is set to “long” today."),
        (TEXT, {**TEXT, "pattern": "a"}, "b", "It is set to “b” today."),
        ({**TEXT, "nullable": True}, TEXT, None, "It is set to nothing today."),
        ({**TEXT, "nullable": True}, TEXT, "glad", ""),
        ({**LIST, "items": TEXT}, {**LIST, "items": INTEGER}, [1, "b"], 'It is set to [1, "b"] today.'),
        ({**LIST, "items": TEXT}, {**LIST, "items": INTEGER}, [1, 2], ""),
        ({"default": 1}, {"default": 2}, 3, ""),
        (INTEGER, NUMBER, "odd", ""),
    ],
)  # fmt: skip
def test_what_is_set_today_and_would_be_refused(old: Any, new: Any, value: Any, hit: str) -> None:
    assert one_change(old, new, used={"mood": value}).hit == hit
    assert one_change(old, new, used={"other": value}).hit == ""


def test_what_is_set_today_and_gone_is_told_first() -> None:
    old = {"a": {**NUMBER, "x-order": 0}, "b": {**NUMBER, "x-order": 1}}

    changes = compare(version({**old, "c": TEXT}), version({"c": TEXT}), used={"b": 1})

    assert [(change.input, change.hit) for change in changes] == [("b", "It is set to 1 today."), ("a", "")]


def test_an_input_that_becomes_required_does_not_hit_whoever_sets_it() -> None:
    (change,) = compare(version({"mood": TEXT}), version({"mood": TEXT}, required=["mood"]), used={"mood": "glad"})

    assert change.weight == BREAKING
    assert change.hit == ""


# Anything else


def test_there_is_an_end_to_what_is_told() -> None:
    old, new = ({f"{letter}{number}": TEXT for number in range(2 * MOST_CHANGES)} for letter in "ab")

    changes = compare(version({**old, "z": {"default": 1}}), version({**new, "z": {"default": 2}}))

    assert len(changes) == MOST_CHANGES
    assert {change.aspect for change in changes} == {Aspect.REMOVED}


def test_names_and_values_can_be_shown_whatever_they_hold() -> None:
    name = "\ud800\u202e<b>\n" + "n" * 10_000

    for change in compare(version({name: TEXT, "mood": TEXT}), version({"mood": TEXT}), used={name: "\x00\ud800"}):
        told = " ".join((change.input, change.sentence, change.before, change.after, change.hit))
        assert told.isprintable()
        assert len(told) < 500


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_values_of_any_depth_are_compared(wrap: Callable[[Any], Any]) -> None:
    one: Any = 1
    same: Any = 1
    other: Any = 2
    for _ in range(100_000):
        one, same, other = wrap(one), wrap(same), wrap(other)

    assert compare(version({"mood": {"default": one}}), version({"mood": {"default": same}})) == []
    assert one_change({"default": one}, {"default": other}).aspect == Aspect.DEFAULT
    assert compare(version({"mood": TEXT}), version({"a": TEXT}), used={"mood": one})[0].hit.endswith("… today.")


@given(documents)
def test_no_document_differs_from_itself(document: Any) -> None:
    assert compare(document, copy.deepcopy(document)) == []


@given(documents, documents, st.dictionaries(words, anything) | st.none())
def test_no_pair_of_documents_is_too_strange(old: Any, new: Any, used: Any) -> None:
    there, back = compare(old, new, used=used), compare(new, old)

    assert aspects(there) == sorted((change.input, OTHER_SIDE.get(change.aspect, change.aspect)) for change in back)
    assert [change.weight for change in there] == sorted((change.weight for change in there), key=list(Weight).index)
    for change in there:
        texts = astuple(change)
        assert all(text.isprintable() for text in texts)
        assert sum(map(len, texts)) < MOST_LETTERS
