"""What was asked of the fake, in order: the judge of "asked once", "cancelled", "nothing runs any more"."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .scripts import TERMINAL, WAIT_LIMIT

CALLS_KEPT = 10_000

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    at: float = field(default_factory=time.time)
    door: str | None = None  # its name, as in the tables of doors; None: there is none
    status: int | None = None  # what was answered; None: nothing (yet)
    was_throttled: bool = False

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class StreamRead:
    """One reader of a prediction's stream."""

    call: Call
    sent: int = 0  # bytes of the body
    ended: Literal["server", "client"] | None = None  # who ended it; None while it is open

    @property
    def last_event_id(self) -> str | None:
        return self.call.headers.get("last-event-id")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook that was due, with the signature it had at that time."""

    prediction_id: str
    event: str  # start output logs completed
    url: str  # as the create gave it
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.time)

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class WebhookSent:
    """One try to deliver, and how it was answered."""

    delivery: Delivery
    headers: Mapping[str, str]  # signed anew for each try
    status: int | None  # None: no answer
    at: float = field(default_factory=time.time)


@dataclass(slots=True)
class Created:
    """A prediction that exists, and what was done with it."""

    id: str
    call: Call
    status: str = "starting"
    started_at: float | None = None
    completed_at: float | None = None
    gets: int = 0
    cancels: int = 0
    streams: list[StreamRead] = field(default_factory=list)
    webhooks: list[Delivery] = field(default_factory=list)  # what was due, sent or not

    @property
    def body(self) -> Any:
        return self.call.json()

    @property
    def headers(self) -> Mapping[str, str]:
        return self.call.headers

    @property
    def is_running(self) -> bool:
        return self.status not in TERMINAL


class Ledger:
    """Written by the fake's thread, read by the test's. Each reading is a copy of the lists; the entries are live."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._created: dict[str, Created] = {}
        self._webhooks: list[WebhookSent] = []

    @property
    def calls(self) -> list[Call]:
        with self._changed:
            return list(self._calls)

    @property
    def created(self) -> list[Created]:
        with self._changed:
            return list(self._created.values())

    @property
    def webhooks(self) -> list[WebhookSent]:
        """What was sent, in the order in which it was answered."""
        with self._changed:
            return list(self._webhooks)

    @property
    def throttled(self) -> int:
        """How many requests were refused because there were too many."""
        return sum(call.was_throttled for call in self.calls)

    def of(self, prediction_id: str) -> Created:
        with self._changed:
            return self._created[prediction_id]

    def to(self, door: str) -> list[Call]:
        """The requests that came to this door, whatever became of them."""
        return [call for call in self.calls if call.door == door]

    def running(self) -> list[Created]:
        return [created for created in self.created if created.is_running]

    def ran(self) -> list[Created]:
        """Those that got beyond `starting`: what would be on the bill."""
        return [created for created in self.created if created.started_at is not None]

    def canceled(self) -> list[Created]:
        return [created for created in self.created if created.status == "canceled"]

    def wait_for(self, condition: Callable[["Ledger"], T], timeout: float = WAIT_LIMIT) -> T:
        """Block until `condition(ledger)` is true and return its result; raise TimeoutError after `timeout` seconds."""
        with self._changed:
            result = self._changed.wait_for(lambda: condition(self), timeout)
        if not result:
            raise TimeoutError("the ledger never showed what was waited for")
        return result

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Change entries within; whoever waits looks again afterwards."""
        with self._changed:
            yield
            self._changed.notify_all()

    def note_call(self, call: Call) -> None:
        with self.writing():
            self._calls.append(call)

    def note_created(self, created: Created) -> None:
        with self.writing():
            self._created[created.id] = created

    def note_due(self, delivery: Delivery) -> None:
        with self.writing():
            self._created[delivery.prediction_id].webhooks.append(delivery)

    def note_sent(self, sent: WebhookSent) -> None:
        with self.writing():
            self._webhooks.append(sent)
