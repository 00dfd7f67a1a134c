"""What a command tells the person who runs it: steps with the time they took, and failures in words."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """Something a person must know or do. The text is all that is shown."""


def write(text: str) -> None:
    """Print as it is; a terminal that is gone is no reason to end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process


def say(text: str) -> None:
    write(f"{text}\n")


def last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and when it is done how long it took."""
    started = time.monotonic()
    write(f"{text} …")
    try:
        with _ticking(text, started):
            yield
    except BaseException:
        write("\n")
        raise
    write(f" {time.monotonic() - started:.1f} s\n")


@contextmanager
def _ticking(text: str, started: float) -> Iterator[None]:
    """Count the seconds on a terminal, so that a long step is seen to be alive."""
    if not sys.stdout.isatty():
        yield
        return
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1):
            write(f"\r{text} … {time.monotonic() - started:.0f} s")
        write(f"\r{text} …")

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
