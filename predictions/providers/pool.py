"""httpx's own transport, but it looks where names lead, and whoever is cancelled gives its place in the pool back.

httpcore loses a place when a request is cancelled while it takes a lock or closes its body (its issue 1093); a process
that cancels for weeks would have none left. What it forgets is found by comparing the connections with the requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

import httpcore
import httpx

from predictions.providers.errors import AddressRefused
from predictions.providers.places import connect_in_turn, look_up, refuse_secrets
from predictions.providers.tls import trust

# ruff: noqa: SLF001 - the pool has no other way to be told; tests/test_outgoing.py notices when it changes


class PooledTransport(httpx.AsyncHTTPTransport):
    def __init__(self, own_host: str, **options: Any) -> None:
        """`own_host` may be anywhere: an admin has named it."""
        super().__init__(verify=trust(), **options)
        pool: Any = self._pool
        pool._network_backend = _Judging(pool._network_backend, own_host)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await super().handle_async_request(request)
        except asyncio.CancelledError:
            await self._give_back(request)
            raise
        body = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Body(body, partial(self._give_back, request))
        return response

    async def _give_back(self, request: httpx.Request) -> None:
        """Have the pool forget `request` and the connections that nobody uses, and serve those who wait for one."""
        pool: Any = self._pool
        pool._requests = [held for held in pool._requests if held.request.stream is not request.stream]
        used = {id(held.connection) for held in pool._requests}
        known = [one for one in pool._connections if id(one) in used or one.is_idle() or one.is_closed()]
        forgotten = [one for one in pool._connections if one not in known]
        pool._connections = known
        await pool._close_connections([*forgotten, *pool._assign_requests_to_connections()])


class _Judging(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, but other names than `own_host` must lead outside."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, own_host: str) -> None:
        self._network = network
        self._own_host = own_host

    async def connect_tcp(  # type: ignore[override]  # what else there is goes on untouched
        self, host: str, port: int, timeout: float | None = None, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        is_own = host == self._own_host
        try:
            async with asyncio.timeout(timeout):
                places = await look_up(host, port, may_be_inside=is_own)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        if is_own:
            return await self._connect_side_by_side(host, port, timeout, **options)

        async def connect(place: str, timeout: float | None) -> httpcore.AsyncNetworkStream:
            return await self._network.connect_tcp(place, port, timeout, **options)

        return await connect_in_turn(places, connect, timeout, httpcore.ConnectError, httpcore.ConnectTimeout)

    async def _connect_side_by_side(
        self, host: str, port: int, timeout: float | None, **options: Any
    ) -> httpcore.AsyncNetworkStream:
        """Have the network try all addresses at once, for which it looks the name up by itself, and judge the end."""
        stream = await self._network.connect_tcp(host, port, timeout, **options)
        try:
            refuse_secrets(host, [stream.get_extra_info("server_addr")[0]])
        except AddressRefused:
            await stream.aclose()
            raise
        return stream

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream, give_back: Callable[[], Awaitable[None]]) -> None:
        self._body = body
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        except asyncio.CancelledError:
            await self._give_back()
            raise
