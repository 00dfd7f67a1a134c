"""Is everything there that an answer needs? Each check returns None, or says what is wrong and what to do."""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import Error, connection

from predictions.bus import RedisBus, bus
from predictions.models import Worker


def check_database() -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return f"The database cannot be reached ({error}). Look at DATABASE_URL, and whether its server runs."
    return None


def check_bus() -> str | None:
    if not isinstance(bus, RedisBus):
        return None
    try:
        bus.ping()
    except redis.RedisError as error:
        return f"Redis cannot be reached ({error}). Answers arrive a second late. Look at REDIS_URL."
    return None


def check_worker() -> str | None:
    try:
        if Worker.objects.alive().exists():
            return None
    except Error:
        return "No sign of a worker can be seen without the database."
    return "No worker runs: start one with `manage.py runpredictions`, or everything with `bin/start`."


def check_storage() -> str | None:
    try:
        probe = settings.DATA_DIR / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return f"Nothing can be written to {settings.DATA_DIR} ({error}). Look at PARLEY_DATA_DIR and its owner."
    return None


READINESS: dict[str, Callable[[], str | None]] = {
    "database": check_database,
    "bus": check_bus,
    "worker": check_worker,
}
