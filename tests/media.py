"""Files as models make them, of which nothing matters but that browsers show them."""

import struct
import wave
import zlib
from io import BytesIO


def make_png(red: int, green: int, blue: int, *, width: int = 640, height: int = 480) -> bytes:
    """An image of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_wav(seconds: int = 2) -> bytes:
    """Silence."""
    sound = BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 8_000 * seconds)
    return sound.getvalue()
