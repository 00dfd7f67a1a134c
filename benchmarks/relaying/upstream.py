"""A host of models in a process of its own: enough of Replicate's API for a worker, and thousands of streams.

Streams that were opened wait until `begin`; then each sends tokens at an even pace, as an event in a chunk of its own,
until `end`. Their tokens are spread evenly over the interval, so that they do not beat in step. A stream goes on
without a reader, and one that opens it again is sent what it lacks.
"""

import asyncio
import itertools
import json
import re
import uuid
from typing import Any
from zlib import crc32

from benchmarks.relaying import tokens
from benchmarks.relaying.control import serve

BEGAN = 1_698_774_369  # the second in the events' ids
BEAT = 0.001  # seconds between two looks at who is to send; the loop's timers are no finer
GOLDEN = 0.6180339887498949  # multiples of it, modulo one, are spread evenly however many they are
UNREAD_LIMIT = 4_194_304  # bytes; a reader that leaves more unread is cut off
VERSION = "5a6809ca6288247d06daf6365557e5e429063f32a21146b2a807c682652136b8"
SCHEMA = {
    "components": {
        "schemas": {
            "Input": {"type": "object", "properties": {"prompt": {"type": "string", "x-order": 0}}},
            "Output": {
                "type": "array",
                "items": {"type": "string"},
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            },
        }
    }
}
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LAST_EVENT_ID = re.compile(rb"\r\nlast-event-id: *\d+:(\d+)", re.IGNORECASE)
MODEL = re.compile(r"/v1/models/([^/]+)/([^/]+)(/versions/.*)?")


