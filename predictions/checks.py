"""Is everything there that an answer needs? Each check returns None, or says what is wrong and what to do."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error, connection
from django.utils import timezone

from predictions import clock, encryption
from predictions.bus import bus
from predictions.models import Prediction, Provider, Worker

LEAST_ROOM = 1_000_000_000  # bytes
CLOCK_TOLERANCE = timedelta(seconds=30)
WEBHOOKS_EXPECTED = 3  # predictions without any webhook, before that is worth a word


def check_database() -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return f"The database cannot be reached ({error}). Look at DATABASE_URL, and whether its server runs."
    return None


def check_bus() -> str | None:
    if trouble := bus.trouble():
        return f"Redis cannot be reached ({trouble}). Answers arrive a second late. Look at REDIS_URL."
    return None


def check_worker() -> str | None:
    try:
        if Worker.objects.alive().exists():
            return None
    except Error:
        return "No sign of a worker can be seen without the database."
    return "No worker runs: start one with `manage.py runpredictions`, or everything with `bin/start`."


def check_keys() -> str | None:
    """Whether what is kept encrypted can be read."""
    if problem := encryption.check_keys():
        return problem
    unreadable = [str(row) for row in Provider.objects.exclude(encrypted_token="") if not _reads(row)]
    if unreadable:
        return (
            f"The API token for {', '.join(unreadable)} cannot be read: it was encrypted with another key, or for "
            "another address. Bring the key back (PARLEY_ENCRYPTION_KEY), or enter the token again in the admin."
        )
    return None


def _reads(row: Provider) -> bool:
    try:
        _ = row.own_token
    except encryption.NotDecrypted:
        return False
    return True


def check_storage() -> str | None:
    """Write a file where files are kept, read it, delete it, and see how much room is left."""
    probe = b"written by manage.py doctor"
    try:
        name = default_storage.save("probe", ContentFile(probe))
        with default_storage.open(name) as file:
            is_same = file.read() == probe
        default_storage.delete(name)
        free = shutil.disk_usage(settings.DATA_DIR).free
    except OSError as error:
        return f"Files cannot be kept in {settings.DATA_DIR} ({error}). Look at PARLEY_DATA_DIR and its owner."
    if not is_same:
        return f"What was written to {settings.MEDIA_ROOT} is not what can be read there. Look at its disk."
    if free < LEAST_ROOM:
        return f"Only {free // 1_000_000} MB are free at {settings.DATA_DIR}. Make room, or answers cannot be kept."
    return None


def check_clock() -> str | None:
    """Compare this machine's clock with the database's."""
    try:
        ahead = clock.ahead()
    except Error:
        return "The database's clock cannot be seen without the database."
    return _wrong("the database’s", ahead)


def check_clock_with(host: str, at: datetime | None) -> str | None:
    """Compare this machine's clock with `at`, which `host` told a moment ago."""
    return None if at is None else _wrong(f"{host}’s", at - timezone.now())


def _wrong(whose: str, ahead: timedelta) -> str | None:
    if abs(ahead) < CLOCK_TOLERANCE:
        return None
    way = "behind" if ahead > timedelta() else "ahead of"
    return (
        f"This machine’s clock is {abs(ahead).total_seconds():.0f} s {way} {whose}. Webhooks are refused from five "
        "minutes on, and times are shown wrong. Have the machine set its clock by the network (NTP)."
    )


def check_webhooks(provider: Provider) -> str | None:
    """Whether the host's webhooks arrive, where it was told to send some."""
    if not settings.PUBLIC_URL:
        return None
    since = timezone.now() - timedelta(days=1)
    ended = Prediction.objects.filter(model__provider=provider, asked_at__gt=since).exclude(completed_at=None)
    if ended.count() >= WEBHOOKS_EXPECTED and not ended.filter(webhook_deliveries__isnull=False).exists():
        return (
            f"None of today’s {ended.count()} webhooks arrived; answers come all the same, by looking. Is "
            f"{settings.PUBLIC_URL} this site as the internet sees it, with a certificate that is good?"
        )
    return None


READINESS: dict[str, Callable[[], str | None]] = {
    "database": check_database,
    "bus": check_bus,
    "worker": check_worker,
}
