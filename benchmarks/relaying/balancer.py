"""A load balancer in a process of its own: each new connection goes to the next process that takes it."""

import asyncio

from benchmarks.relaying.control import serve


class Side(asyncio.Protocol):
    """One of the two connections of a pair; what it hears, the other one says."""

    def __init__(self) -> None:
        self.other: Side | None = None
        self._early: list[bytes] = []  # heard before the other one is there
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    def pair_with(self, other: "Side") -> None:
        self.other, other.other = other, self
        for data in self._early:
            other.write(data)
        if self._transport is None or self._transport.is_closing():
            other.close()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Balancer:
    def __init__(self) -> None:
        self._ports: list[int] = []
        self._pairing: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        """Return the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=1_024)
        return int(self._server.sockets[0].getsockname()[1])

    async def lead_to(self, ports: list[int]) -> None:
        """Lead new connections to these ports, in turns."""
        self._ports = ports

    def _accept(self) -> Side:
        browser = Side()
        task = asyncio.ensure_future(self._pair(browser))
        self._pairing.add(task)
        task.add_done_callback(self._pairing.discard)
        return browser

    async def _pair(self, browser: Side) -> None:
        for _ in self._ports:
            self._ports.append(self._ports.pop(0))
            try:
                _, server = await asyncio.get_running_loop().create_connection(Side, "127.0.0.1", self._ports[-1])
            except OSError:
                continue
            browser.pair_with(server)
            return
        browser.close()


if __name__ == "__main__":
    balancer = Balancer()
    serve({"listen": balancer.listen, "lead_to": balancer.lead_to})
