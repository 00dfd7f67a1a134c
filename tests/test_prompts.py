"""A conversation as a model's input."""

import json
from pathlib import Path
from typing import Any

import pytest

from predictions.families import TEMPLATES, Family, family_of, merged
from predictions.prompts import Turn, build_input
from predictions.schema import Input, inputs_of

SCHEMAS = Path(__file__).parent / "data/schemas"
TURNS = [Turn("user", "Hi"), Turn("assistant", "Hello!"), Turn("user", "Who are you?")]
MESSAGES = [{"role": turn.role, "content": turn.text} for turn in TURNS]
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
LIST = {"type": "array"}


def inputs(**properties: Any) -> dict[str, Input]:
    return inputs_of({"components": {"schemas": {"Input": {"properties": properties}}}})


def recorded(name: str) -> dict[str, Input]:
    return inputs_of(json.loads((SCHEMAS / f"{name}.json").read_text()))


def build(takes: dict[str, Input], turns: list[Turn], ref: str = "", **said: Any) -> dict[str, Any]:
    """Build an input as for the model `ref`, of which no admin says anything."""
    return build_input(takes, turns, family=family_of(ref, takes), **said)


@pytest.mark.parametrize("schema", [LIST, {"anyOf": [LIST, {"type": "null"}]}, {}])
def test_messages_are_used_where_the_model_takes_them(schema: dict[str, Any]) -> None:
    built = build(inputs(prompt=TEXT, messages=schema), TURNS, system_prompt="Be brief.")

    assert built == {"messages": [{"role": "system", "content": "Be brief."}, *MESSAGES]}


def test_messages_that_are_a_text_are_written_as_json() -> None:
    turns = [*TURNS, Turn("assistant", "Parley."), Turn("user", "Schön.")]

    built = build(inputs(messages=TEXT), turns, system_prompt="Be brief.")

    assert built.keys() == {"messages"}
    assert json.loads(built["messages"]) == [
        {"role": "system", "content": "Be brief."},
        *MESSAGES,
        {"role": "assistant", "content": "Parley."},
        {"role": "user", "content": "Schön."},
    ]
    assert "Schön." in built["messages"]


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "integer"}, {"type": "string", "format": "uri"}])
def test_messages_of_another_kind_are_left_alone(schema: dict[str, Any]) -> None:
    built = build(inputs(messages=schema, prompt=TEXT), TURNS)

    assert built == {"prompt": "User: Hi\n\nAssistant: Hello!\n\nUser: Who are you?\n\nAssistant:"}


@pytest.mark.parametrize("messages", [LIST, TEXT])
def test_the_system_prompt_has_its_own_input_where_there_is_one(messages: dict[str, Any]) -> None:
    takes = inputs(prompt=TEXT, system_prompt=TEXT, temperature=NUMBER)

    built = build(takes, TURNS[:1], system_prompt="Be brief.", default_input={"temperature": 0})
    with_messages = build({**takes, **inputs(messages=messages)}, TURNS, system_prompt="Be brief.")

    assert built == {"prompt": "Hi", "system_prompt": "Be brief.", "temperature": 0}
    assert with_messages["system_prompt"] == "Be brief."
    assert "Be brief." not in str(with_messages["messages"])


def test_a_language_model_with_a_prompt_alone_gets_the_conversation_as_a_text() -> None:
    built = build(recorded("replicate-llama-2-70b-chat"), TURNS)

    assert built == {"prompt": "User: Hi\n\nAssistant: Hello!\n\nUser: Who are you?\n\nAssistant:"}


def test_a_model_that_holds_no_conversation_gets_the_question_alone() -> None:
    assert build(recorded("replicate-sdxl"), TURNS) == {"prompt": "Who are you?"}


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"caption": TEXT, "prompt": TEXT, "text": TEXT}, "prompt"),
        ({"caption": TEXT, "query": TEXT}, "query"),
        ({"caption": TEXT, "input": {}}, "input"),
        ({"caption": TEXT, "input": {"type": "string", "format": "uri"}}, "caption"),
        ({"caption": TEXT, "prompt": LIST}, "caption"),
        ({"system_prompt": TEXT, "caption": TEXT}, "caption"),
        ({"style": {"type": "string", "enum": ["a", "b"]}, "key": {"x-cog-secret": True}, "caption": TEXT}, "caption"),
        ({"negative": {**TEXT, "x-order": 2}, "caption": {**TEXT, "x-order": 1}}, "caption"),
    ],
)
def test_the_text_input_is_found_whatever_its_name(properties: dict[str, Any], name: str) -> None:
    assert build(inputs(**properties), TURNS[:1]) == {name: "Hi"}


