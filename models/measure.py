#!/usr/bin/env python3
"""Measure the bundled language model on this machine: `python models/measure.py`. Prints a Markdown table.

Starts a server of its own. Needs nothing but the standard library, and two quiet minutes of the machine at most.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).resolve().parent / "serve.py"
FACTS = {  # question: what a right answer contains
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "How many days are in a week?": "7|seven",
    "What is the chemical symbol for water?": "H2O",
    "What is the opposite of hot?": "cold",
    "How many legs does a spider have?": "8|eight",
    "Who painted the Mona Lisa?": "Leonardo|Vinci",
    "What is the largest ocean on Earth?": "Pacific",
}
STORY = "Write a long story about a dog."
LONG = " ".join(f"The number {i} comes before the number {i + 1} in the list." for i in range(50))  # 950 tokens


class Server:
    def __init__(self) -> None:
        command = [sys.executable, str(LAUNCHER), "smollm2", "--parent", str(os.getpid())]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = next(iter(self.process.stdout or [])).strip().rpartition("/")[2]

    def request(self, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=120)
        headers["Content-Type"] = "application/json"
        connection.request(method, path, json.dumps(body), headers)
        return connection.getresponse()

    def wait_until_ready(self) -> float:
        """Return the seconds since the start."""
        while True:
            try:
                if json.loads(self.request("GET", "/health-check").read())["status"] == "READY":
                    return time.monotonic() - self.started
            except ConnectionError:
                pass
            time.sleep(0.01)

    def stream(self, **fields: Any) -> Iterator[tuple[str, dict[str, Any], float]]:
        """Yield each event's name, its data and the seconds since the question."""
        self.wait_until_ready()
        asked = time.monotonic()
        name = ""
        for line in self.request("POST", "/predictions", {"input": fields}, Accept="text/event-stream"):
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value), time.monotonic() - asked

    def first_token(self, **fields: Any) -> float:
        return next(at for name, _, at in list(self.stream(**fields)) if name == "output")

    def answer(self, **fields: Any) -> dict[str, Any]:
        return list(self.stream(**fields))[-1][1]

    def memory(self) -> tuple[int, int]:
        """Return the resident memory of the server and its worker now, and at its highest, in MB."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in _descendants(self.process.pid)]
        return _total("VmRSS", status), _total("VmHWM", status)


def main() -> None:
    server = Server()
    try:
        for name, figure in measurements(server):
            print(f"| {name} | {figure} |", flush=True)
    finally:
        server.process.terminate()
        server.process.wait()


def measurements(server: Server) -> Iterator[tuple[str, str]]:
    yield "from start to ready", f"{server.wait_until_ready():.2f} s"
    yield "memory when loaded", f"{server.memory()[0]} MB"
    question = next(iter(FACTS))
    yield "first token, first question", f"{server.first_token(prompt=question):.2f} s"
    yield "first token, the same question again", f"{server.first_token(prompt=question):.3f} s"
    yield "first token, another question", f"{server.first_token(prompt='Who was Albert Einstein?'):.2f} s"
    yield "first token, question of 950 tokens", f"{server.first_token(prompt=LONG, max_tokens=1):.1f} s"
    metrics = server.answer(prompt=STORY, max_tokens=512)["metrics"]
    yield "tokens a second, in a long answer", f"{metrics['tokens_per_second']:.0f}"
    yield "from Stop to free again, while it writes", f"{_cancel(server, STORY, 'output'):.2f} s"
    yield "from Stop to free again, while it reads", f"{_cancel(server, 'Read: ' + LONG, 'start', after=0.5):.2f} s"
    right = [fact for fact, wanted in FACTS.items() if re.search(wanted, "".join(server.answer(prompt=fact)["output"]))]
    wrong = ", ".join(FACTS.keys() - set(right))
    yield f"simple facts right, of {len(FACTS)}", f"{len(right)}" + (f" (not: {wrong})" if wrong else "")
    for number in range(12):  # each fills some of the cache
        server.answer(prompt=f"{number}. {LONG[:2000]}", max_tokens=1)
    now, highest = server.memory()
    yield "memory after all this; at the highest", f"{now} MB; {highest} MB"


def _cancel(server: Server, prompt: str, event: str, *, after: float = 0.0) -> float:
    """Ask, cancel `after` seconds from the first `event` on; return the seconds until the server is free again."""
    identifier = ""
    cancelled = 0.0
    for name, data, _ in server.stream(prompt=prompt, max_tokens=1024):
        identifier = identifier or data["id"]
        if name == event and not cancelled:
            time.sleep(after)
            cancelled = time.monotonic()
            server.request("POST", f"/predictions/{identifier}/cancel").read()
    server.wait_until_ready()
    return time.monotonic() - cancelled


def _descendants(pid: int) -> list[int]:
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    return children + [below for child in children for below in _descendants(child)]


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


def _total(key: str, status: list[str]) -> int:
    return sum(int(re.findall(rf"{key}:\s+(\d+) kB", text)[0]) for text in status) // 1024


if __name__ == "__main__":
    main()
