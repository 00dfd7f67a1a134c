"""As much of RFC 6455 as the readers and the floor need: whole frames of known kinds."""

import base64
import hashlib

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
KEY = b"cGFybGV5LWJlbmNobWFyaw=="  # any will do, for nobody stands between
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHORT, _MIDDLE = 126, 65_536  # bytes from which the length takes 2 and 8 more


def accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - as the protocol has it


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
