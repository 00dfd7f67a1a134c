"""What readers see of a deploy: `python -m benchmarks.deploy`.

    .venv/bin/python -m benchmarks.deploy [--quick] [--streams N] [--json FILE]

Two web processes behind a load balancer and two workers relay 500 open streams. One after the other, each gets a
successor and a SIGTERM, until none of them is left that there was before. Readers do as the page does: who is cut off
connects anew and says what it has. The longest time that each of them waited for the next piece of text is told, and
how long each process took to end. A text that lacks something or has it twice ends the run, as does an answer that the
host was asked for twice.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.relaying.control import RunFailed
from benchmarks.relaying.fleet import Fleet, running_fleet, wait_until
from benchmarks.relaying.trial import Stage, running_stage

STREAMS, QUICK_STREAMS = 500, 40
RATE = 10.0  # tokens a second in each stream
RAMP = 3.0  # seconds in which the streams begin
SETTLING = 5.0  # seconds before the deploy, and after it
LONGEST_START = 30.0  # seconds
LONGEST_END = 20.0  # seconds after SIGTERM
PROCESSES = 2  # of each kind

Process = subprocess.Popen[bytes]
Figures = dict[str, Any]  # JSON


class Deploy:
    """Web processes and workers of one fleet, and how one takes the place of another."""

    def __init__(self, stage: Stage, fleet: Fleet) -> None:
        self._readers = stage.readers
        self._fleet = fleet
        self._balancer = stage.start("benchmarks.relaying.balancer")
        self.port = int(self._balancer.ask("listen"))
        self._web: list[tuple[Process, int]] = []
        self._workers: list[Process] = []
        for _ in range(PROCESSES):
            self._add_web()
            self._add_worker()

    def replace_all(self) -> dict[str, list[float]]:
        """Replace each process; return for each kind the seconds from SIGTERM to the end."""
        return {
            "web": [self._replace("web process", self._add_web, self._take_web) for _ in range(PROCESSES)],
            "worker": [self._replace("worker", self._add_worker, self._take_worker) for _ in range(PROCESSES)],
        }

    def _replace(self, name: str, add: Callable[[], None], take: Callable[[], Process]) -> float:
        add()
        former = take()
        began = time.monotonic()
        former.terminate()
        try:
            former.wait(LONGEST_END)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"A process has not ended within {LONGEST_END:g} s.\n{self._fleet.log()}") from error
        if former.returncode:
            raise RunFailed(f"A process has ended with {former.returncode}.\n{self._fleet.log()}")
        took = time.monotonic() - began
        pauses = self._readers.ask("pauses")
        print(
            f"  a {name} ended in {took:.1f} s; longest pauses so far p50 {pauses['p50']:,.0f} ms, "
            f"p99 {pauses['p99']:,.0f} ms",
            flush=True,
        )
        return took

    def _add_web(self) -> None:
        self._web.append(self._fleet.start_web())
        self._lead()

    def _take_web(self) -> Process:
        # The balancer is not told: it has to see that the process takes nothing any more.
        process, _ = self._web.pop(0)
        return process

    def _lead(self) -> None:
        self._balancer.ask("lead_to", ports=[port for _, port in self._web])

    def _add_worker(self) -> None:
        there = self._fleet.count_workers()
        self._workers.append(self._fleet.start_worker())
        wait_until(lambda: self._fleet.count_workers() > there, LONGEST_START, "A worker does not start.")

    def _take_worker(self) -> Process:
        return self._workers.pop(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean little")
    parser.add_argument("--streams", type=int, help="another number of streams")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        figures = measure(options.streams or (QUICK_STREAMS if options.quick else STREAMS))
    except RunFailed as error:
        raise SystemExit(str(error)) from error
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(streams: int) -> Figures:
    with running_stage() as stage, running_fleet(stage.origin) as fleet:
        deploy = Deploy(stage, fleet)
        answers = fleet.ask_with().ask("ask", count=streams)
        stage.open(deploy.port, answers, comes_back=True)
        stage.upstream.ask("begin", rate=RATE, ramp=RAMP)
        time.sleep(RAMP + SETTLING)
        stage.readers.ask("measure")
        began = time.monotonic()
        ends = deploy.replace_all()
        took = time.monotonic() - began
        time.sleep(SETTLING)
        measured = stage.readers.ask("collect")
        told = stage.finish(streams)
    if told["created"] != streams:
        raise RunFailed(f"The host was asked for {told['created']} answers, for {streams} questions.")
    return {
        "setting": f"{streams} streams of {RATE:g} tokens/s, {PROCESSES} web processes and {PROCESSES} workers",
        "longest_pause_ms": measured["pauses"],
        "connections": told["connections"],
        "deploy_s": took,
        "seconds_to_end": ends,
        "characters_lost_or_doubled": 0,
        "creates": told["created"],
    }


def show(figures: Figures) -> None:
    pauses = figures["longest_pause_ms"]
    ends = ", ".join(f"{kind} {seconds:.1f} s" for kind, each in figures["seconds_to_end"].items() for seconds in each)
    shares = ", ".join(f"{name} {pauses[name]:,.0f} ms" for name in ("p50", "p99", "max"))
    print(f"{figures['setting']}, replaced within {figures['deploy_s']:.0f} s")
    print(f"longest pause of a reader  {shares}")
    print(f"from SIGTERM to the end    {ends}")
    print(f"connections                {figures['connections']}")
    print(f"lost or doubled            {figures['characters_lost_or_doubled']} characters")
    print(f"creates at the host        {figures['creates']}")


if __name__ == "__main__":
    main()
