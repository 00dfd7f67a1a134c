"""The fake itself: the API, served, and the strings that a test pulls."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from .api import Api
from .scripts import Fault, Script
from .server import LoopbackServer

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
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        if error is None and self._server.failures:
            raise AssertionError("the fake itself failed") from self._server.failures[0]

    @property
    def origin(self) -> str:
        """Where the official client is pointed: it adds `/v1/...` itself."""
        return f"http://127.0.0.1:{self._server.port}"

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
        """Spoil the next requests to `list`, `account`, `model`, `versions` or `version`, one fault each."""
        self._faults[door].extend(faults)

    def strike_deadline(self, prediction_id: str) -> None:
        """Let the prediction's deadline come now: `aborted` before its start, `canceled` after."""
        self._server.call(self._strike_deadline, prediction_id)

    def remove_data(self, prediction_id: str) -> None:
        """Remove input, output, logs and stream, as happens an hour after the end."""
        self._server.call(self._remove_data, prediction_id)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self._server.spawn(work)
