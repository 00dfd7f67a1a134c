"""Many scenes with many kills, counted: `bin/test --soak [KILLS] [--seed S]`.

Each scene follows from one number. Three run side by side, because most of their time is waiting for leases to lapse.
"""

import argparse
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import redis

from tests.harness.checker import Violation, check
from tests.harness.fleet import Fleet, Workshop
from tests.harness.history import History
from tests.harness.scenes import Chat, Outcome, Plan, Play, plain, troubled
from tests.services import own_valkey, real_postgres

LANES = 3  # scenes at once
POINTS = 130  # crossings of a worker that answers one question, about
SIGNALS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)
PROGRESS = 15.0  # seconds between lines


@dataclass(slots=True)
class Tally:
    """What came of all scenes so far."""

    kills: Counter[str] = field(default_factory=Counter)
    scenes: int = 0
    violations: list[tuple[int, History, list[Violation]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    def add(self, seed: int, history: History) -> None:
        violations = check(history)
        with self._lock:
            self.scenes += 1
            self.kills.update(f"{kill.role} {kill.signal}" for kill in history.kills)
            if violations:
                self.violations.append((seed, history, violations))

    def report(self) -> str:
        """Say what was broken, and where the whole history of it is."""
        lines = []
        for seed, history, violations in self.violations:
            path = Path(tempfile.gettempdir()) / f"parley-history-{seed}-{os.getpid()}.jsonl"
            path.write_text("\n".join(history.lines()) + "\n")
            lines += [f"{history.scene}: {path}", *(f"  {violation}" for violation in violations)]
        return "\n".join(lines)

    def line(self) -> str:
        kinds = Counter(violation.kind for _, _, violations in self.violations for violation in violations)
        counts = [f"{kinds[kind]} {words}" for kind, words in NAMES.items()]
        other = sum(kinds.values()) - sum(kinds[kind] for kind in NAMES)
        by_signal = ", ".join(f"{number} {what}" for what, number in sorted(self.kills.items()))
        return f"{self.total} kills ({by_signal}) in {self.scenes} scenes: {', '.join(counts)}, {other} other"


NAMES = {"lost": "lost", "doubled": "doubled", "wrong end": "wrong ends", "orphan": "orphans"}


class Theatre:
    """Where scenes are played: over SQLite, and over PostgreSQL with Valkey."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._big_stage = threading.Lock()  # its database is one for all scenes

    def __enter__(self) -> "Theatre":
        for name in ("small", "big"):
            (self._folder / name).mkdir()
        self._small = self._stack.enter_context(Workshop(self._folder / "small"))
        postgres = self._stack.enter_context(real_postgres(is_migrated=True))
        self._redis = self._stack.enter_context(own_valkey())
        self._big = self._stack.enter_context(Workshop(self._folder / "big", postgres=postgres, redis=self._redis))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def play(self, seed: int) -> Outcome:
        """Play the scene that follows from `seed`."""
        chance = random.Random(seed)
        kind = chance.choices((self.numbered, self.small, self.big), (5, 3, 4))[0]
        return kind(seed, chance)

    def small_fleet(self, *, seed: int, webhooks: bool = False) -> AbstractContextManager[Fleet]:
        return self._small.fleet(seed=seed, webhooks=webhooks)

    def numbered(self, seed: int, chance: random.Random) -> Outcome:
        """One worker over SQLite is killed or stopped at one of its points."""
        plan = Plan(point=chance.randint(1, POINTS), by=chance.choice(SIGNALS))
        with self.small_fleet(seed=seed, webhooks=chance.random() < 0.3) as fleet:
            chats = [troubled(fleet, chance) if chance.random() < 0.7 else plain(fleet)]
            return Play(fleet, _name(seed), chats, plan, seed).run()

    def small(self, seed: int, chance: random.Random) -> Outcome:
        """Some people, web and worker over SQLite, killed at random."""
        plan = Plan(at_random=chance.randint(3, 10), reconnects=True)
        with self.small_fleet(seed=seed, webhooks=chance.random() < 0.3) as fleet:
            chats = [_chat_of(fleet, chance) for _ in range(chance.randint(1, 5))]
            return Play(fleet, _name(seed), chats, plan, seed).run()

    def big(self, seed: int, chance: random.Random) -> Outcome:
        """Up to twenty people, two of each process over PostgreSQL and Valkey, killed at random."""
        plan = Plan(at_random=chance.randint(20, 50), every=(0.01, 0.12), workers=2, webs=2, reconnects=True)
        slots = chance.choice((None, None, 3))
        with self._big_stage, self._big.fleet(seed=seed, webhooks=chance.random() < 0.3, concurrency=slots) as fleet:
            chats = [_chat_of(fleet, chance) for _ in range(chance.randint(4, 20))]
            play = Play(fleet, _name(seed), chats, plan, seed)
            if chance.random() < 0.3:
                self._upset_redis()
            return play.run()

    def _upset_redis(self) -> None:
        """Empty it and throw everybody out."""
        with redis.Redis.from_url(self._redis) as client:
            client.flushall()
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def _chat_of(fleet: Fleet, chance: random.Random) -> Chat:
    """A person's conversation: a question, and sometimes another one."""
    owner = chance.choice(("alice", "bob"))
    then = troubled(fleet, chance, owner=owner) if chance.random() < 0.4 else None
    return troubled(fleet, chance, owner=owner, tabs=chance.randint(1, 2), then=then)


def _name(seed: int) -> str:
    return f"bin/test --soak 1 --seed {seed}"


@contextmanager
def theatre() -> Iterator[Theatre]:
    with tempfile.TemporaryDirectory(prefix="parley-harness-") as folder, Theatre(Path(folder)) as it:
        yield it


def run(stage: Theatre, kills: int, seed: int, tell: Callable[[Tally], None] = lambda tally: None) -> Tally:
    """Play the scenes `seed`, `seed + 1` … until so many kills have been made or a rule was broken."""
    tally = Tally()
    seeds = count(seed)
    lanes = LANES if kills > 1 else 1

    def act() -> None:
        while tally.total < kills and not tally.violations:
            mine = next(seeds)
            tally.add(mine, stage.play(mine).history)
            tell(tally)
            if kills == 1:  # a certain scene is wanted, whether it kills or not
                return

    with ThreadPoolExecutor(lanes) as threads:
        for lane in [threads.submit(act) for _ in range(lanes)]:
            lane.result()
    return tally


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/test --soak", description="Kill processes, and look what becomes of it.")
    parser.add_argument("kills", nargs="?", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    options = parser.parse_args(arguments)
    print(f"The first scene is {options.seed}.", flush=True)
    told_at = time.monotonic()

    def tell(tally: Tally) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > PROGRESS:
            told_at = time.monotonic()
            print(tally.line(), flush=True)

    with theatre() as stage:
        tally = run(stage, options.kills, options.seed, tell)
    if tally.violations:
        print(tally.report())
    print(tally.line())
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
