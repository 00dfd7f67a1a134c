"""What SmolLM2 is asked: one list of messages, short enough for it. Pure: the caller's function counts the tokens.

The model's template writes each message as `<|im_start|>role`, the content and `<|im_end|>`, and opens the answer
with `<|im_start|>assistant`; each of these parts ends in a line break.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

ROLES = ("system", "user", "assistant")
WRAPPING = 5  # tokens that the template adds to a message
OPENING = 3  # tokens that open the answer


class Message(TypedDict):
    role: str
    content: str


def conversation(prompt: str, system_prompt: str, messages: Sequence[Any]) -> list[Message]:
    """Return the messages to answer: `messages` when given, else `prompt`; a system message is always the first.

    Raise ValueError, in words, when there is nothing to answer or a message is not one.
    """
    if messages:
        asked = [_message(number, message) for number, message in enumerate(messages, start=1)]
    elif prompt.strip():
        asked = [Message(role="user", content=prompt)]
    else:
        raise ValueError("There is nothing to answer: give a prompt, or messages.")
    if asked[-1]["role"] != "user":
        raise ValueError("There is nothing to answer: the last message must have the role user.")
    if asked[0]["role"] != "system":
        # Without one the chat template puts in its own, and the model answers simple questions wrongly.
        asked.insert(0, Message(role="system", content=system_prompt))
    return asked


def fit(messages: Sequence[Message], limit: int, count: Callable[[str], int]) -> list[Message]:
    """Drop the oldest turns until what remains is at most `limit` tokens; the system message and the question stay.

    `messages` come from `conversation`. Raise ValueError, in words, when these two alone are too long.
    """
    system, *turns, question = messages
    room = limit - OPENING - _size(system, count) - _size(question, count)
    if room < 0:
        raise ValueError(
            f"This message is too long: {limit - room:,} tokens with the system prompt. "
            f"The model reads at most {limit:,}, which are about 700 words."
        )
    kept: list[Message] = []
    for turn in reversed(turns):
        room -= _size(turn, count)
        if room < 0:
            break
        kept.insert(0, turn)
    # An answer whose question has been dropped would only confuse.
    while kept and kept[0]["role"] == "assistant" and len(kept) < len(turns):
        del kept[0]
    return [system, *kept, question]


def _message(number: int, message: Any) -> Message:
    # The server validates the schema, but does not notice a missing key inside of a list.
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise ValueError(f"Message {number} needs a role and a content, both text.")
    if message.get("role") not in ROLES:
        raise ValueError(f"Message {number} has no role that is known here: {', '.join(ROLES)}.")
    return Message(role=message["role"], content=message["content"])


def _size(message: Message, count: Callable[[str], int]) -> int:
    return WRAPPING + count(message["content"])
