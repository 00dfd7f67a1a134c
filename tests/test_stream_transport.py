"""How event streams are read: what httpx's own transport does, ours does too, and the host waits for slow readers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from predictions.providers import stream_transport
from predictions.providers.stream_transport import StreamTransport
from tests.tls import a_server_that_vouches_for_itself

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[StreamTransport, httpx.AsyncHTTPTransport], ids=["ours", "httpx's"])
def transport(request: pytest.FixtureRequest) -> httpx.AsyncBaseTransport:
    made: httpx.AsyncBaseTransport = request.param()
    return made


@asynccontextmanager
async def host(play: Play) -> AsyncIterator[str]:
    """A server on loopback that has `play` see to each connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def see_to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await play(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(see_to, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*pieces: bytes) -> Play:
    """Answer with these pieces, each in a packet of its own, and hang up."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write_eof()
        await reader.read()

    return play


async def read(transport: httpx.AsyncBaseTransport, origin: str, **options: Any) -> tuple[int, bytes]:
    async with (
        httpx.AsyncClient(transport=transport, trust_env=False) as client,
        client.stream("GET", f"{origin}/streams/1?a=b", **options) as response,
    ):
        return response.status_code, b"".join([chunk async for chunk in response.aiter_bytes()])


ANSWERS = {
    "in chunks": [CHUNKED, b"5\r\nHello\r\n", b"7;a=b\r\n, wor", b"ld\r\n0\r\n\r\n"],
    "all at once": [CHUNKED + b"c\r\nHello, world\r\n0\r\n\r\n"],
    "byte by byte": [bytes([byte]) for byte in CHUNKED + b"c\r\nHello, world\r\n0\r\n\r\n"],
    "of a known length": [OK + b"Content-Length: 12\r\n\r\n", b"Hello, ", b"world"],
    "after words of patience": [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        OK + b"Content-Length: 12\r\n\r\nHello, world",
    ],
}


@pytest.mark.parametrize("pieces", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_read(pieces: list[bytes], transport: httpx.AsyncBaseTransport) -> None:
    async with host(saying(*pieces)) as origin:
        assert await read(transport, origin) == (200, b"Hello, world")


async def test_what_is_asked_goes_over_the_wire(transport: httpx.AsyncBaseTransport) -> None:
    heard = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        heard.append(await reader.readexactly(2))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with (
        host(play) as origin,
        httpx.AsyncClient(transport=transport, trust_env=False) as client,
        client.stream("PUT", f"{origin}/a%20b?c=d", json={}, headers={"Last-Event-ID": "7"}) as response,
    ):
        assert (response.status_code, response.headers["content-length"]) == (201, "0")
    head = heard[0].lower().split(b"\r\n")
    assert head[0] == b"put /a%20b?c=d http/1.1"
    assert {b"host: " + origin.removeprefix("http://").encode(), b"last-event-id: 7", b"content-length: 2"} < set(head)
    assert heard[1] == b"{}"


BROKEN = {
    "cut in a chunk": [CHUNKED, b"5\r\nHel"],
    "cut between chunks": [CHUNKED, b"5\r\nHello\r\n"],
    "shorter than it says": [OK + b"Content-Length: 12\r\n\r\n", b"Hello"],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    "nothing": [],
    "half a head": [OK],
    "no number for a chunk": [CHUNKED, b"zz\r\nHello\r\n"],
}


@pytest.mark.parametrize("pieces", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_answer_is_told_as_such(pieces: list[bytes], transport: httpx.AsyncBaseTransport) -> None:
    async with host(saying(*pieces)) as origin:
        with pytest.raises(httpx.TransportError):
            await read(transport, origin)


async def test_what_came_before_the_break_is_read(transport: httpx.AsyncBaseTransport) -> None:
    seen = b""
    async with (
        host(saying(CHUNKED, b"5\r\nHello\r\n", b"7\r\n, w")) as origin,
        httpx.AsyncClient(transport=transport, trust_env=False) as client,
        client.stream("GET", origin) as response,
    ):
        with pytest.raises(httpx.TransportError):
            async for chunk in response.aiter_bytes():
                seen += chunk

    assert seen == b"Hello, w"


@pytest.mark.parametrize("pieces", [[], [CHUNKED, b"5\r\nHello\r\n"]], ids=["before its head", "in its middle"])
async def test_a_host_that_falls_silent_is_not_waited_for(
    pieces: list[bytes], transport: httpx.AsyncBaseTransport
) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(pieces)
        await reader.read()

    async with host(play) as origin:
        with pytest.raises(httpx.ReadTimeout):
            await read(transport, origin, timeout=httpx.Timeout(5, read=0.05))


async def test_nobody_there_is_told_apart(transport: httpx.AsyncBaseTransport) -> None:
    with pytest.raises(httpx.ConnectError):
        await read(transport, "http://127.0.0.1:1")


@pytest.mark.parametrize("before", [[OK], [CHUNKED, b"5\r\nHello\r\n0\r\n"]], ids=["above its body", "below it"])
async def test_headers_without_end_are_refused(before: list[bytes], transport: httpx.AsyncBaseTransport) -> None:
    async with host(saying(*before, *([b"X-Filler: " + b"x" * 1_000 + b"\r\n"] * 200))) as origin:
        with pytest.raises(httpx.RemoteProtocolError):
            await read(transport, origin)


async def test_the_connection_ends_with_the_reader(transport: httpx.AsyncBaseTransport) -> None:
    gone = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"5\r\nHello\r\n")
        await reader.read()
        gone.set()

    async with host(play) as origin, httpx.AsyncClient(transport=transport, trust_env=False) as client:
        async with client.stream("GET", origin) as response:
            assert await anext(response.aiter_bytes()) == b"Hello"
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with a_server_that_vouches_for_itself(tmp_path) as origin, pytest.raises(httpx.ConnectError, match="certificate"):
        await read(StreamTransport("localhost"), origin)


async def test_a_host_waits_for_who_does_not_read() -> None:
    """The reader takes its time: what is in memory is bounded, and nothing is lost."""
    piece, count = b"x" * 10_000, 2_000
    written = 0

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
            written += len(piece)
        await reader.read()

    async with (
        host(play) as origin,
        httpx.AsyncClient(transport=StreamTransport(), trust_env=False) as client,
        client.stream("GET", origin) as response,
    ):
        stream: Any = response.stream
        exchange: stream_transport._Exchange = stream._stream
        before = -1
        async with asyncio.timeout(10):
            while before != written or not exchange._pieces:
                before = written
                await asyncio.sleep(0.05)
        assert sum(map(len, exchange._pieces)) <= 262_144  # what one read of the event loop brings
        assert written < len(piece) * count

        assert sum([len(chunk) async for chunk in response.aiter_bytes()]) == len(piece) * count
