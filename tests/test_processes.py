"""The processes of the Procfile over PostgreSQL and Redis, and what becomes of an answer when one is killed."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.prepared import static
from tests.services import real_postgres, real_valkey
from tests.waiting import WAIT_LIMIT, wait_until

PROJECT = Path(__file__).parent.parent
PYTHON = Path(sys.executable)
HOLDER = (
    "SELECT name FROM predictions_worker WHERE id IN"
    " (SELECT worker_id FROM predictions_prediction WHERE status = 'processing')"
)


class Fleet:
    """Processes with the same environment."""

    def __init__(self, stack: ExitStack, environment: dict[str, str]) -> None:
        self.environment = environment
        self._stack = stack

    def manage(self, *command: str) -> "subprocess.Popen[str]":
        return self._start([str(PYTHON), "manage.py", *command])

    def from_procfile(self, name: str) -> "subprocess.Popen[str]":
        lines = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
        return self._start(["sh", "-c", f"exec {lines[name]}"])

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(command, cwd=PROJECT, env=self.environment, stdout=subprocess.PIPE, text=True)
        self._stack.callback(end, process)
        return process


def end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=WAIT_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate() as fake:
        yield fake


@pytest.fixture(scope="module")
def fleet(fake: FakeReplicate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Processes of a site that is released already; each test ends its own."""
    with ExitStack() as stack:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))},
            "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": "0",
            "DATABASE_URL": stack.enter_context(real_postgres()),
            "REDIS_URL": stack.enter_context(real_valkey()),
            "PARLEY_DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "PARLEY_STATIC_DIR": static(),
            "PARLEY_REPLICATE_URL": fake.url,
            "PARLEY_REPLICATE_MODELS": "meta/meta-llama-3-8b-instruct",
            "REPLICATE_API_TOKEN": fake.token,
        }
        fleet = Fleet(stack, environment)
        assert fleet.from_procfile("release").wait(60) == 0
        yield fleet


def test_web_and_worker_are_ready_together(fleet: Fleet) -> None:
    with httpx.Client(trust_env=False) as client:
        fleet.environment["PORT"] = str(free_port())
        web = fleet.from_procfile("web")
        address = f"http://127.0.0.1:{fleet.environment['PORT']}/health/ready"

        def status() -> int | None:
            try:
                return client.get(address).status_code
            except httpx.TransportError:
                return None

        wait_until(status)
        assert client.get(address).json()["worker"] == "failing"
        worker = fleet.from_procfile("worker")
        wait_until(lambda: status() == 200)
        assert [told_again_and_again_to_end(process) for process in (web, worker)] == [0, 0]


def test_an_answer_survives_the_worker_that_wrote_it(fleet: Fleet, fake: FakeReplicate) -> None:
    words = [f"word{n} " for n in range(20)]
    gate = Gate()
    fake.script(Script(steps=[*words[:10], gate, *words[10:]]))
    workers = {worker.pid: worker for worker in (fleet.from_procfile("worker"), fleet.manage("runpredictions"))}

    def count_workers() -> int:
        with psycopg.connect(fleet.environment["DATABASE_URL"]) as database:
            [count] = database.execute("SELECT count(*) FROM predictions_worker").fetchone() or [0]
        return int(count)

    wait_until(lambda: count_workers() == 2)  # where there is none, `ask` brings its own
    reader = fleet.manage("ask", "Count")
    gate.wait_reached(60)

    def find_holder() -> int | None:
        with psycopg.connect(fleet.environment["DATABASE_URL"]) as database:
            row = database.execute(HOLDER).fetchone()
        return int(row[0].rpartition(":")[2]) if row else None

    holder = wait_until(find_holder)
    os.kill(holder, signal.SIGKILL)
    workers.pop(holder).wait(WAIT_LIMIT)
    gate.open()
    output, _ = reader.communicate(timeout=60)

    assert output == "".join(words) + "\n"
    assert reader.returncode == 0
    assert len(fake.ledger.created) == 1
    [survivor] = workers.values()
    survivor.terminate()
    assert survivor.wait(WAIT_LIMIT) == 0


def told_again_and_again_to_end(process: "subprocess.Popen[str]") -> int:
    """Send SIGTERM until it has ended; return its exit code."""
    while process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.001)
    return process.returncode


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
