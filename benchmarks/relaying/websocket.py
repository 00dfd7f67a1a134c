"""As much of RFC 6455 as the pages and the floor need: whole frames of known kinds."""

import asyncio
import base64
import hashlib
import json
from typing import Any

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
KEY = b"cGFybGV5LWJlbmNobWFyaw=="  # any will do, for nobody stands between
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHORT, _MIDDLE = 126, 65_536  # bytes from which the length takes 2 and 8 more


def accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - as the protocol has it


def handshake(port: int, *headers: str) -> bytes:
    """Return the request by which a page of the site on this machine opens its socket."""
    lines = [
        "GET /socket/ HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def server_frame(kind: int, content: bytes) -> bytes:
    return _head(kind, len(content), 0) + content


def client_frame(kind: int, content: bytes) -> bytes:
    """Return a frame that is masked with zeros: there is nobody to confuse."""
    return _head(kind, len(content), 128) + bytes(4) + content


def _head(kind: int, size: int, masked: int) -> bytes:
    if size < _SHORT:
        return bytes((128 | kind, masked | size))
    if size < _MIDDLE:
        return bytes((128 | kind, masked | 126, size >> 8, size & 255))
    return bytes((128 | kind, masked | 127)) + size.to_bytes(8, "big")


class FrameReader:
    """Feed it the bytes of one connection, cut anywhere."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return kind and content of each frame that `data` completes."""
        if self._rest:
            data = self._rest + data
        frames = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 127, at + 2
            masked = data[at + 1] & 128
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            mask = data[start : start + 4] if masked else b""
            start += len(mask)
            if start + size > end:
                break
            content = data[start : start + size]
            if any(mask):
                content = bytes(byte ^ mask[index & 3] for index, byte in enumerate(content))
            assert data[at] & 128, "a frame in pieces"
            frames.append((data[at] & 15, content))
            at = start + size
        self._rest = data[at:]
        return frames


class Connection(asyncio.Protocol):
    """One side of a socket: what the other side says first goes to `greet`, each of its frames to `hear`."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._greeting: bytes | None = b""
        self._frames = FrameReader()

    def data_received(self, data: bytes) -> None:
        if self._greeting is not None:
            self._greeting += data
            head, is_whole, data = self._greeting.partition(b"\r\n\r\n")
            if not is_whole:
                return
            self._greeting = None
            self.greet(head)
        for kind, content in self._frames.feed(data):
            self.hear(kind, content)

    def greet(self, head: bytes) -> None:
        raise NotImplementedError

    def hear(self, kind: int, content: bytes) -> None:
        raise NotImplementedError


class Page(Connection):
    """A browser's side: `opened` begins, `read` takes what the server tells as JSON, `complain` what went wrong."""

    close_code = 0  # what the server closed this connection with

    def __init__(self, request: bytes) -> None:
        self._request = request  # see `handshake`

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.close_code = 0
        self.transport.write(self._request)

    def greet(self, head: bytes) -> None:
        if b" 101 " in head.partition(b"\r\n")[0]:
            self.opened()
        else:
            self.complain(f"A socket was refused: {head[:200]!r}")

    def hear(self, kind: int, content: bytes) -> None:
        if kind == TEXT:
            self.read(json.loads(content))
        elif kind == PING:
            self.transport.write(client_frame(PONG, content))
        elif kind == CLOSE:
            self.close_code = int.from_bytes(content[:2], "big")
            self.transport.write(client_frame(CLOSE, content))
            self.transport.close()

    def tell(self, frame: dict[str, Any]) -> None:
        self.transport.write(client_frame(TEXT, json.dumps(frame).encode()))

    def opened(self) -> None:
        raise NotImplementedError

    def read(self, frame: dict[str, Any]) -> None:
        raise NotImplementedError

    def complain(self, problem: str) -> None:
        raise NotImplementedError
