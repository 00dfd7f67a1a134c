"""What goes back over the wire: true answers, refusals, and what a fault makes of them."""

import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .ledger import Call, StreamRead
from .scripts import Answer, Cut, Disconnect, Fault, Gate, Hang, Late, WrongLength, recorded_errors

_, _INVALID_INPUT, _ = recorded_errors(422)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: when, and how much of it."""

    status: int
    body: bytes | AsyncGenerator[bytes | Disconnect, None]
    headers: Mapping[str, str]
    tells_limits: bool = False  # whether `ratelimit-remaining` and `ratelimit-reset` go with it
    late: Gate | None = None
    cut: Cut | None = None
    wrong_length: WrongLength | None = None
    read: StreamRead | None = None

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        length = self._content_length()
        headers = dict(self.headers) | ({} if length is None else {"content-length": str(length)})
        if self.is_misframed:
            headers["connection"] = "close"  # nobody should take the rest for the next answer
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _content_length(self) -> int | None:
        if self.wrong_length:
            return self.wrong_length.length
        if self.status == 204 or not isinstance(self.body, bytes) or (self.cut and self.cut.how == "end"):
            return None
        return len(self.body)

    @property
    def is_misframed(self) -> bool:
        """Whether the body must go past the keeper of HTTP's rules."""
        return self.wrong_length is not None and self.wrong_length.length is not None

    async def pieces(self) -> AsyncGenerator[bytes | Disconnect, None]:
        if isinstance(self.body, bytes):
            yield self.body
            return
        async with aclosing(self.body) as body:
            async for piece in body:
                yield piece


NO_REPLY = Reply(500, b"", {})  # to what never reached its door


class Refused(Exception):
    """The request ends with an error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    headers = {"content-type": "application/json"} | dict(headers or {})
    return Reply(status, json.dumps(value).encode(), headers, tells_limits=True)


def answer_reply(answer: Answer) -> Reply:
    return Reply(answer.status, answer.content(), {"content-type": answer.content_type, **answer.headers})


def origin_of(call: Call) -> str:
    """Return where the client came to, as it knows that place."""
    return f"http://{call.headers['host']}"


def spoil(fault: Fault | None, reply: Reply) -> Reply:
    match fault:
        case None:
            return reply
        case Answer():
            return replace(answer_reply(fault), read=reply.read)
        case Cut():
            return replace(reply, cut=fault)
        case Hang():
            return replace(reply, late=Gate())  # nobody will ever open it
        case Late():
            return replace(reply, late=fault.gate)
        case WrongLength():
            return replace(reply, wrong_length=fault)


def next_fault(faults: deque[Fault | None]) -> Fault | None:
    return faults.popleft() if faults else None


class Flaw(NamedTuple):
    """One thing that is wrong with a body."""

    kind: str
    field: str
    description: str


def invalid(*flaws: Flaw) -> Answer:
    """Make a 422 in the shape of the reported one."""
    return replace(
        _INVALID_INPUT,
        body={
            "detail": "".join(f"- {flaw.field}: {flaw.description}\n" for flaw in flaws),
            "status": 422,
            "title": "Input validation failed",
            "invalid_fields": [
                {"type": flaw.kind, "field": flaw.field, "description": flaw.description} for flaw in flaws
            ],
        },
    )