class Stream:
    """A prediction and its text so far."""

    __slots__ = ("key", "number", "readers", "status", "text")

    def __init__(self, key: str, number: int) -> None:
        self.key = key
        self.number = number
        self.status = "starting"
        self.text = bytearray()
        self.readers: set[asyncio.Transport] = set()

    def send(self) -> None:
        """Send the next token."""
        token = tokens.stamp()
        chunk = event_chunk(len(self.text) // tokens.LENGTH, token)
        self.text += token
        for reader in self.readers:
            reader.write(chunk)

    def open(self, reader: asyncio.Transport, last_event: int | None) -> None:
        """Send what there is after `last_event`, and from now on whatever comes."""
        first = 0 if last_event is None else last_event + 1
        known = bytes(self.text)
        missed = [
            event_chunk(n, known[n * tokens.LENGTH : (n + 1) * tokens.LENGTH])
            for n in range(first, len(known) // tokens.LENGTH)
        ]
        reader.write(STREAM_HEAD + b"".join(missed))
        if self.status == "succeeded":
            reader.write(self._done())
        else:
            self.readers.add(reader)

    def end(self) -> None:
        self.status = "succeeded"
        for reader in self.readers:
            reader.write(self._done())
        self.readers.clear()

    def _done(self) -> bytes:
        event = b"event: done\nid: %d:%d\ndata: {}\n\n" % (BEGAN, len(self.text) // tokens.LENGTH)
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event)

    def describe(self, origin: str) -> dict[str, Any]:
        text = self.text.decode()
        urls = {"get": f"{origin}/v1/predictions/{self.key}", "stream": f"{origin}/v1/streams/{self.key}"}
        return {
            "id": self.key,
            "model": "meta/meta-llama-3-8b-instruct",
            "version": VERSION,
            "status": self.status,
            "output": [text[at : at + tokens.LENGTH] for at in range(0, len(text), tokens.LENGTH)] or None,
            "error": None,
            "logs": "",
            "urls": {**urls, "cancel": urls["get"] + "/cancel"},
        }


def event_chunk(n: int, token: bytes) -> bytes:
    event = b"event: output\nid: %d:%d\ndata: %b\n\n" % (BEGAN, n, token)
    return b"%x\r\n%b\r\n" % (len(event), event)


class Wheel:
    """Turns once in the interval between two tokens; each stream has its place on it."""

    def __init__(self) -> None:
        self._places: list[list[Stream]] = [[]]
        self._next = 0.0
        self._place = 0
        self.latest = 0.0  # seconds that a token was sent too late

    def begin(self, rate: float) -> None:
        """Turn `rate` times a second."""
        self._places = [[] for _ in range(round(1 / rate / BEAT))]
        self.latest = 0.0
        if not self._next:
            self._next = asyncio.get_running_loop().time()
            self._turn()

    def put(self, stream: Stream) -> None:
        if stream.status == "starting":
            stream.status = "processing"
            self._places[int(stream.number * GOLDEN % 1 * len(self._places))].append(stream)

    def stop(self) -> None:
        self._places = [[]]

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self.latest = max(self.latest, loop.time() - self._next)
        while self._next <= loop.time():
            self._place = (self._place + 1) % len(self._places)
            for stream in self._places[self._place]:
                stream.send()
            self._next += BEAT
        loop.call_at(self._next, self._turn)


class Upstream:
    """What the host knows, and what it is told to do."""

    def __init__(self) -> None:
        self.origin = ""
        self.streams: dict[str, Stream] = {}
        self.created = 0
        self._numbers = itertools.count()
        self._wheel = Wheel()
        self._running = False

    async def listen(self) -> str:
        """Return the host's address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1_024)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        return self.origin

    async def begin(self, rate: float, ramp: float) -> None:
        """Have the streams that were opened send `rate` tokens a second; they begin within `ramp` seconds."""
        loop = asyncio.get_running_loop()
        self._wheel.begin(rate)
        self._running = True
        waiting = [stream for stream in self.streams.values() if stream.status == "starting"]
        for index, stream in enumerate(waiting):
            loop.call_later(ramp * index / len(waiting), self._wheel.put, stream)

    async def end(self) -> dict[str, Any]:
        """End all streams; tell the length and the checksum of each text, and how late a token was sent at worst."""
        self._wheel.stop()
        self._running = False
        for stream in self.streams.values():
            if stream.status != "succeeded":
                stream.end()
        texts = {key: [len(stream.text), crc32(stream.text)] for key, stream in self.streams.items()}
        return {"texts": texts, "created": self.created, "latest_ms": self._wheel.latest * 1e3}

    async def forget(self) -> None:
        self.streams.clear()
        self.created = 0

    async def count(self) -> int:
        """Return how many streams are read."""
        return sum(1 for stream in self.streams.values() if stream.readers)

    def create(self) -> Stream:
        self.created += 1
        return self.stream(uuid.uuid4().hex)

    def stream(self, key: str) -> Stream:
        """Return the stream of this name; a new one if there was none, for the floor creates no predictions."""
        if key not in self.streams:
            self.streams[key] = Stream(key, next(self._numbers))
        return self.streams[key]

    def note_opened(self, stream: Stream) -> None:
        if self._running:
            self._wheel.put(stream)


class Connection(asyncio.Protocol):
    """One connection of a client: requests, one after the other."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._unread = b""
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=UNREAD_LIMIT)

    def pause_writing(self) -> None:
        self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        if self._stream is not None:
            self._stream.readers.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end]
            length = LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._unread) < whole:
                return
            self._unread = self._unread[whole:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split()
        path = target.partition("?")[0]
        name = path.removesuffix("/cancel").rpartition("/")[2]
        known = self._upstream.streams.get(name)
        if path.startswith("/v1/streams/"):
            self._open(self._upstream.stream(name), LAST_EVENT_ID.search(head))
        elif method == "POST" and path.endswith("/predictions"):
            self._send(201, self._upstream.create().describe(self._upstream.origin))
        elif path.startswith("/v1/predictions/") and known is not None:
            if method == "POST":
                known.end()
            self._send(200, known.describe(self._upstream.origin))
        elif model := MODEL.fullmatch(path):
            self._send(200, _version() if model[3] else _model(model[1], model[2]))
        else:
            self._send(404, {"detail": "Not found."})

    def _open(self, stream: Stream, last_event: re.Match[bytes] | None) -> None:
        self._stream = stream
        stream.open(self.transport, int(last_event[1]) if last_event else None)
        self._upstream.note_opened(stream)

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


def _version() -> dict[str, Any]:
    return {"id": VERSION, "openapi_schema": SCHEMA}


def _model(owner: str, name: str) -> dict[str, Any]:
    return {"owner": owner, "name": name, "description": "", "is_official": False, "latest_version": _version()}


if __name__ == "__main__":
    upstream = Upstream()
    serve({name: getattr(upstream, name) for name in ("listen", "begin", "end", "forget", "count")})
