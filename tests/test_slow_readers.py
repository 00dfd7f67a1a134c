"""Readers that do not read, that flood, and that are gone without a word: nobody else is to notice."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat.limits import BURST
from predictions.proxies import ROOM
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.prepared import copy_to, static
from tests.proxy import FaultyProxy, Toxic
from tests.services import own_valkey
from tests.visitor import PASSWORD, Asked, Visitor, events
from tests.waiting import WAIT_LIMIT, wait_until
from tests.websocket import CLOSE, TEXT, WebSocket

PROJECT = Path(__file__).parent.parent
LARGEST_FRAME = 65_536  # characters of text
SMALL = 16_384  # bytes that a reader's kernel keeps for it
PIECES = [f"{number:05} " + "ß" * 3_994 for number in range(1_000)]  # of which JSON makes six times as many bytes
LONG_TEXT = "".join(PIECES)
GROWTH = 12  # MiB that a process may grow by; the text as JSON has 24


class Web:
    """A web process and a worker, and the first admin."""

    def __init__(self, stack: ExitStack, environment: dict[str, str]) -> None:
        self._stack = stack
        self._environment = environment
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        for command in (["prepare"], ["createsuperuser", "--noinput", "--username", "ada", "--email", ""]):
            subprocess.run([sys.executable, "manage.py", *command], cwd=PROJECT, env=environment, check=True)
        self.process = self._start("web", "--host", "127.0.0.1", "--port", str(self.port))
        self._start("runpredictions")
        wait_until(self._is_ready, limit=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> float:
        """MiB that the web process has of its own."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
        return int(line.split()[1]) / 1024

    @contextmanager
    def growing_by(self, limit: int) -> Iterator[None]:
        """Fail if the web process grows by more than `limit` MiB meanwhile, if only for a moment."""
        about = Path(f"/proc/{self.process.pid}")
        (about / "clear_refs").write_text("5")  # the peak begins anew
        before = _peak(about)
        yield
        assert _peak(about) - before < limit

    def _is_ready(self) -> bool:
        assert self.process.poll() is None
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == 200
        return False

    def _start(self, *command: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "manage.py", *command], cwd=PROJECT, env=self._environment)
        self._stack.callback(process.wait, WAIT_LIMIT)
        self._stack.callback(process.send_signal, signal.SIGTERM)
        return process


def _peak(process: Path) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.fixture(scope="module")
def web(host: FakeReplicate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with ExitStack() as stack:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))},
            "REDIS_URL": stack.enter_context(own_valkey()),
            "PARLEY_DATA_DIR": str(tmp_path_factory.mktemp("web")),
            "PARLEY_STATIC_DIR": static(),
            "PARLEY_REPLICATE_URL": host.url,
            "PARLEY_REPLICATE_MODELS": "meta/meta-llama-3-8b-instruct",
            "REPLICATE_API_TOKEN": host.token,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        copy_to(Path(environment["PARLEY_DATA_DIR"]))
        yield Web(stack, environment)


@pytest.fixture(scope="module")
def ada(web: Web) -> Iterator[Visitor]:
    with Visitor(web.url) as ada:
        ada.sign_in("ada")
        yield ada


def connect(ada: Visitor, port: int, asked: Asked | None = None, *, buffer: int | None = None) -> WebSocket:
    tab = WebSocket(port, "/socket/", {"Cookie": ada.cookies}, buffer=buffer)
    assert tab.status == 101
    for frame in asked.frames() if asked else []:
        tab.send(json.dumps(frame))
    return tab


def next_frame(tab: WebSocket, *kinds: str) -> dict[str, Any]:
    while True:
        kind, content = tab.receive()
        assert kind != CLOSE, f"closed with {int.from_bytes(content[:2])}"
        frame = json.loads(content) if kind == TEXT else {}
        if frame.get("type") in kinds:
            return dict(frame)


def read_text(tab: WebSocket, size: int) -> str:
    """Read as the page does, until the answer has `size` characters."""
    text = ""
    while len(text) < size:
        frame = next_frame(tab, "output", "refused")
        assert (frame["type"], frame["offset"]) == ("output", len(text))
        assert len(frame["text"]) <= LARGEST_FRAME
        text += frame["text"]
    return text


