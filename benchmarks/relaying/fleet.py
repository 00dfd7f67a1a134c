"""Parley as it runs for a team: web processes and workers over PostgreSQL and Redis, with a host behind them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psycopg
import redis

from benchmarks.relaying import processes
from benchmarks.relaying.control import PROJECT, Remote, RunFailed, tied
from tests.services import own_valkey, real_postgres

LONGEST_START = 60.0  # seconds
LONGEST_END = 20.0  # seconds after SIGTERM
HOST = "127.0.0.1"
TOKEN = "r8_benchmark"  # noqa: S105 - the benchmark's own host takes any
direct = build_opener(ProxyHandler({}))


class Fleet:
    """Processes with one environment, and the database and the Redis that they share."""

    def __init__(self, stack: ExitStack, folder: Path, upstream: str, environment: Mapping[str, str]) -> None:
        self._stack = stack
        self._folder = folder
        self.database_url = stack.enter_context(real_postgres())
        self._redis_url = stack.enter_context(own_valkey())
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))}
        self.environment = {
            **ours,
            "DJANGO_SETTINGS_MODULE": "benchmarks.relaying.settings",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self._redis_url,
            "PARLEY_DATA_DIR": str(folder),
            "PARLEY_REPLICATE_URL": f"{upstream}/v1",
            "PARLEY_REPLICATE_MODELS": "meta/meta-llama-3-8b-instruct",
            "REPLICATE_API_TOKEN": TOKEN,
            "PARLEY_MESSAGES_PER_MINUTE": "0",  # a few people ask for all
            "PARLEY_ANSWERS_AT_ONCE": "0",
            **environment,
        }
        if self.start("prepare").wait(LONGEST_START):
            raise RunFailed(f"The database cannot be prepared:\n{self.log()}")
        self.database = stack.enter_context(psycopg.connect(self.database_url, autocommit=True))
        self.database_pid = processes.parent(self.database.info.backend_pid)
        with redis.Redis.from_url(self._redis_url) as client:
            self.redis_pid = int(client.info("server")["process_id"])

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start `manage.py` with `command`; what it writes goes into the log."""
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                tied([sys.executable, "manage.py", *command]),
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(end, process)
        return process

    def start_web(self) -> "tuple[subprocess.Popen[bytes], int]":
        """Return a web process that answers, and its port."""
        port = free_port()
        process = self.start("web", "--host", HOST, "--port", str(port))
        wait_until(lambda: answers(port), LONGEST_START, "The web process does not answer.")
        return process, port

    def start_worker(self) -> "subprocess.Popen[bytes]":
        return self.start("runpredictions")

    def count_workers(self) -> int:
        [[count]] = self.database.execute("SELECT count(*) FROM predictions_worker").fetchall()
        return int(count)

    def ask_with(self) -> Remote:
        """Return the process that asks questions."""
        remote = Remote("benchmarks.relaying.questions", environment=self.environment)
        self._stack.callback(remote.close)
        return remote

    def commits(self) -> int:
        """Return how many transactions the database has seen: all of them, those that only read included."""
        [[count]] = self.database.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchall()
        return int(count)

    def log(self) -> str:
        """Return the end of what the processes have written."""
        return (self._folder / "log").read_text(errors="replace")[-3_000:]


@contextmanager
def running_fleet(upstream: str, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Fleet]:
    """Yield one whose processes have the variables of `environment`, too."""
    with TemporaryDirectory(prefix="parley-benchmark-") as folder, ExitStack() as stack:
        yield Fleet(stack, Path(folder), upstream, environment)


def end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(LONGEST_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        with direct.open(f"http://{HOST}:{port}/health/live", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def wait_until(condition: "Callable[[], bool]", limit: float, otherwise: str) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise RunFailed(otherwise)
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