def test_only_inputs_that_the_model_has_are_filled() -> None:
    assert build(inputs(image={"type": "string", "format": "uri"}), TURNS, system_prompt="Be brief.") == {}


def test_a_model_of_which_nothing_is_known_gets_a_prompt() -> None:
    assert build({}, TURNS, system_prompt="Be brief.") == {"prompt": "Who are you?"}


def test_the_admins_own_input_is_sent_whatever_the_model_says_it_takes() -> None:
    built = build(inputs(prompt=TEXT), TURNS, default_input={"mystery": [1], "prompt": "Not asked."})

    assert built == {"mystery": [1], "prompt": "Who are you?"}


def test_old_turns_make_room_and_the_question_always_stays() -> None:
    long = [Turn("user", "x" * 300), Turn("assistant", "y" * 300), *TURNS]
    takes = inputs(messages=LIST)

    assert build(takes, long, context_length=100)["messages"] == MESSAGES
    only = build(takes, [*TURNS, Turn("user", "z" * 5_000)], context_length=100)
    assert only["messages"] == [{"role": "user", "content": "z" * 5_000}]


def test_an_answer_without_text_is_left_out() -> None:
    turns = [Turn("user", "Hi"), Turn("assistant", ""), Turn("user", "Hello?")]

    built = build(inputs(messages=LIST), turns)

    assert [message["content"] for message in built["messages"]] == ["Hi", "Hello?"]


def test_what_a_model_thought_is_not_sent_back() -> None:
    turns = [
        Turn("user", "<think>Do you see this?</think> Hi"),
        Turn("assistant", "<think>\nA greeting.\n</think>\n\nHello!"),
        Turn("user", "Who are you?"),
        Turn("assistant", "They ask my name.\n</think>\nParley."),
        Turn("user", "Go on."),
        Turn("assistant", "<think>Hm"),
        Turn("user", "Well?"),
    ]

    built = build(inputs(messages=LIST), turns)

    assert [message["content"] for message in built["messages"]] == [
        "<think>Do you see this?</think> Hi",
        *("Hello!", "Who are you?", "Parley.", "Go on.", "Well?"),
    ]


def test_a_base_model_is_given_its_makers_layout() -> None:
    takes = inputs(prompt=TEXT, temperature=NUMBER)
    built = build(takes, TURNS[:1], ref="mistralai/mistral-7b-instruct-v0.2", system_prompt="Be brief.")
    assert built == {"prompt": "[INST] Be brief.\n\nHi [/INST]"}


def test_an_admins_word_counts_before_the_schemas() -> None:
    takes = inputs(prompt=TEXT, question=TEXT)
    family = merged(family_of("acme/oracle", takes), Family(prompt="question", prompt_template=TEMPLATES["ChatML"]))
    built = build_input(takes, TURNS[:1], system_prompt="Be brief.", family=family)
    assert built == {"question": TEMPLATES["ChatML"].format(prompt="Hi", system_prompt="Be brief.")}


def test_a_model_that_holds_little_in_mind_is_sent_less() -> None:
    takes = inputs(prompt=TEXT, temperature=NUMBER)
    long = [turn for n in range(40) for turn in (Turn("user", f"{n} " * 200), Turn("assistant", "ok"))]
    turns = [*long, Turn("user", "And?")]
    sent = {
        length: build_input(
            takes, turns, family=Family(prompt="prompt", temperature="temperature", context_length=length)
        )["prompt"]
        for length in (4_000, 1_000_000)
    }
    assert len(sent[4_000]) < 3_000 * 4
    assert 3_000 * 4 < len(sent[1_000_000]) < 8_000 * 4
