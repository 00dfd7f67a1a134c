"""How a process ends: soon, and with the code that tells how it went."""

import subprocess
import sys

import pytest

from tests.waiting import WAIT_LIMIT

STUCK = """
import threading
from concurrent.futures import ThreadPoolExecutor
from predictions.ending import end
ThreadPoolExecutor(1).submit(threading.Event().wait)  # as a request does that waits for an event loop that is gone
print("All is kept.")
end({problem!r})
"""


@pytest.mark.parametrize(("problem", "code"), [("", 0), ("The worker ended.", 1)])
def test_a_process_ends_although_one_of_its_threads_does_not(problem: str, code: int) -> None:
    command = [sys.executable, "-c", STUCK.format(problem=problem)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_LIMIT, check=False)

    assert ended.returncode == code
    assert ended.stdout == "All is kept.\n"
    assert ended.stderr == (f"{problem}\n" if problem else "")
