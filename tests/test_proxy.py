"""The proxy with faults: each toxic does what it says, and nothing else."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.fake_replicate import Gate
from tests.proxy import FaultyProxy, Toxic
from tests.waiting import WAIT_LIMIT, wait_until

ANSWER = bytes(range(256)) * 40


class Server:
    """Answers each line with `ANSWER`, and `bye` with its end; keeps what it was sent and how often it was left."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard = bytearray()
        self.left = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT_LIMIT)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        talks = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            talks.append(threading.Thread(target=self._talk, args=(connection,)))
            talks[-1].start()
        for talk in talks:
            talk.join(WAIT_LIMIT)

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self.heard += line
                    if line == b"bye\n":
                        break
                    connection.sendall(ANSWER)
            except OSError:
                pass
        self.left += 1


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: FaultyProxy) -> Iterator[Callable[[], socket.socket]]:
    opened = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), WAIT_LIMIT))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


Connect = Callable[[], socket.socket]


def receive(connection: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes."""
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        assert part, f"the connection ended after {len(received)} bytes"
        received += part
    return bytes(received)


def receive_all(connection: socket.socket) -> bytes:
    """Receive until the end."""
    received = bytearray()
    while part := connection.recv(65_536):
        received += part
    return bytes(received)


def says_something(connection: socket.socket) -> bool:
    """Whether bytes, or the end, can be had at this moment."""
    return bool(select.select([connection], [], [], 0)[0])


def ask(connection: socket.socket, line: bytes = b"hello\n") -> None:
    connection.sendall(line)


def test_without_toxics_everything_passes_both_ways(server: Server, connect: Connect) -> None:
    connection = connect()
    for _ in range(3):
        ask(connection)
        assert receive(connection, len(ANSWER)) == ANSWER
    ask(connection, b"bye\n")

    assert receive_all(connection) == b""
    assert bytes(server.heard) == b"hello\n" * 3 + b"bye\n"


def test_the_clients_end_reaches_the_server(server: Server, connect: Connect) -> None:
    connect().close()

    wait_until(lambda: server.left == 1)


def test_latency_holds_answers_back(proxy: FaultyProxy, connect: Connect) -> None:
    gate = Gate()
    proxy.spoil(Toxic(pause=gate))
    connection = connect()
    ask(connection)

    gate.wait_reached()
    assert not says_something(connection)
    gate.open()
    assert receive(connection, len(ANSWER)) == ANSWER


def test_a_slow_line_passes_a_few_bytes_at_a_time(proxy: FaultyProxy, connect: Connect) -> None:
    first, second = Gate(), Gate()
    proxy.spoil(Toxic(piece=7, pause=first))
    connection = connect()
    ask(connection)
    first.wait_reached()
    proxy.spoil(Toxic(piece=7, pause=second))  # for the pieces after the one that stands at the gate
    assert not says_something(connection)

    first.open()
    assert receive(connection, 7) == ANSWER[:7]
    second.wait_reached()
    assert not says_something(connection)
    second.open()
    assert receive(connection, len(ANSWER) - 7) == ANSWER[7:]


def test_a_sliced_answer_is_the_same_answer(proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil(Toxic(piece=1))
    connection = connect()
    ask(connection)

    assert receive(connection, len(ANSWER)) == ANSWER


@pytest.mark.parametrize("size", [0, 1, 300, len(ANSWER) - 1, len(ANSWER)])
def test_a_cut_lets_exactly_so_many_bytes_through(
    size: int, server: Server, proxy: FaultyProxy, connect: Connect
) -> None:
    proxy.spoil(Toxic(cut_at=size))
    connection = connect()
    ask(connection)

    assert receive_all(connection) == ANSWER[:size]
    wait_until(lambda: server.left == 1)


def test_a_cut_can_be_a_reset(proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil(Toxic(cut_at=300, how="reset"))
    connection = connect()
    ask(connection)

    with pytest.raises(ConnectionResetError):
        receive_all(connection)


def test_a_request_can_be_cut(server: Server, proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil(Toxic(cut_at=3), "request")
    connection = connect()
    ask(connection)

    assert receive_all(connection) == b""
    wait_until(lambda: server.left == 1)
    assert bytes(server.heard) == b"hel"


@pytest.mark.parametrize("ends", [False, True], ids=["it goes on", "it ends"])
def test_a_hole_swallows_the_rest_and_the_end(ends: bool, server: Server, proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil(Toxic(hole_at=300))
    connection = connect()
    ask(connection)
    assert receive(connection, 300) == ANSWER[:300]

    ask(connection, b"bye\n" if ends else b"more\n")
    wait_until(lambda: b"bye" in server.heard or b"more" in server.heard)
    wait_until(lambda: server.left == ends)
    other = connect()  # by the time of its answer, this one's would have come
    ask(other)
    assert receive(other, 300) == ANSWER[:300]
    assert not says_something(connection)


def test_one_byte_can_be_corrupted(proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil(Toxic(corrupt_at=300, piece=100))
    connection = connect()
    ask(connection)
    received = receive(connection, len(ANSWER))

    assert [at for at in range(len(ANSWER)) if received[at] != ANSWER[at]] == [300]


def test_a_slow_close_holds_the_end_back(server: Server, proxy: FaultyProxy, connect: Connect) -> None:
    gate = Gate()
    proxy.spoil(Toxic(slow_close=gate))
    connection = connect()
    ask(connection, b"bye\n")

    gate.wait_reached()
    assert not says_something(connection)
    gate.open()
    assert receive_all(connection) == b""


def test_a_refused_connection_and_a_change_of_mind(proxy: FaultyProxy, connect: Connect) -> None:
    old = connect()
    ask(old)
    receive(old, len(ANSWER))
    proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        connect()
    ask(old)
    assert receive(old, len(ANSWER)) == ANSWER
    proxy.accept()
    new = connect()
    ask(new)
    assert receive(new, len(ANSWER)) == ANSWER


def test_nobody_behind_the_proxy_ends_the_connection(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with (
        FaultyProxy(port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), WAIT_LIMIT) as connection,
    ):
        assert connection.recv(1) == b""


def test_only_the_next_connections_can_be_spoilt(proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil_next(Toxic(cut_at=1), Toxic(cut_at=2))
    answers = []
    for _ in range(3):
        connection = connect()
        ask(connection)
        ask(connection, b"bye\n")
        answers.append(len(receive_all(connection)))

    assert answers == [1, 2, len(ANSWER)]
    assert proxy.pending == 0


def test_only_the_answer_to_one_request_can_be_spoilt(proxy: FaultyProxy, connect: Connect) -> None:
    proxy.spoil_next(Toxic(cut_at=5), on=b"stream")
    connection = connect()
    ask(connection, b"create\n")
    assert receive(connection, len(ANSWER)) == ANSWER
    assert proxy.pending == 1
    ask(connection, b"stream\n")

    assert receive_all(connection) == ANSWER[:5]
    assert proxy.pending == 0


def test_toxics_are_put_on_and_taken_off_while_it_runs(proxy: FaultyProxy, connect: Connect) -> None:
    connection = connect()
    ask(connection)
    receive(connection, len(ANSWER))

    proxy.spoil(Toxic(corrupt_at=0))
    ask(connection)
    assert receive(connection, len(ANSWER)) != ANSWER
    proxy.heal()
    ask(connection)
    assert receive(connection, len(ANSWER)) == ANSWER
