"""The clock that all workers share: the database's.

Leases and deadlines are compared by other processes than those that wrote them, perhaps on machines whose clocks
differ, or jump. So each process knows how far its own is off, and tells time as the database does.
"""

import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

TOLERANCE = timedelta(seconds=0.5)  # what the way to the database takes; a smaller difference is none

_offset = timedelta()


def now() -> datetime:
    """Tell the time as of the last `compare`."""
    return timezone.now() + _offset


def compare() -> None:
    """Look at the database's clock, and go by it from now on."""
    global _offset  # noqa: PLW0603 - one process has one clock
    difference = ahead()
    _offset = difference if abs(difference) > TOLERANCE else timedelta()


def ahead() -> timedelta:
    """How far the database's clock is ahead of this machine's."""
    return _database_time() - timezone.now()


def steady() -> float:
    """Return seconds that only ever grow, also while the machine sleeps or the process is stopped."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _database_time() -> datetime:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            at: datetime = cursor.fetchone()[0]
            return at
        cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)
