"""A conversation as the input of a model, from what the version's schema says it takes. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from predictions import families
from predictions.families import Family
from predictions.schema import Input, InputKind
from predictions.thoughts import split_thoughts

CONTEXT_LENGTH = 8_000  # tokens that are sent along where nobody has said how many; more is slow, and billed
SHARE_OF_CONTEXT = 0.75  # of what a model holds in mind: the answer needs room, too
CHARACTERS_PER_TOKEN = 4  # English prose; the model's own host counts exactly
# Inputs that only language models have: with one of them, a prompt can hold a whole conversation.
LANGUAGE_MODEL_INPUTS = {"messages", "system_prompt", "max_tokens", "max_new_tokens", "temperature", "top_p"}


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
    family: Family,
) -> dict[str, Any]:
    """Return the input that asks a model to continue after the last of `turns`.

    `inputs` are what the version takes, by name and in order; without any, nothing is known of it. `family` says what
    they are for. `default_input` is sent whatever they are. Old turns are left out, whole, where all would be more
    than `context_length` tokens; the last one always stays. What a model thought before its answers is left out.
    """
    built = dict(default_input or {})
    if system_prompt and family.system_prompt:
        built[family.system_prompt] = system_prompt
    room = (context_length or _usual_length(family)) * CHARACTERS_PER_TOKEN - len(system_prompt)
    kept = _newest([_without_thoughts(turn) for turn in turns], room)
    if family.messages:
        messages = _as_messages(kept, "" if family.system_prompt else system_prompt)
        is_text = family.messages in inputs and inputs[family.messages].kind == InputKind.TEXT
        built[family.messages] = json.dumps(messages, ensure_ascii=False) if is_text else messages
    elif family.prompt:
        text = _as_prompt(kept, inputs, family)
        template = family.prompt_template or families.UNTOUCHED
        built[family.prompt] = families.fill(template, prompt=text, system_prompt=system_prompt)
    return built


def holds_conversations(inputs: Mapping[str, Input], family: Family) -> bool:
    """Whether a model can be told what was said before its last question."""
    marks = family.system_prompt or family.max_tokens or family.temperature or family.top_p
    return bool(family.messages or (family.prompt and (marks or LANGUAGE_MODEL_INPUTS & inputs.keys())))


def _usual_length(family: Family) -> int:
    if family.context_length is None:
        return CONTEXT_LENGTH
    return min(CONTEXT_LENGTH, int(family.context_length * SHARE_OF_CONTEXT))


def _without_thoughts(turn: Turn) -> Turn:
    return replace(turn, text=split_thoughts(turn.text)[1]) if turn.role == "assistant" else turn


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


def _as_messages(turns: Sequence[Turn], system_prompt: str) -> list[dict[str, str]]:
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    return [{"role": "system", "content": system_prompt}, *messages] if system_prompt else messages


def _as_prompt(turns: Sequence[Turn], inputs: Mapping[str, Input], family: Family) -> str:
    """Write the turns as one text; a model that holds no conversations is asked the last question alone."""
    question = turns[-1].text
    if len(turns) == 1 or not holds_conversations(inputs, family):
        return question
    names = {"user": "User", "assistant": "Assistant"}
    lines = [f"{names[turn.role]}: {turn.text}" for turn in turns]
    return "\n\n".join([*lines, "Assistant:"])
