"""How long a person waits: for the page after a start, and for the first word of an answer.

    .venv/bin/python -m benchmarks.first_answer [--json FILE]

Starts Parley twice on a data folder of its own (the packages are there already), asks the bundled model a few questions
through the page's own forms, and reads from the database when each was sent and when its first text was there. Times
are wall clock: compare them within one run, on a quiet machine.
"""

import argparse
import json
import re
import sqlite3
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parent.parent
QUESTIONS = ("What is the capital of France?", "How many legs does a spider have?", "What is 2 + 2?") * 2
LONGEST_START = 120.0  # seconds
LONGEST_ANSWER = 60.0  # seconds
PASSWORD = "a long enough phrase"  # noqa: S105 - of a site that lives for a minute
TIMES = "SELECT created_at, first_output_at, completed_at FROM predictions_prediction ORDER BY created_at"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = measure()
    for name, value in figures.items():
        print(f"{name:28} {value:8.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="parley-benchmark-") as folder:
        data = Path(folder)
        with started(data) as (first_start, address):
            ask_all(address)
        with started(data) as (second_start, _):
            pass
        waits = read_waits(data)
    return {
        "first_start_s": first_start,
        "second_start_s": second_start,
        "first_token_cold_s": waits[0][0],
        "first_token_p50_s": statistics.median(wait for wait, _ in waits[1:]),
        "whole_answer_p50_s": statistics.median(whole for _, whole in waits[1:]),
    }


@contextmanager
def started(data: Path) -> Iterator[tuple[float, str]]:
    """Run `bin/start`; yield the seconds until its page answered, and the printed address."""
    began = time.monotonic()
    command = [PROJECT / "bin/start", "--port", "0", "--data", data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield wait_for_page(process, began)
        finally:
            process.terminate()


def wait_for_page(process: "subprocess.Popen[str]", began: float) -> tuple[float, str]:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S*", line):
            httpx.get(found[0], follow_redirects=True, trust_env=False).raise_for_status()
            return time.monotonic() - began, found[0]
        if time.monotonic() - began > LONGEST_START:
            break
    raise SystemExit("Parley did not start.")


def ask_all(address: str) -> None:
    """Make the first admin, then ask the questions one after the other, each in its own conversation."""
    site = re.match(r"http://[^/]+", address)
    assert site is not None
    with httpx.Client(base_url=site[0], follow_redirects=True, trust_env=False, timeout=30) as browser:
        browser.get(address)
        person = {"username": "bench", "password1": PASSWORD, "password2": PASSWORD}
        post(browser, address, person).raise_for_status()
        for question in QUESTIONS:
            sent = {"id": str(uuid.uuid4()), "text": question, "model": "smollm2"}
            page = post_when_ready(browser, sent)
            wait_for_answer(browser, str(page.url))


def post(browser: httpx.Client, address: str, fields: dict[str, str]) -> httpx.Response:
    return browser.post(address, data={**fields, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})


def post_when_ready(browser: httpx.Client, fields: dict[str, str]) -> httpx.Response:
    """Send the question as soon as the model has told what it takes."""
    end = time.monotonic() + LONGEST_START
    while (answer := post(browser, "/conversations/", fields)).status_code == 422 and time.monotonic() < end:
        time.sleep(0.2)
    return answer.raise_for_status()


def wait_for_answer(browser: httpx.Client, address: str) -> None:
    end = time.monotonic() + LONGEST_ANSWER
    while "<streaming-answer" in browser.get(address).text and time.monotonic() < end:
        time.sleep(0.1)


def read_waits(data: Path) -> list[tuple[float, float]]:
    """Seconds from sending to the first text, and to the whole answer, for each question."""
    with sqlite3.connect(data / "db.sqlite3") as database:
        rows = database.execute(TIMES).fetchall()
    moments = [[datetime.fromisoformat(moment) for moment in row] for row in rows]
    return [((first - sent).total_seconds(), (end - sent).total_seconds()) for sent, first, end in moments]


if __name__ == "__main__":
    main()
