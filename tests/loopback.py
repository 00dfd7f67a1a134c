"""What the tests' own servers and proxies have in common: a loopback port, served from a thread with its own loop."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

THREAD_LIMIT = 10.0  # seconds to start, to stop and to answer a call
SETTLING = 5  # turns of the loop until a connection that was just accepted is one of our tasks

T = TypeVar("T")


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Have the other side of a connection, if it is there yet, see a reset as its end."""
    if not writer.transport.is_closing():
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class LoopbackListener:
    """Takes connections at `127.0.0.1:port` while the `with` block runs, each in a task of `see_to`."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0  # accepted so far
        self.failures: list[BaseException] = []  # what `see_to` raised
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def see_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which is lost as soon as this returns: what is to arrive has been drained by then."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(THREAD_LIMIT) or not self.port:
            raise RuntimeError(f"the {self._thread.name} did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(THREAD_LIMIT)
        if self._thread.is_alive():
            raise RuntimeError(f"the {self._thread.name} did not stop")
        if error is None and self.failures:
            raise AssertionError(f"the {self._thread.name} itself failed") from self.failures[0]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function in the server's thread and return its result."""

        async def run() -> T:
            return function(*arguments)

        return self._await(run())

    def refuse(self) -> None:
        """Listen no longer; connections that are open stay."""
        self._await(self._stop_listening())

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._await(self._listen())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(THREAD_LIMIT)

    # ------------------------------------------------------------ in the server's thread

    def spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        """Start a task that ends with the server; to be called in the server's thread."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._dismiss)
        return task

    def _dismiss(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)

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
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is None:
            return
        # A server that is closed forgets those it has just accepted, without closing them: they are to come first.
        for listener in self._listener.sockets:
            self._loop.remove_reader(listener.fileno())
        for _ in range(SETTLING):
            await asyncio.sleep(0)
        self._listener.close()
        self._listener = None

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # `drain` then returns only after the last byte went to the kernel: a cut comes exactly where it should.
        writer.transport.set_write_buffer_limits(high=0)
        # Not in a `finally` of the task, which one that is cancelled before its first step never comes to.
        self.spawn(self.see_to(reader, writer)).add_done_callback(lambda task: writer.transport.abort())
