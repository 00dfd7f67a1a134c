"""A conversation as the input of a model, from what the version's schema says it takes. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictions.schema import Input, InputKind

CONTEXT_LENGTH = 8_000  # tokens, where nobody has said how many a model takes
CHARACTERS_PER_TOKEN = 4  # English prose; the model's own host counts exactly
# Inputs that only language models have: with one of them, a prompt can hold a whole conversation.
LANGUAGE_MODEL_INPUTS = {"messages", "system_prompt", "max_tokens", "max_new_tokens", "temperature", "top_p"}
TEXT_INPUTS = ("prompt", "text", "question", "query", "input")
TEXT_KINDS = {InputKind.TEXT, InputKind.ANY}
MESSAGES_KINDS = {InputKind.LIST, InputKind.ANY, InputKind.TEXT}  # as a text they are JSON


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said: `role` is `user` or `assistant`."""

    role: str
    text: str


def build_input(
    inputs: Mapping[str, Input],
    turns: Sequence[Turn],
    *,
    system_prompt: str = "",
    default_input: Mapping[str, Any] | None = None,
    context_length: int | None = None,
) -> dict[str, Any]:
    """Return the input that asks a model to continue after the last of `turns`.

    `inputs` are what the version takes, by name and in order; without any, nothing is known of it and it is given a
    `prompt`. `default_input` is sent whatever they are. Old turns are left out, whole, where all would be more than
    `context_length` tokens; the last one always stays.
    """
    built = dict(default_input or {})
    if system_prompt and "system_prompt" in inputs:
        built["system_prompt"] = system_prompt
    room = (context_length or CONTEXT_LENGTH) * CHARACTERS_PER_TOKEN - len(system_prompt)
    kept = _newest(turns, room)
    if "messages" in inputs and inputs["messages"].kind in MESSAGES_KINDS:
        built["messages"] = _as_messages(kept, inputs, system_prompt)
    elif text_input := _text_input(inputs):
        built[text_input] = _as_prompt(kept, inputs)
    return built


def _newest(turns: Sequence[Turn], room: int) -> list[Turn]:
    """Keep the newest turns that fit into `room` characters, beginning with a question."""
    spoken = [turn for turn in turns if turn.text]
    kept = [spoken[-1]]
    room -= len(kept[0].text)
    for turn in reversed(spoken[:-1]):
        room -= len(turn.text)
        if room < 0:
            break
        kept.append(turn)
    while len(kept) > 1 and kept[-1].role != "user":
        kept.pop()
    return kept[::-1]


def _as_messages(turns: Sequence[Turn], inputs: Mapping[str, Input], system_prompt: str) -> list[dict[str, str]] | str:
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    if system_prompt and "system_prompt" not in inputs:
        messages.insert(0, {"role": "system", "content": system_prompt})
    return json.dumps(messages, ensure_ascii=False) if inputs["messages"].kind == InputKind.TEXT else messages


def _text_input(inputs: Mapping[str, Input]) -> str | None:
    """Find the input that takes the question: by its usual names, else the first that takes text."""
    if not inputs:
        return "prompt"
    for name in TEXT_INPUTS:
        if name in inputs and inputs[name].kind in TEXT_KINDS:
            return name
    texts = (name for name, each in inputs.items() if each.kind == InputKind.TEXT)
    return next((name for name in texts if name not in LANGUAGE_MODEL_INPUTS), None)


def _as_prompt(turns: Sequence[Turn], inputs: Mapping[str, Input]) -> str:
    """Write the turns as one text; a model that holds no conversations is asked the last question alone."""
    question = turns[-1].text
    if len(turns) == 1 or not LANGUAGE_MODEL_INPUTS & inputs.keys():
        return question
    names = {"user": "User", "assistant": "Assistant"}
    lines = [f"{names[turn.role]}: {turn.text}" for turn in turns]
    return "\n\n".join([*lines, "Assistant:"])
