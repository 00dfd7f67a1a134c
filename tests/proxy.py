"""A TCP proxy with faults: a loopback port in front of another.

    with FaultyProxy(port) as proxy:
        proxy.spoil(Toxic(piece=1, pause=0.01))                       # all connections, from now on
        proxy.spoil_next(Toxic(hole_at=400), on=b"GET /v1/streams/")  # what follows on that request, once
        proxy.heal()
        proxy.refuse()                                                # nobody listens any more
        proxy.accept()

A `pause` may be a gate: then nothing passes until the test opens it.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from tests.fake_replicate import Gate
from tests.fake_replicate.scripts import pause

THREAD_LIMIT = 10.0  # seconds to start, to stop and to answer a call
READ_SIZE = 64 * 1024
SETTLING = 5  # turns of the loop until a connection that was just accepted is one of our tasks

Direction = Literal["answer", "request"]


@dataclass(frozen=True, slots=True)
class Toxic:
    """What is done to the bytes of one direction; offsets count from where it was put on."""

    piece: int = READ_SIZE  # bytes that pass at a time
    pause: Gate | float = 0.0  # before each piece: latency, and with small pieces a slow line
    cut_at: int | None = None  # both ends are lost after so many bytes
    how: Literal["close", "reset"] = "close"
    hole_at: int | None = None  # what comes then is swallowed, and so is the end
    corrupt_at: int | None = None  # this byte's bits are turned
    slow_close: Gate | float = 0.0  # between the end on one side and on the other


HARMLESS = Toxic()


class FaultyProxy:
    """Passes bytes to `127.0.0.1:target` and back, while the `with` block runs."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.connections = 0  # accepted so far
        self.failures: list[BaseException] = []  # what went wrong inside the proxy itself
        self._target = target
        self._toxics: dict[Direction, Toxic] = {"answer": HARMLESS, "request": HARMLESS}
        self._next: list[tuple[bytes, Direction, Toxic]] = []
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._listener: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(THREAD_LIMIT) or not self.port:
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(THREAD_LIMIT)
        if self._thread.is_alive():
            raise RuntimeError("the proxy did not stop")
        if error is None and self.failures:
            raise AssertionError("the proxy itself failed") from self.failures[0]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spoil(self, toxic: Toxic, direction: Direction = "answer") -> None:
        """Put `toxic` on all connections, open and to come, from now on."""
        self._call(self._put_on_all, toxic, direction)

    def heal(self) -> None:
        """Take all toxics off; what a hole has swallowed is gone."""
        self._call(self._put_on_all, HARMLESS, "answer")
        self._call(self._put_on_all, HARMLESS, "request")
        self._call(self._next.clear)

    def spoil_next(self, *toxics: Toxic, direction: Direction = "answer", on: bytes = b"") -> None:
        """Put each toxic on one of the next connections; with `on`, from the request that has these bytes in its head.

        A request's head must come in one piece, as clients send it.
        """
        self._call(self._next.extend, [(on, direction, toxic) for toxic in toxics])

    @property
    def pending(self) -> int:
        """How many toxics of `spoil_next` were not met yet."""
        return len(self._next)

    def refuse(self) -> None:
        """Listen no longer; connections that are open stay."""
        self._await(self._stop_listening())

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._await(self._listen())

    # ------------------------------------------------------------ in the proxy's thread

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        async def run() -> None:
            function(*arguments)

        self._await(run())

    def _await(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(THREAD_LIMIT)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await self._listen()
        self._ready.set()
        await self._stopping.wait()
        await self._stop_listening()
        await self._let_connections_open()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _let_connections_open(self) -> None:
        """Wait for those that are just being made: cancelled half-way, they would never be closed."""
        for _ in range(SETTLING):
            await asyncio.sleep(0)
        while len(self._open) < len(self._tasks):
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._take_connection, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _take_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._dismiss)

    def _dismiss(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        requests, answers = _Flow(reader, far_writer), _Flow(far_reader, writer)
        connection = _Connection({"request": requests, "answer": answers})
        for direction, toxic in self._toxics.items():
            connection.flows[direction].put_on(toxic)
        self._put_on_next(connection, lambda on: not on)
        requests.watch = lambda data: self._put_on_next(connection, lambda on: bool(on) and on in data)
        self._open.add(connection)
        try:
            await connection.carry()
        finally:
            self._open.discard(connection)

    def _put_on_all(self, toxic: Toxic, direction: Direction) -> None:
        self._toxics[direction] = toxic
        for connection in self._open:
            connection.flows[direction].put_on(toxic)

    def _put_on_next(self, connection: "_Connection", is_met: Callable[[bytes], bool]) -> None:
        met = next((waiting for waiting in self._next if is_met(waiting[0])), None)
        if met is not None:
            self._next.remove(met)
            _, direction, toxic = met
            connection.flows[direction].put_on(toxic)


class _Cut(Exception):
    """A toxic ends the connection."""


class _Flow:
    """One direction of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.watch: Callable[[bytes], None] = lambda data: None
        # `drain` then returns only after the last byte went to the kernel: a cut comes exactly where it should.
        writer.transport.set_write_buffer_limits(high=0)

    def put_on(self, toxic: Toxic) -> None:
        self.toxic = toxic
        self._passed = 0

    async def run(self) -> None:
        while data := await self._reader.read(READ_SIZE):
            self.watch(data)
            while data:
                piece = data[: self.toxic.piece]
                await pause(self.toxic.pause)
                await self._pass(piece)
                data = data[len(piece) :]
        await pause(self.toxic.slow_close)
        if self.toxic.hole_at is None:
            self._writer.write_eof()

    async def _pass(self, data: bytes) -> None:
        toxic, begin = self.toxic, self._passed
        self._passed += len(data)
        if toxic.corrupt_at is not None and begin <= toxic.corrupt_at < self._passed:
            at = toxic.corrupt_at - begin
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        ends = [at for at in (toxic.hole_at, toxic.cut_at) if at is not None]
        if shown := data[: max(min(ends) - begin, 0)] if ends else data:
            self._writer.write(shown)
            await self._writer.drain()
            await asyncio.sleep(0)
        if toxic.cut_at is not None and self._passed >= toxic.cut_at:
            raise _Cut

    def end(self) -> None:
        if self.toxic.cut_at is not None and self.toxic.how == "reset":
            connection: socket.socket = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class _Connection:
    """Both directions."""

    def __init__(self, flows: dict[Direction, _Flow]) -> None:
        self.flows = flows

    async def carry(self) -> None:
        flows = [asyncio.create_task(flow.run()) for flow in self.flows.values()]
        try:
            with suppress(OSError, _Cut):
                await asyncio.gather(*flows)
        finally:
            for task in flows:
                task.cancel()
            for flow in self.flows.values():
                flow.end()