def ask_long(ada: Visitor, host: FakeReplicate) -> tuple[Asked, Gate, Gate]:
    begin, end = Gate(), Gate()
    host.script(Script(steps=[begin, *PIECES, end]))
    return ada.ask("A long story"), begin, end


# ---------------------------------------------------------------- bodies: first, while the process is small

FORM = "Content-Type: multipart/form-data; boundary=cut"
PART = '--cut\r\nContent-Disposition: form-data; name="f{}"{}\r\n\r\n{}\r\n'


def send_raw(port: int, *lines: str, body: Iterable[bytes]) -> tuple[bytes, int]:
    """Post to the way in; return the first line of what comes back, b"" if nothing does, and how much was sent."""
    head = "\r\n".join(["POST /accounts/login/ HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines, "", ""])
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_LIMIT) as connection:
        connection.sendall(head.encode())
        with suppress(ConnectionError):
            for piece in body:
                connection.sendall(piece)
                sent += len(piece)
        with suppress(ConnectionError):
            return connection.makefile("rb").readline().strip(), sent
    return b"", sent


def test_a_large_file_is_taken_and_not_held_in_memory(web: Web, ada: Visitor) -> None:
    content = os.urandom(1_000_000) * 60
    with web.growing_by(2 * GROWTH):
        answer = ada.upload(content)

    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == len(content)


def test_a_body_without_end_or_of_any_size_is_cut_off_before_anybody_reads_it(web: Web) -> None:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with web.growing_by(GROWTH):
        for length in ("Transfer-Encoding: chunked", "Content-Length: 1000000000000"):
            told, sent = send_raw(web.port, length, body=repeat(piece, 1_000))

            assert told in {b"", b"HTTP/1.1 413 Content Too Large"}
            assert sent < 4 * ROOM


@pytest.mark.parametrize(
    "body",
    [
        "".join(PART.format(n, "", "x") for n in range(10_000)) + "--cut--",
        "".join(PART.format(n, '; filename="f"', "x") for n in range(1_000)) + "--cut--",
        PART.format(0, "\r\nContent-Transfer-Encoding: base64", "QUFB" * 1_000_000) + "--cut--",
        PART.format(0, "", "x" * 4_000_000) + "--cut--",
        "--cu" * 1_000_000,
    ],
    ids=["ten thousand fields", "a thousand files", "a field in base64", "a long field", "no boundary"],
)
def test_a_form_of_too_many_or_too_large_parts_is_refused(web: Web, body: str) -> None:
    with web.growing_by(3 * GROWTH):
        told, _ = send_raw(web.port, FORM, f"Content-Length: {len(body)}", body=[body.encode()])

    assert told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ")), told


def test_heads_that_drip_hold_nobody_up_and_large_ones_are_refused(web: Web) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            dripping = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=WAIT_LIMIT))
            dripping.sendall(b"GET /health/live HTTP/1.1\r\nX-")

        assert httpx.get(f"{web.url}/health/live", trust_env=False).status_code == 200
    for large in ("X: " + "x" * 20_000, "\r\n".join(f"X-{n}: 1" for n in range(600))):
        told, _ = send_raw(web.port, large, body=[])
        assert told in {b"", b"HTTP/1.1 400 Bad Request"}


def test_a_body_that_is_longer_than_it_says_is_no_second_request(web: Web) -> None:
    told, _ = send_raw(web.port, "Content-Length: 4", body=[b"a=1&" + b"x" * 100_000])

    assert told.startswith(b"HTTP/1.1 403 ")
    assert httpx.get(f"{web.url}/health/live", trust_env=False).status_code == 200


# ---------------------------------------------------------------- slow ones


def test_a_tab_that_does_not_read_gets_it_all_later_and_holds_nobody_up(
    web: Web, ada: Visitor, host: FakeReplicate
) -> None:
    asked, begin, end = ask_long(ada, host)
    with connect(ada, web.port, asked, buffer=SMALL) as slow, connect(ada, web.port, asked) as quick:
        next_frame(slow, "messages")
        before = web.memory
        begin.open()

        assert read_text(quick, len(LONG_TEXT)) == LONG_TEXT
        assert web.memory - before < GROWTH
        assert read_text(slow, len(LONG_TEXT)) == LONG_TEXT
        end.open()
        assert next_frame(slow, "ended") == next_frame(quick, "ended")


