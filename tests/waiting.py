"""Wait for what happens elsewhere, with a bound."""

import time
from collections.abc import Callable
from typing import Any

WAIT_LIMIT = 20.0  # seconds after which something that was waited for counts as never


def wait_until(condition: Callable[[], Any], *, limit: float = WAIT_LIMIT) -> Any:
    """Return what `condition` returns as soon as that is true; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {limit} s in vain for {condition}"
        time.sleep(0.01)
    return result
