"""httpx's own transport, but whoever is cancelled gives its place in the pool back, wherever it was.

httpcore loses a place when a request is cancelled while it takes a lock or closes its body (its issue 1093); a process
that cancels for weeks would have none left. What it forgets is found by comparing the connections with the requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast

import httpx

# ruff: noqa: SLF001 - the pool has no other way to be told; tests/test_outgoing.py notices when it changes


class PooledTransport(httpx.AsyncHTTPTransport):
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
