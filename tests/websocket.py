"""A WebSocket client that does only what it is told: it answers nothing by itself, and reads when it is asked to."""

import base64
import os
import socket
import struct
from contextlib import suppress
from typing import Self

TEXT, CLOSE, PING = 1, 8, 9
LIMIT = 30.0  # seconds for whatever is waited for


class WebSocket:
    """One connection to `ws://127.0.0.1:port/path`, after RFC 6455.

    `buffer` has the kernel keep about so many bytes that were not read, instead of some millions.
    """

    def __init__(
        self, port: int, path: str, headers: dict[str, str] | None = None, *, buffer: int | None = None
    ) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(LIMIT)
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self._socket.connect(("127.0.0.1", port))
            self._shake_hands(port, path, headers or {})
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self, port: int, path: str, headers: dict[str, str]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        asked = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            "Origin": f"http://127.0.0.1:{port}",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items())]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._file = self._socket.makefile("rb")
        status = self._file.readline().split()
        if not status:
            self._file.close()
            raise EOFError
        self.status = int(status[1])
        while self._file.readline().strip():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._socket.close()

    def receive(self) -> tuple[int, bytes]:
        """Return the next frame's kind and content; raise EOFError when there is none any more."""
        head = self._read(2)
        length = head[1] & 127
        if length == 126:
            [length] = struct.unpack(">H", self._read(2))
        elif length == 127:
            [length] = struct.unpack(">Q", self._read(8))
        return head[0] & 15, self._read(length)

    def close_code(self) -> int:
        """Read on until the server closes, answer if it is still there, and return its code."""
        while True:
            kind, content = self.receive()
            if kind == CLOSE:
                with suppress(ConnectionError):
                    self._send(CLOSE, content)
                [code] = struct.unpack(">H", content[:2])
                return int(code)

    def send(self, text: str) -> None:
        self._send(TEXT, text.encode())

    def ping(self) -> None:
        self._send(PING, b"?")

    def _read(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) < size:
            raise EOFError
        return content

    def _send(self, kind: int, content: bytes) -> None:
        mask = os.urandom(4)
        size = len(content)
        if size < 126:
            head = bytes([128 | kind, 128 | size])
        elif size < 65_536:
            head = struct.pack(">BBH", 128 | kind, 128 | 126, size)
        else:
            head = struct.pack(">BBQ", 128 | kind, 128 | 127, size)
        pad = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(content) ^ int.from_bytes(pad)).to_bytes(size)
        self._socket.sendall(head + mask + masked)
