"""The tests' own servers leave nothing behind when they end."""

import asyncio
import socket
import threading
from contextlib import ExitStack, suppress

from tests.loopback import LoopbackListener
from tests.waiting import WAIT_LIMIT, wait_until

ENDS = 10
MOST_CONNECTIONS = 300  # of one end


class Silent(LoopbackListener):
    async def see_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()


def call_until_refused(port: int, opened: list[socket.socket]) -> None:
    with suppress(ConnectionError):
        while len(opened) < MOST_CONNECTIONS:
            opened.append(socket.create_connection(("127.0.0.1", port), WAIT_LIMIT))


def test_connections_of_the_last_moment_are_lost_like_all_others() -> None:
    for _ in range(ENDS):
        opened: list[socket.socket] = []
        with Silent() as server:
            caller = threading.Thread(target=call_until_refused, args=(server.port, opened))
            caller.start()
            wait_until(lambda: server.connections >= 5)
        caller.join(WAIT_LIMIT)
        with ExitStack() as connections:
            for connection in opened:
                connections.enter_context(connection)
                with suppress(ConnectionError):
                    connection.sendall(b"?")  # whom a full queue kept out learns of it only by this
                    assert connection.recv(1) == b""
