"""The very end of a process."""

import logging
import os
import sys
from typing import NoReturn


def end(problem: str = "") -> NoReturn:
    """End this process now, with 1 where there is a `problem` to be told.

    All that has to be kept is kept by then. Python's own way out would wait for the threads of requests that were cut
    off, which wait for an event loop that is gone; and a late signal meanwhile would count as a crash.
    """
    if problem:
        sys.stderr.write(f"{problem}\n")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if problem else 0)
