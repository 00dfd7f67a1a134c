"""The floor of cost: a relay without any framework, which reads the host's stream for each socket and keeps nothing.

What it does must be done by whoever relays tokens: take chunks and events apart, and write a frame for each token.
"""

import asyncio
import json
import re
from json.encoder import encode_basestring_ascii

from benchmarks.relaying.control import serve
from benchmarks.relaying.websocket import CLOSE, TEXT, Connection, accept, server_frame

ENDED = b'{"type": "ended", "status": "succeeded"}'
FOLLOWING = b'{"type": "state"}'
KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)


class Socket(Connection):
    """A browser's socket."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._opening: asyncio.Task[None] | None = None

    def greet(self, head: bytes) -> None:
        key = KEY.search(head)
        assert key is not None
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept(key[1])
        )

    def hear(self, kind: int, content: bytes) -> None:
        if kind == TEXT:
            self._opening = asyncio.ensure_future(self._follow(json.loads(content)["prediction"]))
        elif kind == CLOSE:
            self.transport.close()

    async def _follow(self, prediction: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Upstream(prediction, self.transport), "127.0.0.1", self._upstream_port)


class Upstream(asyncio.Protocol):
    """The host's stream for one socket."""

    def __init__(self, prediction: str, reader: asyncio.Transport) -> None:
        self._prediction = prediction
        self._reader = reader
        self._in_head = True
        self._unread = b""  # bytes of a chunk that is not whole
        self._events = b""  # bytes of an event that is not whole
        self._frame = b'{"type": "output", "prediction": "%b", "edition": 0, ' % prediction.encode()
        self._offset = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"GET /v1/streams/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % self._prediction.encode())

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        at = 0
        if self._in_head:
            head, _, _ = data.partition(b"\r\n\r\n")
            if len(head) == len(data):
                self._unread = data
                return
            self._in_head = False
            self._reader.write(server_frame(TEXT, FOLLOWING))
            at = len(head) + 4
        while (line_end := data.find(b"\r\n", at)) >= 0:
            start = line_end + 2
            end = start + int(data[at:line_end], 16)
            if end + 2 > len(data):
                break
            self._take(data[start:end])
            at = end + 2
        self._unread = data[at:]

    def _take(self, content: bytes) -> None:
        *events, self._events = (self._events + content).split(b"\n\n")
        for event in events:
            name, lines = "", []
            for line in event.decode().split("\n"):
                field, _, value = line.partition(":")
                if field == "data":
                    lines.append(value.removeprefix(" "))
                elif field == "event":
                    name = value.removeprefix(" ")
            if name == "output":
                self._tell("\n".join(lines))
            elif name == "done":
                self._reader.write(server_frame(TEXT, ENDED))
                self._transport.close()

    def _tell(self, text: str) -> None:
        offset, self._offset = self._offset, self._offset + len(text)
        told = encode_basestring_ascii(text).encode()
        content = b'%b"offset": %d, "end": %d, "text": %b}' % (self._frame, offset, self._offset, told)
        self._reader.write(server_frame(TEXT, content))


class Floor:
    async def listen(self, upstream_port: int) -> int:
        """Return the port of the sockets."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Socket(upstream_port), "127.0.0.1", 0, backlog=1_024)
        return int(self._server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    serve({"listen": Floor().listen})
