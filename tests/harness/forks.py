"""Start processes of Parley some thirty times faster: one process imports everything once, and forks them.

with ForkServer({"DATABASE_URL": …}) as forks:
    worker = forks.start(Order(role="worker", …))
    worker.hear("ready")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

PROJECT = Path(__file__).parent.parent.parent
ANSWER_LIMIT = 60.0  # seconds for the fork server to start, and for whatever is waited for
REPORT_SIZE = 4096

Role = Literal["worker", "web", "furnish"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a forked process is to be."""

    role: Role
    data: str  # the folder of its files
    log: str  # where its standard error goes
    database: str = ""  # the path of an SQLite database, or a name at PostgreSQL; "": that of the environment
    provider: str = ""  # the provider's address
    token: str = ""
    secret: str = ""  # of the provider's webhooks
    public_url: str = ""
    dies_at: int = 0  # the crossing at which it ends itself; 0: never
    dies_where: str = ""  # count only the crossings of points whose names begin so
    dies_by: int = signal.SIGKILL
    bugs: tuple[str, ...] = ()
    clock: float = 0.0  # seconds by which its clock is wrong
    seed: int = 0
    told: dict[str, Any] = field(default_factory=dict)  # what else its role needs


class Child:
    """A forked process, which says what it does through a pipe."""

    def __init__(self, server: "ForkServer", order: Order, pid: int, pipe: int) -> None:
        self.order = order
        self.pid = pid
        self.said: list[dict[str, Any]] = []
        self.has_ended = False
        self.code: int | None = None  # as `wait` returns it
        self._server = server
        self._pipe = pipe
        self._rest = b""
        self._lock = threading.Lock()  # the driver of a scene and its tabs listen to the same process

    @property
    def point(self) -> str:
        """The point at which it ended or stopped itself; "" if it has not."""
        return next((f"{said['point']}, {said['what']}" for said in self.listen() if "point" in said), "")

    def hear(self, word: str, limit: float = ANSWER_LIMIT) -> Any:
        """Wait until it has said `word`, and return what it said with it."""
        end = time.monotonic() + limit
        while True:
            for report in self.said:
                if word in report:
                    return report[word]
            if self.has_ended or time.monotonic() > end:
                raise AssertionError(f"process {self.pid} never said {word!r}, but {self.said}")
            self.listen(min(1.0, limit))

    def listen(self, timeout: float = 0.0) -> list[dict[str, Any]]:
        """Return what it has said so far, waiting up to `timeout` seconds for more; see also `has_ended`."""
        with self._lock, selectors.DefaultSelector() as selector:
            if not self.has_ended:
                selector.register(self._pipe, selectors.EVENT_READ)
                if selector.select(timeout):
                    self._read()
        return list(self.said)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended; its number stays its own until `wait`."""
        if not self.has_ended:
            os.kill(self.pid, number)

    def wait(self, limit: float = ANSWER_LIMIT) -> int:
        """Return the exit code, negative for the signal that ended it, as soon as it has ended."""
        end = time.monotonic() + limit
        while not self.has_ended:
            if time.monotonic() > end:
                raise AssertionError(f"process {self.pid} does not end; it said {self.said}")
            self.listen(min(1.0, limit))
        return self._server.reap(self)

    def _read(self) -> None:
        received = os.read(self._pipe, REPORT_SIZE)
        *lines, self._rest = (self._rest + received).split(b"\n")
        self.said += [json.loads(line) for line in lines]
        if not received:
            self.has_ended = True
            os.close(self._pipe)


class ForkServer:
    """The parent's end. Threads may share it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(ANSWER_LIMIT)
        command = [sys.executable, "-m", "tests.harness.preloaded", str(theirs.fileno())]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))}
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env={**inherited, "DJANGO_SETTINGS_MODULE": "tests.settings", **self._environment},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._answers = self._socket.makefile("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._answers.close()
        self._socket.close()  # it kills what it has forked, and ends
        try:
            self._process.wait(ANSWER_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def start(self, order: Order) -> Child:
        reading, writing = os.pipe()
        request = json.dumps(asdict(order)).encode() + b"\n"
        try:
            with self._lock:
                # The pipe goes along with the first byte, whatever the rest is split into.
                socket.send_fds(self._socket, [request[:1]], [writing])
                self._socket.sendall(request[1:])
                pid = self._hear()["pid"]
        finally:
            os.close(writing)
        return Child(self, order, pid, reading)

    def reap(self, child: Child) -> int:
        """Return the exit code of a process that has ended."""
        with self._lock:
            if child.code is None:  # its number may be another's from now on
                self._socket.sendall(json.dumps({"reap": child.pid}).encode() + b"\n")
                child.code = int(self._hear()["code"])
            return child.code

    def _hear(self) -> dict[str, Any]:
        try:
            line = self._answers.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise AssertionError(f"the fork server ended:\n{self._log.read_text()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
