"""Real Cog servers for the tests: the bundled models, started by the launcher that `bin/start` uses too."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import httpx
from httpx_sse import connect_sse

from models import serve
from tests.waiting import wait_until

LAUNCHER = Path(__file__).parent.parent / "models" / "serve.py"
READY_LIMIT = 60.0  # seconds; one is enough on an idle machine
REQUEST_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class SentEvent:
    """An event of a Cog server's stream, and when it came, on the monotonic clock."""

    event: str
    data: dict[str, Any]
    at: float


class CogServer:
    """A running model: `with start_cog_server("smollm2") as server:`, or call `stop()`."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", log: IO[str]) -> None:
        self.url = url
        self.process = process
        self._log = log
        self._client = httpx.Client(base_url=url, timeout=REQUEST_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and wait until it has ended; again is harmless."""
        self._client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(READY_LIMIT)
        self._log.close()

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    @property
    def health(self) -> str:
        """What the server says of itself: STARTING, READY, BUSY …; empty while it does not listen."""
        try:
            return self._client.get("/health-check").json()["status"]
        except httpx.TransportError:
            return ""

    @property
    def processes(self) -> set[int]:
        """The launcher, the server and the server's worker."""
        return {self.process.pid, *descendants(self.process.pid)}

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.health == "READY" or self.process.poll() is not None, limit=READY_LIMIT)
        assert self.process.poll() is None, self.log

    def wait_until_free(self) -> None:
        """A server has ended its answer a moment before it takes the next question; a stuck one is started again."""
        wait_until(lambda: self.health == "READY", limit=serve.STUCK + READY_LIMIT)

    def ask(self, **fields: Any) -> httpx.Response:
        """Ask and wait for the answer, or for the refusal of a server that is busy."""
        return self._client.post("/predictions", json={"input": fields})

    def predict(self, **fields: Any) -> httpx.Response:
        """Ask, when the server is free, and wait for the answer."""
        self.wait_until_free()
        return self.ask(**fields)

    def start(self, identifier: str, **fields: Any) -> httpx.Response:
        """Ask under a name, when the server is free, without waiting for the answer."""
        self.wait_until_free()
        return self._client.put(
            f"/predictions/{identifier}", json={"input": fields}, headers={"Prefer": "respond-async"}
        )

    def look(self, identifier: str) -> httpx.Response:
        """Show how far a running prediction has come: 202, or 422 when it is over. It never starts one."""
        return self._client.put(f"/predictions/{identifier}", json={"input": []})

    def cancel(self, identifier: str) -> httpx.Response:
        return self._client.post(f"/predictions/{identifier}/cancel")

    def stream(self, **fields: Any) -> Iterator[SentEvent]:
        """Ask, when the server is free, and yield the events as they come."""
        self.wait_until_free()
        with connect_sse(self._client, "POST", "/predictions", json={"input": fields}) as source:
            for sent in source.iter_sse():
                yield SentEvent(sent.event, json.loads(sent.data), time.monotonic())

    def ask_for_stream(self, **fields: Any) -> httpx.Response:
        """Ask for an event stream and read it whole, be it the events or a refusal."""
        return self._client.post("/predictions", json={"input": fields}, headers={"Accept": "text/event-stream"})


def start_cog_server(name: str, port: int | None = None) -> CogServer:
    """Start a bundled model and wait until it is ready."""
    command = [sys.executable, str(LAUNCHER), name, "--port", str(port or 0), "--parent", str(os.getpid())]
    log = tempfile.TemporaryFile("a+")  # noqa: SIM115 (the server writes to it as long as it lives)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout
    with process.stdout:
        url = process.stdout.readline().rpartition(" ")[2].strip()
    server = CogServer(url, process, log)
    try:
        server.wait_until_ready()
    except BaseException:
        server.stop()
        raise
    return server


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    left = [pid]
    while left:
        left = [child for parent in left for child in children.get(parent, [])]
        found.update(left)
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those that still run; one that has ended but was not asked after does not."""
    return {pid for pid in pids if _state(pid) not in {"", "Z", "X"}}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
