"""A conversation as a model's input."""

from typing import Any

from chat.prompts import Turn, build_input

TURNS = [Turn("user", "Hi"), Turn("assistant", "Hello!"), Turn("user", "Who are you?")]
TEXT = {"type": "string"}


def test_messages_are_used_where_the_model_takes_them() -> None:
    properties = {"prompt": TEXT, "messages": {"type": "array"}}

    built = build_input(properties, TURNS, system_prompt="Be brief.")

    assert built == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Who are you?"},
        ]
    }


def test_the_system_prompt_has_its_own_input_where_there_is_one() -> None:
    properties = {"prompt": TEXT, "system_prompt": TEXT}

    built = build_input(properties, TURNS[:1], system_prompt="Be brief.", default_input={"temperature": 0})

    assert built == {"prompt": "Hi", "system_prompt": "Be brief.", "temperature": 0}


def test_a_language_model_with_a_prompt_alone_gets_the_conversation_as_a_text() -> None:
    built = build_input({"prompt": TEXT, "max_tokens": {"type": "integer"}}, TURNS)

    assert built["prompt"] == "User: Hi\n\nAssistant: Hello!\n\nUser: Who are you?\n\nAssistant:"


def test_a_model_that_holds_no_conversation_gets_the_question_alone() -> None:
    assert build_input({"prompt": TEXT, "seed": {"type": "integer"}}, TURNS) == {"prompt": "Who are you?"}


def test_the_text_input_is_found_whatever_its_name() -> None:
    properties: dict[str, Any] = {
        "image": {"type": "string", "format": "uri", "x-order": 0},
        "negative": {"type": "string", "x-order": 2},
        "caption": {"type": "string", "x-order": 1},
    }

    assert build_input(properties, TURNS) == {"caption": "Who are you?"}
    assert build_input({}, TURNS) == {"prompt": "Who are you?"}


def test_old_turns_make_room_and_the_question_always_stays() -> None:
    long = [Turn("user", "x" * 300), Turn("assistant", "y" * 300), *TURNS]
    properties = {"messages": {"type": "array"}}

    assert build_input(properties, long, context_length=100)["messages"] == [
        {"role": turn.role, "content": turn.text} for turn in TURNS
    ]
    only = build_input(properties, [*TURNS, Turn("user", "z" * 5_000)], context_length=100)
    assert only["messages"] == [{"role": "user", "content": "z" * 5_000}]


def test_an_answer_without_text_is_left_out() -> None:
    turns = [Turn("user", "Hi"), Turn("assistant", ""), Turn("user", "Hello?")]

    built = build_input({"messages": {"type": "array"}}, turns)

    assert [message["content"] for message in built["messages"]] == ["Hi", "Hello?"]
