"""What relaying costs, on the whole way from the host of a model to the browsers.

    .venv/bin/python -m benchmarks.relay [--quick] [--only cpu|delay|commits|core] [--streams N] [--json FILE]

A scripted host sends tokens of four characters, 50 a second in each of hundreds of streams; a web process and a worker
relay them over PostgreSQL and Redis; readers follow them over WebSockets. Each token is its own send time, so that the
readers tell how long it was under way. In the same run a relay without any framework does the same for them: the floor,
beside which the machine does not matter. Every text is compared with what was sent; a wrong one ends the run.

PostgreSQL does not wait for its disk here (fsync is off). All processes share the machine's cores, but for the search
for the streams that one core carries: then worker and web are on one core, and everything else on the others. What else
runs on the machine is told with each measurement: where that is much, times mean little.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figures, show
from benchmarks.relaying import processes
from benchmarks.relaying.control import RunFailed
from benchmarks.relaying.fleet import running_fleet
from benchmarks.relaying.trial import ParleyRelay, Relay, Stage, TooSlow, Trial, running_stage

STREAMS = {"cpu": 200, "delay": 100, "commits": 500, "core": 1_000}  # of the search on one core: the most
QUICK_STREAMS = {"cpu": 20, "delay": 20, "commits": 40, "core": 50}
SECONDS, QUICK_SECONDS = 10.0, 1.0  # of one measurement
RATE = 50.0  # tokens a second in each stream
BEGINNINGS = 25.0  # streams that begin a second, but
LONGEST_RAMP = 10.0  # seconds in which all have begun; a worker looks after a stream that is silent for longer
ALMOST_ALL_WITHIN = 100.0  # milliseconds of added delay, which 99 of 100 tokens must stay below
FIRST_TRIED, STEP = 100, 25  # streams of the search
SEARCH_RAMP, SEARCH_SECONDS = 2.0, 5.0
TRIES = 2  # before streams count as too many: whatever else runs can spoil one
WARM_UP = 20  # streams
OVER = "PostgreSQL and Redis"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean little")
    parser.add_argument("--only", choices=STREAMS, help="one measurement alone")
    parser.add_argument("--streams", type=int, help="another number of streams")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    streams = QUICK_STREAMS if options.quick else STREAMS
    chosen = [options.only] if options.only else list(STREAMS)
    try:
        figures = measure(
            {name: options.streams or streams[name] for name in chosen}, QUICK_SECONDS if options.quick else SECONDS
        )
    except RunFailed as error:
        raise SystemExit(str(error)) from error
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(streams: dict[str, int], seconds: float) -> Figures:
    """Make the measurements that `streams` names, each with so many streams, for `seconds`."""
    figures: Figures = {}
    with running_stage() as stage, running_fleet(stage.origin) as fleet:
        bench = Bench(stage, ParleyRelay(fleet), seconds=seconds)
        measurements: dict[str, Callable[[int], Figures]] = {
            "cpu": bench.measure_cpu,
            "delay": bench.measure_delay,
            "commits": bench.measure_commits,
            "core": bench.fill_a_core,
        }
        for name, count in streams.items():
            figures |= measurements[name](count)
        figures["others_share_of_a_core"] = {"value": bench.others, "setting": "what else ran here, at most"}
    return figures


class Bench:
    """The measurements, all over the same processes."""

    def __init__(self, stage: Stage, parley: ParleyRelay, *, seconds: float) -> None:
        self._stage = stage
        self._parley = parley
        self._seconds = seconds
        self.others = 0.0
        # What is made once must not count for the streams that come next.
        self._run(parley, WARM_UP, ramp=0.5, seconds=1.0)

    def measure_cpu(self, streams: int) -> Figures:
        """CPU of each part and of the floor, and the memory of a stream."""
        ours = self._run(self._parley, streams)
        floor = self._run(self._stage.start_floor(), streams)
        setting = f"{ours.setting}, {OVER}"
        costs = {part: ours.cpu_of(part) for part in ours.cpu}
        costs["floor"] = floor.cpu_of("floor")
        ratio = ours.cpu_of("worker", "web") / costs["floor"]
        return {
            "cpu_seconds_per_million_tokens": {**costs, "setting": setting},
            "cpu_ratio_to_floor": {"value": ratio, "setting": f"worker and web, {setting}"},
            "kib_per_stream": {"value": ours.kib, "setting": f"worker and web, {setting}"},
            "floor_delay_ms": {**floor.delays, "setting": floor.setting},
        }

    def measure_delay(self, streams: int) -> Figures:
        trial = self._run(self._parley, streams)
        setting = f"{trial.setting}, {OVER}"
        begun = f"{setting}, begun {streams / self._ramp(streams):g} a second"
        return {
            "delay_ms": {**trial.delays, "setting": setting},
            "first_token_ms": {**trial.first, "setting": begun},
        }

    def measure_commits(self, streams: int) -> Figures:
        trial = self._run(self._parley, streams)
        setting = f"{trial.setting}, {OVER}; transactions that only read are counted too"
        return {"commits_per_second": {"value": trial.commits, "setting": setting}}

    def fill_a_core(self, most: int) -> Figures:
        """Find how many streams one core carries, up to `most`."""
        cores = os.sched_getaffinity(0)
        ours, others = {min(cores)}, cores - {min(cores)}
        where = "worker and web on one core, everything else on the others"
        if not others:
            where = "everything on the only core there is: it means little"
        self._pin(ours, others or ours)
        try:
            carried = self._search(most)
        finally:
            self._pin(cores, cores)
        setting = f"p99 of the added delay under {ALMOST_ALL_WITHIN:g} ms at {RATE:g} tokens/s, {OVER}; {where}"
        return {"streams_per_core": {"value": carried, "setting": setting}}

    def _search(self, most: int) -> int:
        """Double the streams until they are too many, then halve the distance."""
        carried, tried = 0, min(FIRST_TRIED, most)
        try:
            while tried > carried and self._carries(tried):
                carried, tried = tried, min(2 * tried, most)
            too_many = tried
            while (middle := (carried + too_many) // 2 // STEP * STEP) > carried:
                if self._carries(middle):
                    carried = middle
                else:
                    too_many = middle
        except TooSlow as error:
            print(f"  {error} The search ends here.", flush=True)
        return carried

    def _carries(self, streams: int) -> bool:
        return any(self._is_quick_with(streams) for _ in range(TRIES))

    def _is_quick_with(self, streams: int) -> bool:
        trial = self._run(self._parley, streams, ramp=SEARCH_RAMP, seconds=min(self._seconds, SEARCH_SECONDS))
        return trial.delays["p99"] < ALMOST_ALL_WITHIN

    def _pin(self, ours: set[int], others: set[int]) -> None:
        everybody = (*self._parley.parts.values(), self._stage.upstream.pid, self._stage.readers.pid)
        processes.pin(everybody, others)
        processes.pin((self._parley.parts["worker"], self._parley.parts["web"]), ours)

    def _run(self, relay: Relay, streams: int, *, ramp: float | None = None, seconds: float | None = None) -> Trial:
        ramp = ramp or self._ramp(streams)
        trial = self._stage.run(relay, streams, rate=RATE, ramp=ramp, seconds=seconds or self._seconds)
        self.others = max(self.others, trial.share("others"))
        shares = ", ".join(f"{part} {trial.share(part):.0%}" for part in (*trial.cpu, *trial.load))
        print(
            f"  {trial.setting}: delay p50 {trial.delays['p50']:.1f} ms, p99 {trial.delays['p99']:.1f} ms; "
            f"first p50 {trial.first['p50']:.1f} ms, p99 {trial.first['p99']:.1f} ms; {shares} of a core; "
            f"{trial.commits:.0f} commits/s; {trial.kib:.0f} KiB each; upstream late by up to {trial.latest_ms:.0f} ms",
            flush=True,
        )
        return trial

    @staticmethod
    def _ramp(streams: int) -> float:
        """Return the seconds in which so many streams begin."""
        return min(streams / BEGINNINGS, LONGEST_RAMP)


if __name__ == "__main__":
    main()
