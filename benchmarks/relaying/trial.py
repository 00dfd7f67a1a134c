"""One measurement: some answers are asked for and followed, their streams begin, run for a while, and end."""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmarks.relaying import processes
from benchmarks.relaying.control import Remote, RunFailed
from benchmarks.relaying.fleet import Fleet

LOOK_AGAIN = 0.1  # seconds between looks whether all streams are open
SETTLING = 2.0  # seconds after the last stream has begun
LONGEST_OPENING = 25.0  # seconds until all streams are open; after 30 silent ones a worker opens them again
TOKENS_NAMED = 1e6  # CPU is told for so many

Answer = tuple[str, str]  # the id that it is followed by, and the cookie of somebody who may
Shares = dict[str, float]  # p50, p99, max; milliseconds


class TooSlow(RunFailed):
    """So many streams cannot be opened, or do not come to their ends; what is left of them spoils the next trial."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured while `streams` ran."""

    streams: int
    rate: float  # tokens a second and stream
    seconds: float
    tokens: int
    delays: Shares
    first: Shares
    cpu: dict[str, float]  # seconds of each part
    commits: float  # a second
    kib: float  # of each stream
    load: dict[str, float]  # CPU seconds of the upstream, the readers, and whatever else ran on the machine
    latest_ms: float  # the upstream's own delay at worst

    @property
    def setting(self) -> str:
        return f"{self.streams} streams of {self.rate:g} tokens/s"

    def share(self, part: str) -> float:
        """Return how much of a core a part used."""
        return (self.cpu | self.load)[part] / self.seconds

    def cpu_of(self, *parts: str) -> float:
        """Return the CPU seconds that a million tokens cost there."""
        return sum(self.cpu[part] for part in parts) / self.tokens * TOKENS_NAMED


class Relay(Protocol):
    """What stands between the upstream and the readers."""

    port: int
    parts: dict[str, int]  # process ids

    def ask(self, count: int) -> list[Answer]:
        """Have answers asked for."""
        ...

    def commits(self) -> int: ...


class ParleyRelay:
    """A web process and a worker, PostgreSQL and Redis."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._questions = fleet.ask_with()
        web, self.port = fleet.start_web()
        worker = fleet.start_worker()
        self.parts = {
            "worker": worker.pid,
            "web": web.pid,
            "database": fleet.database_pid,
            "redis": fleet.redis_pid,
        }

    def ask(self, count: int) -> list[Answer]:
        return list(self._questions.ask("ask", count=count))

    def commits(self) -> int:
        return self._fleet.commits()


class FloorRelay:
    """The relay without any framework."""

    def __init__(self, floor: Remote, upstream_port: int) -> None:
        self.parts = {"floor": floor.pid}
        self.port = int(floor.ask("listen", upstream_port=upstream_port))

    def ask(self, count: int) -> list[Answer]:
        return [(uuid.uuid4().hex, "") for _ in range(count)]

    def commits(self) -> int:
        return 0


class Stage:
    """The upstream and the readers, and trials between them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.upstream = self.start("benchmarks.relaying.upstream")
        self.readers = self.start("benchmarks.relaying.readers")
        self.origin: str = self.upstream.ask("listen")

    def start(self, module: str) -> Remote:
        remote = Remote(module)
        self._stack.callback(remote.close)
        return remote

    def start_floor(self) -> FloorRelay:
        port = urlsplit(self.origin).port
        assert port is not None
        return FloorRelay(self.start("benchmarks.relaying.floor"), port)

    def run(self, relay: Relay, streams: int, *, rate: float, ramp: float, seconds: float) -> Trial:
        """Measure for `seconds`, when all have begun within `ramp` seconds; raise RunFailed if a text is wrong."""
        memory_before = _memory(relay)
        self.open(relay.port, relay.ask(streams))
        self.upstream.ask("begin", rate=rate, ramp=ramp)
        time.sleep(ramp + SETTLING)
        parts = {**relay.parts, "upstream": self.upstream.pid, "readers": self.readers.pid}
        began, before, commits = time.monotonic(), _cpu(parts), relay.commits()
        self.readers.ask("measure")
        time.sleep(seconds)
        measured = self.readers.ask("collect")
        after, commits, took = _cpu(parts), relay.commits() - commits, time.monotonic() - began
        memory = _memory(relay) - memory_before
        cpu = {part: after[part] - before[part] for part in after}
        sent = self.finish(streams)
        return Trial(
            streams=streams,
            rate=rate,
            seconds=took,
            tokens=measured["tokens"],
            delays=measured["delays"],
            first=measured["first"],
            cpu={part: cpu[part] for part in relay.parts},
            commits=commits / took,
            kib=memory / streams,
            load={part: spent for part, spent in cpu.items() if part not in relay.parts},
            latest_ms=sent["latest_ms"],
        )

    def open(self, port: int, answers: list[Answer], *, comes_back: bool = False) -> None:
        """Have the answers followed at `port`; return when the upstream has a reader for each of them."""
        self.readers.ask("follow", port=port, answers=answers, comes_back=comes_back)
        end = time.monotonic() + LONGEST_OPENING
        while self.upstream.ask("count") < len(answers):
            if time.monotonic() > end:
                self.finish(len(answers))
                raise TooSlow("Not all streams were opened.")
            time.sleep(LOOK_AGAIN)

    def finish(self, streams: int) -> dict[str, Any]:
        """End the streams and wait for the readers; return what the upstream says of the run.

        Raises RunFailed if a reader has another text than was sent, or was told of one in another order.
        """
        sent = self.upstream.ask("end")
        read = self.readers.ask("finish")
        self.upstream.ask("forget")
        if read["unfinished"]:
            raise TooSlow(f"{read['unfinished']} answers did not end.")
        if read["complaints"]:
            raise RunFailed("The relay is wrong:\n" + "\n".join(read["complaints"]))
        # A prediction has one name here and another one there.
        if sorted(sent["texts"].values()) != sorted(read["texts"]) or len(read["texts"]) != streams:
            raise RunFailed("The relay is wrong: the texts that were read are not those that were sent.")
        return {**sent, "connections": read["connections"]}


@contextmanager
def running_stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)


def _cpu(parts: dict[str, int]) -> dict[str, float]:
    spent = {part: processes.cpu_seconds(pid) for part, pid in parts.items()}
    return spent | {"others": processes.machine_seconds() - sum(spent.values())}


def _memory(relay: Relay) -> float:
    """Return the KiB of what holds streams: neither the database nor Redis does."""
    return sum(processes.memory_kib(pid) for part, pid in relay.parts.items() if part not in {"database", "redis"})
