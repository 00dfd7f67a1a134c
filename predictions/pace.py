"""How much may be asked of a host at a time: a pace that all workers keep together. Pure.

What is shared is one moment, `spent_until`: up to then the pace is used up (the generic cell rate algorithm,
ITU-T I.371). Whoever moves it on has bought that many requests.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Pace:
    """`per_minute` requests in the long run, and up to `burst` of them at once."""

    per_minute: float
    burst: int

    def grant(self, spent_until: datetime | None, now: datetime, wanted: int) -> tuple[int, datetime]:
        """Return how many of `wanted` requests may be made at `now`, and the new `spent_until`."""
        spent = max(spent_until or now, now)
        free = (now + self.burst * self._interval - spent) // self._interval
        granted = max(min(wanted, free), 0)
        return granted, spent + granted * self._interval

    def wait(self, spent_until: datetime | None, now: datetime) -> float:
        """Return in how many seconds the next request may be made; 0 if now."""
        spent = max(spent_until or now, now)
        return max((spent + self._interval - (now + self.burst * self._interval)).total_seconds(), 0.0)

    @property
    def _interval(self) -> timedelta:
        return max(timedelta(minutes=1) / self.per_minute, timedelta.resolution)