def test_an_event_stream_that_is_not_read_gets_it_all_later(web: Web, ada: Visitor, host: FakeReplicate) -> None:
    asked, begin, end = ask_long(ada, host)
    text = ""
    with ada.stream(asked.frames()) as slow, connect(ada, web.port, asked) as quick:
        told = events(slow)
        assert next(told) == {}
        before = web.memory
        begin.open()
        assert read_text(quick, len(LONG_TEXT)) == LONG_TEXT
        assert web.memory - before < GROWTH

        for frame in told:
            if frame.get("type") == "output":
                assert (frame["offset"], len(frame["text"]) <= LARGEST_FRAME) == (len(text), True)
                text += frame["text"]
            if len(text) == len(LONG_TEXT):
                break
        end.open()

    assert text == LONG_TEXT


# ---------------------------------------------------------------- those who flood


def test_a_tab_that_sends_too_much_is_closed(web: Web, ada: Visitor) -> None:
    with connect(ada, web.port) as tab:
        with suppress(ConnectionError):
            for _ in range(10 * BURST):
                tab.send("{}")

        assert tab.close_code() == 1008


def test_a_frame_that_is_too_large_ends_its_connection_before_it_is_read(web: Web, ada: Visitor) -> None:
    with connect(ada, web.port) as tab, web.growing_by(GROWTH), suppress(ConnectionError):
        for _ in range(2):
            tab.send("x" * 50_000_000)
        with pytest.raises((ConnectionError, EOFError)):
            tab.close_code()


def test_who_has_fifty_tabs_open_is_told_so(web: Web, ada: Visitor) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            tab = stack.enter_context(connect(ada, web.port))
            assert json.loads(tab.receive()[1]) == {}
        with connect(ada, web.port) as one_more:
            reason = next_frame(one_more, "refused")["reason"]
            assert one_more.close_code() == 1008

    assert reason == "You have too many pages open here. Close some of them."


def test_a_flood_costs_the_others_nothing(web: Web, ada: Visitor, host: FakeReplicate) -> None:
    asked, begin, end = ask_long(ada, host)
    begin.open()
    with connect(ada, web.port, asked) as reader:
        assert read_text(reader, len(LONG_TEXT)) == LONG_TEXT
    before = web.memory
    gate = Gate()
    host.script(Script(steps=["Still", gate, " here."]))
    other = ada.ask("Are you still here?")
    was_stopped = threading.Event()

    def flood() -> None:
        # It reads nothing, so that nothing more can be said to it, and then sends on and on.
        with connect(ada, web.port, buffer=SMALL) as tab:
            for _ in range(20):
                tab.send(json.dumps(asked.frames()[1]))
            with suppress(ConnectionError):
                for _ in range(5_000):
                    tab.send("x" * 60_000)
            with suppress(ConnectionError, EOFError):
                tab.close_code()
            was_stopped.set()

    flooding = threading.Thread(target=flood)
    with connect(ada, web.port, other) as tab:
        flooding.start()
        text = read_text(tab, len("Still"))
        gate.open()
        ended = next_frame(tab, "ended")
        flooding.join()

    assert was_stopped.is_set()
    assert (text, ended["status"]) == ("Still", "succeeded")
    assert web.memory - before < 8 * GROWTH  # 300 MB were sent
    end.open()


# ---------------------------------------------------------------- those who are gone

APPLICATION = """
from chat.server import WebServer

async def application(scope, receive, send):
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
    print("gone", flush=True)

server = WebServer(host="127.0.0.1", port=0, application=application)
server.ping_interval, server.ping_timeout = 0.2, 0.5
server.ready_callable = lambda: print(server.listening_addresses[0][1], flush=True)
server.run()
"""


def test_a_socket_whose_other_side_is_gone_without_a_word_is_dropped() -> None:
    command = [sys.executable, "-c", APPLICATION]
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            with FaultyProxy(int(server.stdout.readline())) as proxy, WebSocket(proxy.port, "/"):
                proxy.spoil(Toxic(hole_at=0), "answer")
                proxy.spoil(Toxic(hole_at=0), "request")

                assert server.stdout.readline() == "gone\n"
        finally:
            server.kill()
