"""An HTTP proxy that has never heard of WebSockets, and may hold each response back until it is whole."""

import asyncio
import re
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

THREAD_LIMIT = 10.0  # seconds to start and to stop
READ_SIZE = 65_536
NO_UPGRADE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class OldProxy:
    """Passes requests to `127.0.0.1:target`, each on a connection of its own, while the `with` block runs."""

    def __init__(self, target: int, *, buffers: bool = False) -> None:
        self.port = 0
        self.asked: list[str] = []  # the request lines, in order
        self._target = target
        self._buffers = buffers
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="old proxy", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(THREAD_LIMIT):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(THREAD_LIMIT)
        if self._thread.is_alive():
            raise RuntimeError("the proxy did not stop")

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        """How many requests there were for what begins with `path`."""
        return sum(line.split()[1].startswith(path) for line in list(self.asked))

    # ------------------------------------------------------------ in the proxy's thread

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.partition(b"\r\n")[0].decode())
                if b"\r\nupgrade: websocket" in head.lower():
                    writer.write(NO_UPGRADE)
                    await writer.drain()
                else:
                    await self._pass_on(head, reader, writer)
        finally:
            writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
        far_writer.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
        ways = [
            asyncio.create_task(self._copy(reader, far_writer)),
            asyncio.create_task(self._copy(far_reader, writer, whole=self._buffers)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, whole: bool = False) -> None:
        held = b""
        while data := await reader.read(READ_SIZE):
            if whole:
                held += data
            else:
                writer.write(data)
                await writer.drain()
        writer.write(held)
        await writer.drain()
