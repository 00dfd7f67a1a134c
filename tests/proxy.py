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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tests.fake_replicate import Gate
from tests.fake_replicate.scripts import pause
from tests.loopback import LoopbackListener, reset_on_close

READ_SIZE = 64 * 1024

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


class FaultyProxy(LoopbackListener):
    """Passes bytes to `127.0.0.1:target` and back."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self._target = target
        self._toxics: dict[Direction, Toxic] = {"answer": HARMLESS, "request": HARMLESS}
        self._next: list[tuple[bytes, Direction, Toxic]] = []
        self._open: set[_Connection] = set()

    def spoil(self, toxic: Toxic, direction: Direction = "answer") -> None:
        """Put `toxic` on all connections, open and to come, from now on."""
        self.call(self._put_on_all, toxic, direction)

    def heal(self) -> None:
        """Take all toxics off; what a hole has swallowed is gone."""
        self.call(self._put_on_all, HARMLESS, "answer")
        self.call(self._put_on_all, HARMLESS, "request")
        self.call(self._next.clear)

    def spoil_next(self, *toxics: Toxic, direction: Direction = "answer", on: bytes = b"") -> None:
        """Put each toxic on one of the next connections; with `on`, from the request that has these bytes in its head.

        A request's head must come in one piece, as clients send it.
        """
        self.call(self._next.extend, [(on, direction, toxic) for toxic in toxics])

    @property
    def pending(self) -> int:
        """How many toxics of `spoil_next` were not met yet."""
        return len(self._next)

    # ------------------------------------------------------------ in the proxy's thread

    async def see_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        far_writer.transport.set_write_buffer_limits(high=0)
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
            reset_on_close(self._writer)
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
