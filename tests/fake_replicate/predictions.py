"""One prediction of the fake: its life by script, its stream, and what the API shows of it."""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from .catalogue import Target
from .ledger import Created, Ledger, StreamRead
from .scripts import AS_STREAMED, Disconnect, Event, Fault, Gate, Logs, Output, Raw, Script, Step, pause

STREAM_LIMIT = 32 * 1024 * 1024  # bytes of one stream; a script without end fails here instead of eating the memory
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def random_id(length: int) -> str:
    return "".join(random.choices(ALPHABET, k=length))


class Prediction:
    """The state; all of it is touched by the fake's own thread only."""

    def __init__(
        self,
        script: Script,
        target: Target,
        created: Created,
        ledger: Ledger,
        *,
        lifetime: timedelta | None,
        announce: Callable[["Prediction", str], None],
    ) -> None:
        self.id = created.id
        self.script = script
        self.record = created
        self.stream_key = random_id(52)
        self.created_at = datetime.now(UTC)
        self.started_at: datetime | None = None
        self.completed_at: datetime | None = None
        self.deadline = self.created_at + lifetime if lifetime else None
        self.data_removed = False
        self.ended = asyncio.Event()
        self.faults: dict[str, deque[Fault | None]] = {
            "get": deque(script.on_get),
            "stream": deque(script.on_stream),
            "cancel": deque(script.on_cancel),
        }
        self._target = target
        self._ledger = ledger
        self._announce = announce  # what a webhook may tell: start, output, logs, completed
        self._input = created.body["input"]
        self._output: list[Any] = []
        self._logs = ""
        self._error: str | None = None
        self._frames: list[tuple[str | None, bytes | Disconnect]] = []  # (event id, bytes)
        self._stream_size = 0
        self._stream_is_complete = False
        self._news = asyncio.Event()
        self._second, self._counter = 0, 0
        self._used: set[int] = set()  # the frames that have disconnected a reader

    # Life

    async def live(self) -> None:
        """Play the script. One that breaks ends the prediction, so that nobody waits for it, and is raised."""
        try:
            await self._play(self.script)
        except Exception:
            self._complete_stream()
            self._settle("failed", "the fake itself failed")
            raise

    async def _play(self, script: Script) -> None:
        await pause(script.boot)
        if script.status == "aborted":  # by its meaning: before it ran
            self.end("aborted")
            return
        self._start()
        for step in script.plan():
            await self._take(step)
            await asyncio.sleep(0)  # a long script leaves the loop to others
        if script.done:
            self._say_end(script.status, script.error)
        self._complete_stream()
        await pause(script.lag)
        self._settle(script.status, script.error)

    def end(self, status: str) -> None:
        """End it from outside (a cancel, the deadline); its life must have been stopped before."""
        if not self._stream_is_complete:
            self._say_end(status, None)
            self._complete_stream()
        self._settle(status, None)

    def remove_data(self) -> None:
        self._input, self._output, self._logs = {}, [], ""
        self.data_removed = True

    @property
    def status(self) -> str:
        return self.record.status

    async def _take(self, step: Step) -> None:
        match step:
            case Gate() | float() | int():
                await pause(step)
            case str():
                self._put_out(Output(step))
            case Output():
                self._put_out(step)
            case Logs():
                self._log(step.text)
                if step.streamed:
                    self._say(Event("logs", step.text))
            case Event():
                self._say(step)
            case Raw():
                self._append(None, step.data)
            case Disconnect():
                self._append(None, step)

    def _start(self) -> None:
        self.started_at = datetime.now(UTC)
        with self._ledger.writing():
            self.record.status = "processing"
            self.record.started_at = time.time()
        self._announce(self, "start")
        if self.script.logs:
            self._log(self.script.logs)

    def _log(self, text: str) -> None:
        self._logs += text
        self._announce(self, "logs")

    def _put_out(self, output: Output) -> None:
        self._output.append(output.value)
        if output.streamed:
            text = output.value if isinstance(output.value, str) else json.dumps(output.value)
            self._say(Event("output", text, output.id))
        self._announce(self, "output")

    def _settle(self, status: str, error: str | None) -> None:
        self.completed_at = datetime.now(UTC)
        self._error = error
        with self._ledger.writing():
            self.record.status = status
            self.record.completed_at = time.time()
            # Within: whoever sees in the ledger that it has ended finds the webhook due.
            self._announce(self, "completed")
        self.ended.set()

    # Stream

    async def read_stream(self, read: StreamRead, *, idle_limit: float) -> AsyncGenerator[bytes | Disconnect, None]:
        """Yield the stream from its beginning, or from behind the reader's Last-Event-ID, and go on as it grows.

        After `done` the connection stays open until the client goes or nothing happens for `idle_limit` seconds:
        the documentation says of its `:408:` comment that it "usually means the client did not close after done".
        """
        yield b": hi\n\n"
        position = self._position_after(read.last_event_id)
        while True:
            news = self._news
            while position < len(self._frames):
                _, frame = self._frames[position]
                if isinstance(frame, bytes):
                    yield frame
                elif position not in self._used:
                    self._used.add(position)
                    yield frame
                position += 1
            if self._stream_is_complete and not self.script.done:
                return
            try:
                # `news` was taken before the frames were read: what came in between has set it.
                await asyncio.wait_for(news.wait(), idle_limit)
            except TimeoutError:
                yield b":408: 408 Request Timeout\n\n"
                return

    def _position_after(self, last_event_id: str | None) -> int:
        """An id that is not known (any more) starts from the beginning; what Replicate does then is not recorded."""
        for position, (event_id, _) in enumerate(self._frames):
            if event_id is not None and event_id == last_event_id:
                return min(max(position + 1 + self.script.resume_shift, 0), len(self._frames))
        return 0

    def _say(self, event: Event) -> None:
        event_id = event.id or self._next_id()
        lines = [f"event: {event.name}", f"id: {event_id}"]
        # Recorded: a line without text is `data:`, without the space.
        lines += [f"data: {line}" if line else "data:" for line in event.data.split("\n")]
        self._append(event_id, ("\n".join(lines) + "\n\n").encode())

    def _say_end(self, status: str, error: str | None) -> None:
        match status:
            case "succeeded":
                reason = {}
            case "failed":
                self._say(Event("error", json.dumps({"detail": error})))
                reason = {"reason": "error"}
            case _:  # a guess for `aborted`, which nobody has recorded
                reason = {"reason": "canceled"}
        self._say(Event("done", json.dumps(reason, separators=(",", ":"))))

    def _next_id(self) -> str:
        """Make an id as recorded: the unix second, and a counter that starts anew with each second."""
        second = int(time.time())
        self._counter = self._counter + 1 if second == self._second else 0
        self._second = second
        return f"{second}:{self._counter}"

    def _append(self, event_id: str | None, frame: bytes | Disconnect) -> None:
        self._stream_size += len(frame) if isinstance(frame, bytes) else 0
        if self._stream_size > STREAM_LIMIT:
            raise RuntimeError(f"the script's stream is longer than {STREAM_LIMIT} bytes")
        self._frames.append((event_id, frame))
        self._tell()

    def _complete_stream(self) -> None:
        self._stream_is_complete = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # What the API shows

    def as_created(self, base: str, stream_origin: str) -> dict[str, Any]:
        """Return the answer of a create as recorded: without `output`, `data_removed`, `source`; milliseconds."""
        return self._head() | {
            "logs": "",
            "status": "starting",
            "created_at": stamp(self.created_at, "milliseconds"),
            "urls": self._urls(base, stream_origin),
        }

    def as_waited_for(self, base: str, stream_origin: str) -> dict[str, Any]:
        """Return the answer of a create with `Prefer: wait` as recorded: all the output, and still `processing`."""
        shown = self.as_created(base, stream_origin) | {"data_removed": False}
        if self.ended.is_set():
            succeeded = self.status == "succeeded"
            shown |= {"output": self._shown_output(), "status": "processing" if succeeded else self.status}
            shown |= {"error": self._error}
        return shown

    def as_json(self, base: str, stream_origin: str) -> dict[str, Any]:
        shown = self._head() | {
            "logs": self._logs,
            "output": self._shown_output(),
            "data_removed": self.data_removed,
            "status": self.status,
            "source": "api",
            "created_at": stamp(self.created_at),
            "urls": self._urls(base, stream_origin),
        }
        if self.started_at:
            shown["started_at"] = stamp(self.started_at)
        if self.completed_at:
            shown["completed_at"] = stamp(self.completed_at)
            shown["metrics"] = self._metrics(self.completed_at) | dict(self.script.metrics)
        return shown

    def as_canceled(self, base: str, stream_origin: str) -> dict[str, Any]:
        """Return the answer of a cancel; recorded: `logs` is null when nothing was logged."""
        shown = self.as_json(base, stream_origin)
        return shown | {"logs": shown["logs"] or None}

    def _head(self) -> dict[str, Any]:
        shown = {
            "id": self.id,
            "model": self.script.model or self._target.model.ref,
            "version": self.script.version or self._target.version_answered,
            "input": self._input,
            "error": self._error,
        }
        if self._target.deployment:
            shown["deployment"] = self._target.deployment
        if self.deadline:
            shown["deadline"] = stamp(self.deadline, "milliseconds")
        if self.script.echo_webhook:
            names = ("webhook", "webhook_events_filter")
            shown |= {name: self.record.body[name] for name in names if name in self.record.body}
        return shown

    def _shown_output(self) -> Any:
        if self.data_removed:
            return None
        if self.status == "succeeded" and self.script.output is not AS_STREAMED:
            return self.script.output
        return list(self._output) or None

    def _urls(self, base: str, stream_origin: str) -> dict[str, str]:
        urls = {
            "web": f"https://replicate.com/p/{self.id}",
            "get": f"{base}/predictions/{self.id}",
            "cancel": f"{base}/predictions/{self.id}/cancel",
        }
        if isinstance(self.script.stream, str):
            urls["stream"] = self.script.stream
        elif self.script.stream:
            urls["stream"] = f"{stream_origin}/v1/streams/{self.stream_key}"
        return urls

    def _metrics(self, completed_at: datetime) -> dict[str, Any]:
        metrics: dict[str, Any] = {"total_time": (completed_at - self.created_at).total_seconds()}
        if self.started_at:
            metrics["predict_time"] = (completed_at - self.started_at).total_seconds()
        return metrics


def stamp(time: datetime, precision: str = "microseconds") -> str:
    return time.isoformat(timespec=precision).replace("+00:00", "Z")
