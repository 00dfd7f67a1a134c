"""Browsers in a process of their own: each follows one answer over a WebSocket, as the page does.

They measure how long each token was under way, and look at the offsets: a text that lacks something or has it twice is
a wrong answer, however quick it was.
"""

import asyncio
import random
import re
from array import array
from typing import Any
from zlib import crc32

from benchmarks.relaying import tokens
from benchmarks.relaying.control import serve
from benchmarks.relaying.websocket import Page, handshake

CONNECTING = 20  # at once
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before a page connects anew: from half of it to all of it, doubling
MOVED_PAUSE = (0.25, 1.0)  # seconds, from and to, where the server has asked to come back
SERVICE_RESTART = 1012
FOLLOW_LIMIT = 30.0  # seconds until an answer is followed
END_LIMIT = 80.0  # seconds until all answers have ended
IN_ONE_PIECE = re.compile(r"[A-Za-z0-9+/]{16,}")


class Reader(Page):
    """A page that shows one answer; it connects as often as it must."""

    def __init__(self, readers: "Readers", prediction: str, request: bytes) -> None:
        super().__init__(request)
        self._readers = readers
        self._prediction = prediction
        self._attempts = 0
        self._partial = ""  # of a token that was cut in two
        self._arrived = 0  # when the bytes came that are being read
        self._heard_at = 0  # when the last text came
        self.following = asyncio.Event()
        self.ended = asyncio.Event()
        self.end = 0  # characters
        self._pieces: list[str] = []
        self.text_sum = [0, 0]  # length and checksum of the whole text
        self.first_delay: int | None = None
        self.longest_pause = 0
        self.connections = 0

    def note_measuring(self) -> None:
        """Count pauses from now on."""
        self._heard_at, self.longest_pause = tokens.now(), 0

    def note_pause(self, now: int) -> None:
        self.longest_pause = max(self.longest_pause, now - self._heard_at)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.is_set():
            self._readers.note_lost(self)

    def pause(self) -> float:
        """Return for how many seconds to wait before the next connection."""
        if self.close_code == SERVICE_RESTART:
            return random.uniform(*MOVED_PAUSE)  # noqa: S311 - so that not all come back at once
        bound = min(FIRST_PAUSE * 2**self._attempts, LONGEST_PAUSE)
        self._attempts += 1
        return random.uniform(bound / 2, bound)  # noqa: S311

    def data_received(self, data: bytes) -> None:
        self._arrived = tokens.now()
        super().data_received(data)

    def opened(self) -> None:
        self.connections += 1
        self.tell({"type": "follow", "prediction": self._prediction, "edition": 0, "after": self.end})

    def read(self, frame: dict[str, Any]) -> None:
        match frame.get("type"):
            case "output":
                self._take_output(frame)
            case "ended":
                self._take_end(frame)
            case "refused":
                self.complain(f"A frame was refused: {frame['reason']}")
            case None:
                return
        self._attempts = 0
        self.following.set()

    def complain(self, problem: str) -> None:
        self._readers.complain(problem)

    def _take_output(self, frame: dict[str, Any]) -> None:
        text = frame["text"]
        if frame["edition"] or frame["offset"] != self.end or frame["end"] != self.end + len(text):
            known = {name: frame[name] for name in ("edition", "offset", "end")}
            self.complain(f"A reader has {self.end} characters of {self._prediction} and is told {known}.")
        self.end = frame["end"]
        self._pieces.append(text)
        if text:
            self._time(text)

    def _take_end(self, frame: dict[str, Any]) -> None:
        """Take the rest of the text out of the finished message, which has it in one piece: tokens know no space."""
        text = "".join(self._pieces)
        whole = max(IN_ONE_PIECE.findall(frame.get("html", "")), key=len, default="") or text
        if not whole.startswith(text):
            self.complain(f"The end of {self._prediction} is another text than was told before.")
        self.text_sum = [len(whole), crc32(whole.encode())]
        if frame["status"] != "succeeded":
            self.complain(f"{self._prediction} has {frame['status']}.")
        self.ended.set()

    def _time(self, text: str) -> None:
        text = self._partial + text
        whole = len(text) - len(text) % tokens.LENGTH
        self._partial = text[whole:]
        if self._readers.measuring:
            self.note_pause(self._arrived)
            self._heard_at = self._arrived
            tokens.read_delays(text[:whole], self._arrived, self._readers.delays)
        if self.first_delay is None and whole:
            first = array("L")
            tokens.read_delays(text[: tokens.LENGTH], self._arrived, first)
            self.first_delay = first[0]


