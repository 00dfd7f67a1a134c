"""A conversation as the input of a model, from what the version's schema says it takes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONTEXT_LENGTH = 8_000  # tokens, where nobody has said how many a model takes
CHARACTERS_PER_TOKEN = 4  # English prose; the model's own host counts exactly
# Inputs that only language models have: with one of them, a prompt can hold a whole conversation.
LANGUAGE_MODEL_INPUTS = {"system_prompt", "max_tokens", "max_new_tokens", "temperature", "top_p"}
TEXT_INPUTS = ("prompt", "text", "question", "query", "input")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said: `role` is `user` or `assistant`."""

    role: str
    text: str


def build_input(
    properties: Mapping[str, Any],
    turns: Sequence[Turn],
    *,
    system_prompt: str = "",
    default_input: Mapping[str, Any] | None = None,
    context_length: int | None = None,
) -> dict[str, Any]:
    """Return the input that asks a model to continue after the last of `turns`.

    `properties` are the JSON schemas of the model's inputs by name. Old turns are left out, whole, where all
    would be more than `context_length` tokens; the last one always stays.
    """
    built = dict(default_input or {})
    has_system_prompt = "system_prompt" in properties
    if has_system_prompt and system_prompt:
        built["system_prompt"] = system_prompt
    room = (context_length or CONTEXT_LENGTH) * CHARACTERS_PER_TOKEN - len(system_prompt)
    kept = _newest(turns, room)
    if _takes_messages(properties):
        messages = [{"role": turn.role, "content": turn.text} for turn in kept]
        if system_prompt and not has_system_prompt:
            messages.insert(0, {"role": "system", "content": system_prompt})
        built["messages"] = messages
    else:
        built[_text_input(properties)] = _as_prompt(kept, properties)
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


def _takes_messages(properties: Mapping[str, Any]) -> bool:
    messages = properties.get("messages")
    return isinstance(messages, dict) and messages.get("type", "array") == "array"


def _text_input(properties: Mapping[str, Any]) -> str:
    """Find the input that takes the question: by its usual names, else the first that takes text."""
    for name in TEXT_INPUTS:
        if name in properties:
            return name
    texts = [
        (schema.get("x-order", 1_000), name)
        for name, schema in properties.items()
        if isinstance(schema, dict) and schema.get("type") == "string" and "format" not in schema
    ]
    return min(texts)[1] if texts else "prompt"


def _as_prompt(turns: Sequence[Turn], properties: Mapping[str, Any]) -> str:
    """Write the turns as one text; a model that holds no conversations is asked the last question alone."""
    question = turns[-1].text
    if len(turns) == 1 or not LANGUAGE_MODEL_INPUTS & properties.keys():
        return question
    names = {"user": "User", "assistant": "Assistant"}
    lines = [f"{names[turn.role]}: {turn.text}" for turn in turns]
    return "\n\n".join([*lines, "Assistant:"])
