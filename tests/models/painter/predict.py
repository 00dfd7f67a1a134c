"""A painter as a Cog model: pictures of one colour, one after the other, with a progress bar in its log."""

import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path as File

from cog import BaseRunner, Input, Path

SIDE = 64  # pixels
COLOURS = {"red": (200, 40, 40), "green": (40, 160, 80), "blue": (40, 80, 200)}


class Runner(BaseRunner):
    def run(
        self,
        prompt: str = Input(description="A colour."),
        image: Path | None = Input(default=None, description="A picture that comes back first."),  # noqa: B008
        count: int = Input(default=1, ge=1, le=4),
    ) -> list[Path]:
        """Return the pictures."""
        folder = File(tempfile.mkdtemp())
        # Its own copy: Cog removes what was given, now and then before what comes back was read.
        made = [Path(shutil.copy(image, folder / "given.png"))] if image else []
        for number in range(count):
            print(f"{100 * number // count:3}%|█████     | {number}/{count} [00:00<00:00]", file=sys.stderr, flush=True)
            picture = folder / f"{prompt}-{number}.png"
            picture.write_bytes(png(COLOURS.get(prompt, (120, 120, 120))))
            made.append(Path(picture))
        return made


def png(colour: tuple[int, int, int]) -> bytes:
    """Return a square of one colour."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    rows = (b"\x00" + bytes(colour) * SIDE) * SIDE
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
