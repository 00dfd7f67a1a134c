"""How event streams are read: an httpx transport that is lean where hundreds of streams run for minutes.

httpx's own transport takes some 150 µs for each piece of a stream and some 60 KiB for each connection. Here a socket is
read only when its reader asks for more: what has arrived by then is one piece, and the host waits for who does not
read. llhttp does the parsing. Each exchange has a connection of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httptools
import httpx

from predictions.providers.places import connect_in_turn, look_up
from predictions.providers.tls import trust

HEAD_LIMIT = 65_536  # bytes of an answer's head, and of what stands between or below the pieces of its body


class StreamTransport(httpx.AsyncBaseTransport):
    """Sends a request over a new connection; the answer's body comes as it arrives."""

    def __init__(self, own_host: str = "") -> None:
        """`own_host` may be anywhere: an admin has named it. Other names must lead outside."""
        self._own_host = own_host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        times = request.extensions.get("timeout", {})
        exchange = _Exchange(await _written(request), times.get("read"))
        try:
            await self._connect(exchange, request.url, times.get("connect"))
        except TimeoutError as error:
            raise httpx.ConnectTimeout("the host does not answer") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        try:
            await exchange.read_head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)

    async def _connect(self, exchange: "_Exchange", url: httpx.URL, patience: float | None) -> None:
        tls = trust() if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        host = url.raw_host.decode("ascii")
        async with asyncio.timeout(patience):
            places = await look_up(host, port, may_be_inside=host == self._own_host)
        name = host if tls else None

        async def connect(place: str, patience: float | None) -> None:
            async with asyncio.timeout(patience):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: exchange, place, port, ssl=tls, server_hostname=name)

        await connect_in_turn(places, connect, patience, OSError)


async def _written(request: httpx.Request) -> bytes:
    """Return the request as it goes over the wire."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw if header[0].lower() != b"connection"]
    return b"\r\n".join([*lines, b"Connection: close", b"", await request.aread()])


class _Exchange(asyncio.Protocol, httpx.AsyncByteStream):
    """One request and its answer."""

    def __init__(self, request: bytes, patience: float | None) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._request = request
        self._patience = patience  # seconds without a byte
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._beside = 0  # bytes since the last one of the body
        self._has_head = False
        self._is_complete = False
        self._error: httpx.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ for the reader

    async def read_head(self) -> None:
        while not self._has_head:
            await self._wait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._pieces:
                yield self._take()
            elif self._is_complete:
                return
            else:
                await self._wait()

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    async def _wait(self) -> None:
        """Wait until something has come; raise httpx.TransportError if nothing will."""
        if self._error is not None:
            raise self._error
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if self._transport is not None:
            self._transport.resume_reading()
        timer = loop.call_later(self._patience, self._lose_patience) if self._patience is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _lose_patience(self) -> None:
        self._fail(httpx.ReadTimeout("the host has fallen silent"))

    def _fail(self, error: httpx.TransportError) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return
        if self._transport is not None:
            self._transport.pause_reading()
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(str(error)))
        if self._beside > HEAD_LIMIT:
            self._fail(httpx.RemoteProtocolError("the answer's head, or what stands beside its body, has no end"))
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self._is_complete:
            self._fail(httpx.ReadError("the connection was lost"))

    # ------------------------------------------------------------ for the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # "wait, there is more to come"
            self.headers.clear()
            return
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._beside = 0

    def on_message_complete(self) -> None:
        self._is_complete = self._has_head
