"""An HTTP proxy that has never heard of WebSockets, and may hold each response back until it is whole."""

import asyncio
import re
from contextlib import suppress

from tests.loopback import LoopbackListener

READ_SIZE = 65_536
NO_UPGRADE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class OldProxy(LoopbackListener):
    """Passes requests to `127.0.0.1:target`, each on a connection of its own."""

    def __init__(self, target: int, *, buffers: bool = False) -> None:
        super().__init__()
        self.asked: list[str] = []  # the request lines, in order
        self._target = target
        self._buffers = buffers

    def count(self, path: str) -> int:
        """How many requests there were for what begins with `path`."""
        return sum(line.split()[1].startswith(path) for line in list(self.asked))

    # ------------------------------------------------------------ in the proxy's thread

    async def see_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.partition(b"\r\n")[0].decode())
            if b"\r\nupgrade: websocket" in head.lower():
                writer.write(NO_UPGRADE)
                await writer.drain()
            else:
                await self._pass_on(head, reader, writer)

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
            far_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

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
