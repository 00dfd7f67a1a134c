"""What the page costs whoever reads it, in a real Chromium, and how long the server takes for it.

    .venv/bin/python -m benchmarks.page [--quick] [--only NAME] [--runs N] [--json FILE]

A scripted host says an answer of 100 kB at 300 tokens a second; a worker and a web process bring it to a page, which is
watched from within. Then ten such answers, quicker, for what they leave behind; a conversation of 2,000 messages; and,
over SQLite and over PostgreSQL, 10,000 conversations of one person among 1,000,000 messages. To fill those databases
takes some minutes each. What a page shows is compared with what the server has; a difference ends the run.

Ratios are of one run. Times are the best of several, for other work on the machine only adds to them. The longest task
is told twice: as it took, and by the processor's time that it took, in which other work does not count.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figures, show
from benchmarks.paging import answering, libraries, reading
from benchmarks.paging.stage import Stage, running_stage

RUNS = 3  # of what is told as the best of several
NAMES = ("answer", "heap", "idle", "conversation", "scripts", "library")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean little")
    parser.add_argument("--only", choices=NAMES, help="one measurement alone")
    parser.add_argument("--runs", type=int, default=RUNS, help="times that answers are streamed and pages opened")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    chosen = [options.only] if options.only else list(NAMES)
    figures = measure(chosen, runs=1 if options.quick else options.runs, quick=options.quick)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(chosen: list[str], *, runs: int, quick: bool) -> Figures:
    figures: Figures = {}
    in_browser: dict[str, Callable[[Stage], Figures]] = {
        "answer": lambda stage: answering.measure_answer(stage, runs=runs, quick=quick),
        "heap": lambda stage: answering.measure_heap(stage, quick=quick),
        "idle": answering.measure_idle,
        "conversation": lambda stage: reading.measure_conversation(stage, runs=runs),
        "scripts": reading.measure_scripts,
    }
    if set(chosen) & set(in_browser):
        with running_stage() as stage:
            for name in chosen:
                if name in in_browser:
                    figures |= in_browser[name](stage)
    if "library" in chosen:
        figures |= libraries.measure(quick=quick)
    return figures


if __name__ == "__main__":
    main()
