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
        interval = timedelta(minutes=1) / self.per_minute
        spent = max(spent_until or now, now)
        free = (now + self.burst * interval - spent) // interval
        granted = max(min(wanted, free), 0)
        return granted, spent + granted * interval

    def wait(self, spent_until: datetime | None, now: datetime) -> float:
        """Return in how many seconds the next request may be made; 0 if now."""
        interval = timedelta(minutes=1) / self.per_minute
        spent = max(spent_until or now, now)
        return max((spent + interval - (now + self.burst * interval)).total_seconds(), 0.0)
