"""What a test may ask of the fake: the script of a prediction, and the faults at the doors it is asked through.

A script is a list of steps that the prediction takes after it has started:

    "text"  or  Output(...)   one chunk of output, in the stream and in the snapshot
    Logs(...)                 a piece of the log
    Event(...)                an event of the stream only
    Raw(...)                  bytes of the stream only
    Disconnect(...)           ends the connection of the first reader that comes to it
    Gate()                    waits until the test opens the gate
    0.02                      waits that many seconds

A fault spoils one request. `None` in a list of faults lets one request pass.
"""

import asyncio
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

WAIT_LIMIT = 10.0  # seconds a test waits for the fake before it fails
RECORDED_ERRORS = Path(__file__).parent.parent / "data/replicate/replicate-error-bodies.json"
TERMINAL = ("succeeded", "failed", "canceled", "aborted")

Ending = Literal["close", "reset", "end"]
"""How a connection ends: without the rest, with a reset (what was sent may be lost too), or as if all were said."""


class Gate:
    """A place in a script that nothing passes until the test opens it. Any thread may open it; it stays open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._is_open = False
        self._waiting: list[asyncio.Future[None]] = []

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            for opened in self._waiting:
                opened.get_loop().call_soon_threadsafe(_resolve, opened)
            self._waiting.clear()

    def wait_reached(self, timeout: float = WAIT_LIMIT) -> None:
        """Block until somebody stands at the gate (or has passed it); raise TimeoutError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise TimeoutError("nobody came to the gate")

    async def wait_open(self) -> None:
        opened = asyncio.get_running_loop().create_future()
        with self._lock:
            self._reached.set()
            if self._is_open:
                return
            self._waiting.append(opened)
        try:
            await opened
        finally:
            self._forget(opened)

    def _forget(self, opened: "asyncio.Future[None]") -> None:
        # A loop that has ended must not be called when the gate opens later.
        with self._lock:
            if opened in self._waiting:
                self._waiting.remove(opened)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def pause(how_long: "Gate | float") -> None:
    if isinstance(how_long, Gate):
        await how_long.wait_open()
    else:
        await asyncio.sleep(how_long)


# Steps


@dataclass(frozen=True, slots=True)
class Output:
    value: Any  # any JSON; a stream carries it as text
    id: str | None = None  # of the stream's event; None makes one as Replicate does
    streamed: bool = True  # False: in the snapshot only


@dataclass(frozen=True, slots=True)
class Logs:
    text: str
    streamed: bool = False  # a `logs` event is known to the official clients only; no recording shows one


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnect:
    how: Ending = "close"


Step = str | Output | Logs | Event | Raw | Disconnect | Gate | float


# Faults


@dataclass(frozen=True, slots=True)
class Answer:
    """Another answer than the true one; with `handled`, what was asked is done all the same."""

    status: int
    body: Any = ""  # bytes or text as they are, anything else as JSON
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    handled: bool = False

    def content(self) -> bytes:
        match self.body:
            case bytes():
                return self.body
            case str():
                return self.body.encode()
            case _:
                return json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Cut:
    """The true answer, cut after that many bytes of its body; None: not even a status line is sent."""

    after: int | None = None
    how: Ending = "close"
    handled: bool = True  # False: what was asked is not done

    def __post_init__(self) -> None:
        if self.after is None and self.how == "end":
            raise ValueError("an answer that was not begun cannot be brought to an end")


@dataclass(frozen=True, slots=True)
class Hang:
    """No byte, until the client goes."""

    handled: bool = True


@dataclass(frozen=True, slots=True)
class Late:
    """The true answer, once the gate is open; what was asked is done before."""

    gate: Gate
    handled: bool = True


@dataclass(frozen=True, slots=True)
class WrongLength:
    """The true body under a `content-length` that is not its own; None: without one."""

    length: int | None
    handled: bool = True


Fault = Answer | Cut | Hang | Late | WrongLength


def recorded_errors(status: int) -> list[Answer]:
    """The error answers with this status that were recorded, documented or reported by users, in the file's order."""
    return [
        Answer(status, entry["body"], entry.get("content_type", "application/problem+json"))
        for entry in json.loads(RECORDED_ERRORS.read_text())
        if entry["http"] == status
    ]


[_NO_TRAINING, NOT_FOUND, _NO_FILE] = recorded_errors(404)
# No body of a 5xx is on record; the edge in front of the service speaks HTML.
_HTML = "text/html; charset=UTF-8"
BAD_GATEWAY: Final = Answer(502, "<html><body>502 Bad Gateway</body></html>", _HTML)
SERVICE_UNAVAILABLE: Final = Answer(503, "<html><body>503 Service Unavailable</body></html>", _HTML)

AS_STREAMED: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the next prediction does."""

    chunks: Sequence[str] = ("Hello", ",", " world", ".")
    steps: Iterable[Step] | None = None  # instead of chunks
    status: str = "succeeded"  # at the end of the steps; "aborted": instead of them
    error: str | None = None
    output: Any = AS_STREAMED  # the final output; AS_STREAMED: the list of what the steps put out
    logs: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)  # beside predict_time and total_time

    boot: Gate | float = 0  # how long it stays `starting`
    lag: Gate | float = 0  # from the stream's end until GET tells the end
    stream: bool | str = True  # False: no `urls.stream`; a text: that address instead of the true one
    done: bool = True  # False: the stream ends without a word
    resume_shift: int = 0  # events that `Last-Event-ID` repeats (below 0) or skips (above)
    ignores_cancel: bool = False

    webhooks: Literal["auto", "held"] = "auto"  # held: they are noted as due, and sent by the test if by anybody
    echo_webhook: bool = False  # whether answers repeat `webhook`; recorded ones do not, yet users have seen it

    model: str | None = None  # the name answered, when it is not the one asked for
    version: str | None = None  # likewise

    on_create: Fault | None = None
    on_get: Sequence[Fault | None] = ()  # for the first GETs, one each; likewise below
    on_stream: Sequence[Fault | None] = ()
    on_cancel: Sequence[Fault | None] = ()

    def __post_init__(self) -> None:
        if self.status not in TERMINAL:
            raise ValueError(f"a script ends in one of {TERMINAL}, not in {self.status!r}")
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("status='failed' and error=... go together")

    def plan(self) -> Iterable[Step]:
        return self.chunks if self.steps is None else self.steps
