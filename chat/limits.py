"""How much one person's browsers may ask of this process. Nothing here does I/O."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

BURST = 60  # frames that a tab may send at once; a page that shows twenty answers needs 21
RATE = 10.0  # frames a second that it may send for long
CONNECTIONS = 50  # sockets, event streams and polls that one person may have open

FLOODING = "This page sends too much. It comes back in a while."
CROWDED = "You have too many pages open here. Close some of them."
RETRY_AFTER = 30  # seconds


class TooManyConnections(Exception):
    """Somebody has as many connections as one person may have."""


class Bucket:
    """Grants `burst` at once, and `rate` a second for long."""

    def __init__(self, *, burst: int = BURST, rate: float = RATE, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._left = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._clock()
        self._left = min(self._left + (now - self._filled_at) * self._rate, self._burst)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Places:
    """The connections that each person has open; for one event loop."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._taken: Counter[Hashable] = Counter()

    def enter(self, person: Hashable) -> None:
        """Take one of `person`'s places; raise TooManyConnections if all are taken."""
        if self._taken[person] >= self._each:
            raise TooManyConnections
        self._taken[person] += 1

    def leave(self, person: Hashable) -> None:
        self._taken[person] -= 1
        if not self._taken[person]:
            del self._taken[person]

    @contextmanager
    def take(self, person: Hashable) -> Iterator[None]:
        """Hold one of `person`'s places; raise TooManyConnections if all are taken."""
        self.enter(person)
        try:
            yield
        finally:
            self.leave(person)


places = Places(CONNECTIONS)
