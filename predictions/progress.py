"""How far a model says it is: the last progress bar in its log. Pure."""

import re

LINES_LOOKED_AT, TAIL = 20, 4_000  # lines and characters, from the end
# tqdm: ` 38%|███▊      | 19/50 [00:01<00:01, 15.97it/s]`, after Replicate's own client.
BAR = re.compile(r"^(?:[^|%]*:)?\s*(\d{1,3})%\s*\|.+?\|\s*\d+/\d+")


def progress_of(logs: str) -> int | None:
    """Return the percentage that the newest progress bar shows, 0 to 100; None if there is none."""
    tail = logs[-TAIL:]
    lines = re.split(r"[\r\n]+", tail)
    if len(tail) < len(logs):
        del lines[0]  # it may have lost its beginning
    for line in reversed(lines[-LINES_LOOKED_AT:]):
        if bar := BAR.match(line):
            return min(int(bar[1]), 100)
    return None