class Readers:
    """All pages, and what they are told to do."""

    def __init__(self) -> None:
        self.measuring = False
        self.delays: array[int] = array("L")
        self._readers: list[Reader] = []
        self._complaints: list[str] = []
        self._port = 0
        self._comes_back = False
        self._coming_back: set[asyncio.Task[None]] = set()

    async def follow(self, *, port: int, answers: list[tuple[str, str]], comes_back: bool) -> None:
        """Have each of `answers`, ids and cookies, followed by a page; one that `comes_back` connects anew."""
        self._port, self._comes_back = port, comes_back
        self._complaints.clear()
        self._readers = [Reader(self, key, handshake(port, f"Cookie: {cookie}")) for key, cookie in answers]
        slots = asyncio.Semaphore(CONNECTING)

        async def connect(reader: Reader) -> None:
            async with slots, asyncio.timeout(FOLLOW_LIMIT):
                await self._connect(reader)
                await reader.following.wait()

        await asyncio.gather(*map(connect, self._readers))

    async def measure(self) -> None:
        """Measure from now on."""
        self.delays = array("L")
        self.measuring = True
        for reader in self._readers:
            reader.note_measuring()

    async def collect(self) -> dict[str, Any]:
        """Stop measuring; tell what was measured, and of the whole run the delays of first tokens."""
        pauses = await self.pauses()
        self.measuring = False
        delays = sorted(self.delays)
        firsts = sorted(reader.first_delay for reader in self._readers if reader.first_delay is not None)
        return {"tokens": len(delays), "delays": _shares(delays), "first": _shares(firsts), "pauses": pauses}

    async def pauses(self) -> dict[str, float]:
        """Tell the longest pauses of the readers since `measure`; one that still lasts counts too."""
        for reader in self._readers:
            reader.note_pause(tokens.now())
        return _shares(sorted(reader.longest_pause for reader in self._readers))

    async def finish(self) -> dict[str, Any]:
        """Wait for the ends; tell length and checksum of each text, how often was connected, and what was wrong."""
        try:
            async with asyncio.timeout(END_LIMIT):
                for reader in self._readers:
                    await reader.ended.wait()
        except TimeoutError:
            pass
        unfinished = sum(not reader.ended.is_set() for reader in self._readers)
        for task in self._coming_back:
            task.cancel()
        for reader in self._readers:
            reader.ended.set()
            reader.transport.close()
        return {
            "texts": [reader.text_sum for reader in self._readers],
            "connections": sum(each.connections for each in self._readers),
            "unfinished": unfinished,
            "complaints": self._complaints[:5],
        }

    def complain(self, text: str) -> None:
        self._complaints.append(text)

    def note_lost(self, reader: Reader) -> None:
        if not self._comes_back:
            self.complain("A socket was closed before the end.")
            return
        task = asyncio.ensure_future(self._come_back(reader))
        self._coming_back.add(task)
        task.add_done_callback(self._coming_back.discard)

    async def _come_back(self, reader: Reader) -> None:
        await asyncio.sleep(reader.pause())
        try:
            await self._connect(reader)
        except OSError:
            self.note_lost(reader)

    async def _connect(self, reader: Reader) -> None:
        await asyncio.get_running_loop().create_connection(lambda: reader, "127.0.0.1", self._port)


def _shares(sorted_units: list[int]) -> dict[str, float]:
    """Return in milliseconds what half, 99 of 100, and all of them stay below."""
    if not sorted_units:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    last = len(sorted_units) - 1
    places = {"p50": last // 2, "p99": round(last * 0.99), "max": last}
    return {name: sorted_units[place] / tokens.UNITS_PER_MS for name, place in places.items()}


if __name__ == "__main__":
    readers = Readers()
    serve({name: getattr(readers, name) for name in ("follow", "measure", "collect", "pauses", "finish")})
