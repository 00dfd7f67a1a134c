"""The fake itself: the API, served, and the strings that a test pulls."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from .api import Api
from .ledger import Delivery
from .scripts import Fault, Script
from .server import LoopbackServer
from .throttle import Allowance, Form, Throttle

TOKEN = "r8_a_token_for_tests_only"
HELLO = Script()


class FakeReplicate(Api):
    """A fake of Replicate's API that answers on a loopback port while the `with` block runs.

    At the block's end, whatever still runs is stopped, and what went wrong inside the fake itself is raised.
    """

    def __init__(self, *, token: str = TOKEN, default: Script | Callable[[Any], Script] = HELLO) -> None:
        super().__init__(token=token, default=default)
        self._server = LoopbackServer(self)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.__exit__(kind, error, traceback)

    @property
    def origin(self) -> str:
        """Where the official client is pointed: it adds `/v1/...` itself."""
        return self._server.origin

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        return self._server.connections

    @property
    def failures(self) -> list[BaseException]:
        """What went wrong inside the fake so far."""
        return self._server.failures

    def script(self, *scripts: Script) -> None:
        """Queue scripts: each create that is in order takes the next, then `default`."""
        self._scripts.extend(scripts)

    def fail(self, door: str, *faults: Fault | None) -> None:
        """Spoil the next requests to this door, one fault each; the names are those in the tables of doors."""
        if door not in {name for _, _, name, _ in self.doors}:
            raise ValueError(f"there is no door {door!r}")
        self._faults[door].extend(faults)

    def webhooks_of(self, prediction_id: str) -> list[Delivery]:
        """The webhooks that were due so far, whether they were sent or not."""
        return list(self.ledger.of(prediction_id).webhooks)

    def output_file(self, content: bytes, *, name: str = "out-0.png", content_type: str = "image/png") -> str:
        """Keep a file that a model is said to have put out, and return its address."""
        return self.origin + self._keep_output(content, name, content_type)

    def throttle(
        self,
        *,
        creates_per_minute: float = 600,
        burst: int | None = None,  # creates at once; None: those of a minute
        reads_per_minute: float = 3000,
        form: Form = "body",
    ) -> None:
        """Refuse what goes beyond, from now on; streams and output files are free."""
        creates = Allowance(creates_per_minute, creates_per_minute if burst is None else burst)
        self._throttle = Throttle(creates, Allowance(reads_per_minute, reads_per_minute), form)

    def refuse_token(self) -> None:
        self._refuses_token = True

    def accept_token(self) -> None:
        self._refuses_token = False

    def go_down(self) -> None:
        """Answer everything but streams as the edge in front of a dead service would; predictions go on."""
        self._is_down = True

    def come_back(self) -> None:
        self._is_down = False

    def run_out_of_credit(self) -> None:
        self._is_out_of_credit = True

    def pay(self) -> None:
        self._is_out_of_credit = False

    def strike_deadline(self, prediction_id: str) -> None:
        """Let the prediction's deadline come now: `aborted` before its start, `canceled` after."""
        self._server.call(self._strike_deadline, prediction_id)

    def remove_data(self, prediction_id: str) -> None:
        """Remove input, output, logs and stream, as happens an hour after the end."""
        self._server.call(self._remove_data, prediction_id)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self._server.spawn(work)
