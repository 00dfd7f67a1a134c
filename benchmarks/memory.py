"""What memory Parley takes while nobody asks anything.

    .venv/bin/python -m benchmarks.memory [--quick] [--sockets N] [--json FILE]

A web process and a worker over PostgreSQL and Redis, started as the `Procfile` starts them, from modules that were
compiled before. First both are read once somebody has seen a page. Then people open sockets, five tabs each, in which
nothing happens but heartbeats; what those of the first people cost is left out: with them comes what is there once.

Resident memory (RSS) counts what processes share in each of them, proportional memory (PSS) divides it among them.
The packages of the tests are there too, of which libraries load two where they find them: with those of
requirements.lock alone it is 4 MiB less in each process.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.figures import Figures, show
from benchmarks.relaying import processes
from benchmarks.relaying.control import Remote, RunFailed
from benchmarks.relaying.fleet import HOST, LONGEST_END, LONGEST_START, Fleet, running_fleet, wait_until

SOCKETS, QUICK_SOCKETS = 500, 50
TABS = 5  # of each person
QUESTIONS = 10  # in the conversation that a tab shows
FIRST = 4  # people whose sockets do not count
SETTLING, QUICK_SETTLING = 45.0, 2.0  # seconds; sidebars are looked at each 30, who may stay each 8
KINDS = {"resident": "Rss", "proportional": "Pss"}
OVER = "PostgreSQL and Redis"

Shown = list[tuple[str, str]]  # ids of conversations, and cookies of who sees them
Memory = dict[str, float]  # by the names of KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean little")
    parser.add_argument("--sockets", type=int, help="another number of sockets")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    sockets = options.sockets or (QUICK_SOCKETS if options.quick else SOCKETS)
    try:
        figures = measure(sockets, settling=QUICK_SETTLING if options.quick else SETTLING)
    except RunFailed as error:
        raise SystemExit(str(error)) from error
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(sockets: int, *, settling: float) -> Figures:
    with TemporaryDirectory(prefix="parley-benchmark-") as compiled:
        host, tabs = Remote("benchmarks.relaying.upstream"), Remote("benchmarks.relaying.tabs")
        environment = {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": compiled,
        }
        try:
            with running_fleet(host.ask("listen"), environment) as fleet:
                return Bench(fleet, tabs, settling=settling).measure(sockets)
        finally:
            tabs.close()
            host.close()


class Bench:
    """A web process and a worker, started for the second time: the first one leaves compiled modules."""

    def __init__(self, fleet: Fleet, tabs: Remote, *, settling: float) -> None:
        self._tabs = tabs
        self._settling = settling
        self._people = fleet.ask_with()
        self._start(fleet)
        self._see_page(*self._look(people=1)[0])
        for process in (self._web, self._worker):
            process.terminate()
            process.wait(LONGEST_END)
        self._start(fleet)

    def _start(self, fleet: Fleet) -> None:
        self._web, self._port = fleet.start_web()
        self._worker = fleet.start_worker()
        wait_until(lambda: fleet.count_workers() == 1, LONGEST_START, "The worker does not start.")

    def measure(self, sockets: int) -> Figures:
        shown = self._look(FIRST + -(-sockets // TABS))
        self._see_page(*shown[0])
        idle = {"web": self._read(self._web.pid), "worker": self._read(self._worker.pid)}
        self._open(shown[:FIRST] * TABS)
        before = self._read(self._web.pid)
        self._open((shown[FIRST:] * TABS)[:sockets])
        after = self._read(self._web.pid)
        people = f"{sockets} sockets, {TABS} of each person"
        return {
            **{
                f"idle_{kind}_mib": {
                    **{name: memory[kind] / 1024 for name, memory in idle.items()},
                    "both": sum(memory[kind] for memory in idle.values()) / 1024,
                    "setting": f"after a page was seen, {OVER}",
                }
                for kind in KINDS
            },
            **{
                f"socket_{kind}_kib": {
                    "value": (after[kind] - before[kind]) / sockets,
                    "setting": f"each of {people}, signed in and idle",
                }
                for kind in KINDS
            },
        }

    def _see_page(self, conversation: str, cookie: str) -> None:
        url = f"http://{HOST}:{self._port}/conversations/{conversation}/"
        answer = httpx.get(url, headers={"Cookie": cookie}, follow_redirects=True, trust_env=False)
        if answer.status_code != 200 or conversation not in str(answer.url):
            raise RunFailed(f"{answer.url} answers with {answer.status_code}.")

    def _look(self, people: int) -> Shown:
        return [(key, cookie) for key, cookie in self._people.ask("look", people=people, questions=QUESTIONS)]

    def _open(self, shown: Shown) -> None:
        self._tabs.ask("open", port=self._port, shown=shown, after=QUESTIONS)

    def _read(self, pid: int) -> Memory:
        """Return the KiB that a process has once it has come to rest."""
        time.sleep(self._settling)
        if problems := self._tabs.ask("problems"):
            raise RunFailed("\n".join(problems))
        return {name: processes.memory_kib(pid, kind) for name, kind in KINDS.items()}


if __name__ == "__main__":
    main()
