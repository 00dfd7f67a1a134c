"""The web server: it does not hold in memory what nobody reads, and takes its leave of browsers."""

import asyncio
import http.client
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chat.limits import BURST
from chat.server import WebServer
from tests.waiting import WAIT_LIMIT, wait_until
from tests.websocket import CLOSE, TEXT, WebSocket

PROJECT = Path(__file__).parent.parent
PIECE, PIECES = 65_536, 1_500  # of what `/flood` and the socket send; no kernel buffers so many
SIZES = (2, 124, 126, 65_534, 65_536, 5_000_000)  # bytes of messages, on both sides of what a head can tell
HEAD_PATIENCE = 1.0  # seconds
UNREAD = 500  # pieces: far more than a kernel keeps for a connection, far fewer than there are

# An application that counts what the server has taken of it: what lies beyond that is in nobody's memory.
APPLICATION = f"""
import sys, time
import chat.server
from chat.server import WebServer
from predictions import watchdog

chat.server.HEAD_PATIENCE = {HEAD_PATIENCE}
watchdog.PATIENCE, watchdog.LOOK_AGAIN = 0.5, 0.1
taken = 0

async def application(scope, receive, send):
    global taken
    if scope["type"] == "websocket":
        await send({{"type": "websocket.accept"}})
        if scope["path"] == "/flood":
            for number in range({PIECES}):
                await send({{"type": "websocket.send", "bytes": b"x" * {PIECE}}})
                taken += 1
        if scope["path"] == "/sizes":
            for size in {SIZES}:
                await send({{"type": "websocket.send", "text": "é" * (size // 2)}})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    else:
        if scope["path"] == "/hold":
            time.sleep(1.5)
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        if scope["path"] == "/flood":
            for number in range({PIECES}):
                await send({{"type": "http.response.body", "body": b"x" * {PIECE}, "more_body": True}})
                taken += 1
        await send({{"type": "http.response.body", "body": str(taken).encode()}})

server = WebServer(host="127.0.0.1", port=0, farewell=float(sys.argv[1]), application=application)
server.ready_callable = lambda: print(server.listening_addresses[0][1], flush=True)
server.run()
"""


class RunningServer:
    def __init__(self, stack: ExitStack, farewell: float, log: Path | None = None) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", APPLICATION, str(farewell)],
                cwd=PROJECT,
                env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(PROJECT)},
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(log.open("w")) if log else None,
                text=True,
            )
        )
        stack.callback(self.process.kill)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    @property
    def taken(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_LIMIT)
        connection.request("GET", "/taken")
        taken = int(connection.getresponse().read())
        connection.close()
        return taken

    def waits(self) -> bool:
        """Whether it takes nothing more, while it has answered many others."""
        before = self.taken
        return before > 0 and all(self.taken == before for _ in range(50))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_file_is_sent_as_fast_as_it_is_read(stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    reader = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), WAIT_LIMIT))
    reader.sendall(b"GET /flood HTTP/1.0\r\n\r\n")
    wait_until(server.waits)
    assert server.taken < UNREAD

    with reader.makefile("rb") as answer:
        while answer.readline().strip():
            pass
        assert len(answer.read()) == PIECE * PIECES + len(str(PIECES))


def test_a_socket_is_sent_as_fast_as_it_is_read(stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    reader = stack.enter_context(WebSocket(server.port, "/flood"))
    wait_until(server.waits)
    assert server.taken < UNREAD

    assert sum(len(reader.receive()[1]) for _ in range(PIECES)) == PIECE * PIECES


def test_a_reader_that_goes_away_holds_nothing_up(stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    for reader in (WebSocket(server.port, "/flood"), socket.create_connection(("127.0.0.1", server.port))):
        with reader:
            if isinstance(reader, socket.socket):
                reader.sendall(b"GET /flood HTTP/1.0\r\n\r\n")
            wait_until(server.waits)
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(WAIT_LIMIT) == 0


def test_messages_of_any_size_arrive(stack: ExitStack) -> None:
    reader = stack.enter_context(WebSocket(RunningServer(stack, 0).port, "/sizes"))

    for size in SIZES:
        assert reader.receive() == (TEXT, "é".encode() * (size // 2))


def test_a_browser_that_does_nothing_but_ping_is_sent_away(stack: ExitStack) -> None:
    browser = stack.enter_context(WebSocket(RunningServer(stack, 0).port, "/"))
    for _ in range(2 * BURST):
        browser.ping()

    assert browser.close_code() == 1008


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nX: 1\r\n"])
def test_a_head_that_drips_ends_its_connection(before: bytes, stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    browser = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), WAIT_LIMIT))
    browser.sendall(before)

    def is_over() -> bool:
        try:
            browser.sendall(b"x")
            return browser in select.select([browser], [], [], HEAD_PATIENCE / 10)[0] and not browser.recv(PIECE)
        except ConnectionError:
            return True

    wait_until(is_over)


def test_a_body_may_take_longer_than_a_head(stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    browser = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), WAIT_LIMIT))
    browser.sendall(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
    for byte in b"a=12":
        time.sleep(HEAD_PATIENCE / 2)
        browser.sendall(bytes([byte]))

    assert browser.recv(PIECE).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("farewell", [0.0, 0.5])
def test_browsers_are_sent_elsewhere_before_it_ends(farewell: float, stack: ExitStack) -> None:
    server = RunningServer(stack, farewell)
    browsers = [stack.enter_context(WebSocket(server.port, "/")) for _ in range(20)]
    server.process.send_signal(signal.SIGTERM)

    assert {browser.close_code() for browser in browsers} == {1012}
    assert server.process.wait(WAIT_LIMIT) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_a_request_that_runs_is_answered_to_its_end(stack: ExitStack) -> None:
    server = RunningServer(stack, 0)
    reader = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), WAIT_LIMIT))
    reader.sendall(b"GET /flood HTTP/1.0\r\n\r\n")
    wait_until(server.waits)
    server.process.send_signal(signal.SIGTERM)

    with reader.makefile("rb") as answer:
        while answer.readline().strip():
            pass
        assert len(answer.read()) == PIECE * PIECES + len(str(PIECES))
    assert server.process.wait(WAIT_LIMIT) == 0


def test_a_second_signal_ends_it_at_once(stack: ExitStack) -> None:
    server = RunningServer(stack, 60)
    browser = stack.enter_context(WebSocket(server.port, "/"))
    server.process.send_signal(signal.SIGTERM)

    def ended() -> bool:
        server.process.send_signal(signal.SIGTERM)
        return server.process.poll() is not None

    wait_until(ended)
    with pytest.raises((EOFError, ConnectionError)):
        while browser.receive()[0] != CLOSE:
            pass


def test_what_holds_it_up_is_named(stack: ExitStack, tmp_path: Path) -> None:
    server = RunningServer(stack, 0, log=tmp_path / "log")
    with socket.create_connection(("127.0.0.1", server.port), WAIT_LIMIT) as browser:
        browser.sendall(b"GET /hold HTTP/1.0\r\n\r\n")
        browser.makefile("rb").read()
    server.process.terminate()
    assert server.process.wait(WAIT_LIMIT) == 0

    _, told = (tmp_path / "log").read_text().split("Everything here waits")
    assert "in application" in told


async def test_a_connection_that_has_just_come_is_no_trouble_at_the_end() -> None:
    server = WebServer(host="127.0.0.1", port=0, application=object())
    server.connections = {object(): {}}

    await server.kill_all_applications().asFuture(asyncio.get_running_loop())
