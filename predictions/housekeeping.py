"""What has to be tidied up now and then. Every worker does it, and it does not matter how many do it at once."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import Error, transaction
from django.db.models import QuerySet

from predictions import clock, files, metrics
from predictions.database import query
from predictions.events import TERMINAL
from predictions.models import OutputChunk, Prediction, Upload, WebhookDelivery, Worker
from predictions.models import Provider as ProviderRow
from predictions.providers import Provider
from predictions.signals import ends_missed

logger = logging.getLogger(__name__)

LOOK_AGAIN = 5.0  # seconds between looks for files that are to be tried again
SWEEP = 3600.0  # seconds between two sweeps, about
FORGET_WORKERS = timedelta(days=1)
FORGET_DELIVERIES = timedelta(days=1)
FORGET_UPLOADS = timedelta(days=1)  # that were never sent
BATCH = 500  # rows in one transaction: others have their turn in between
BATCHES = 200  # of one kind in a sweep; the rest is left for the next


async def keep_house(connect: Callable[[ProviderRow], Provider]) -> None:
    """Copy files again that could not be copied, and sweep, for ever."""
    loop = asyncio.get_running_loop()
    next_sweep = loop.time()
    while True:
        try:
            await files.retry(connect)
            if loop.time() >= next_sweep:
                next_sweep = loop.time() + SWEEP * random.uniform(0.8, 1.2)  # noqa: S311 - so that not all sweep at once
                await sweep()
        except Error as error:
            logger.warning("Nothing can be tidied up: %s", error)
        except Exception:
            logger.exception("Something could not be tidied up; the answers go on.")
        await asyncio.sleep(LOOK_AGAIN)


async def sweep() -> None:
    """Put right what was left behind, and delete what is not needed any more."""
    await query(fold_what_was_left)
    await query(ends_missed.send_robust, sender=Prediction)
    now = clock.now()
    await _delete(await query(_forgotten_workers, now))
    await _delete(WebhookDelivery.objects.filter(received_at__lt=now - FORGET_DELIVERIES))
    await _delete(Upload.objects.filter(created_at__lt=now - FORGET_UPLOADS))
    await _delete(Session.objects.filter(expire_date__lt=now))


def _forgotten_workers(now: datetime) -> QuerySet[Worker]:
    silent = Worker.objects.filter(seen_at__lt=now - FORGET_WORKERS)
    # A machine that wakes after days must not forget itself before its next sign of life.
    own = Worker.objects.filter(name=Worker.own_name()).order_by("-pk").values_list("pk", flat=True)[:1]
    return silent.exclude(pk__in=list(own))


async def _delete(rows: QuerySet[Any]) -> None:
    for _ in range(BATCHES):
        if await query(_delete_batch, rows) < BATCH:
            return


def _delete_batch(rows: QuerySet[Any]) -> int:
    keys = list(rows.values_list("pk", flat=True)[:BATCH])
    if keys:  # a transaction for nothing would still keep SQLite's other writers waiting
        rows.filter(pk__in=keys).delete()
    return len(keys)


def fold_what_was_left() -> None:
    """Fold the chunks of predictions that have ended; whoever ended them should have done so."""
    ended = OutputChunk.objects.filter(prediction__status__in=TERMINAL).order_by()
    for key in ended.values_list("prediction", flat=True).distinct()[:BATCH]:
        _fold(key)


@transaction.atomic
def _fold(key: UUID) -> None:
    prediction = Prediction.objects.select_for_update().filter(pk=key).first()
    chunks = OutputChunk.objects.filter(prediction=key).order_by("offset")
    if prediction is None or not chunks.exists():
        return  # another worker was here
    text = "".join(chunks.values_list("text", flat=True))
    if not prediction.output:  # otherwise the row has the host's final word
        prediction.output, prediction.output_end = text, len(text)
        prediction.save(update_fields=["output", "output_end"])
    chunks.delete()
    metrics.FOLDED_LATE.inc()
    logger.error("Prediction %s had ended, and its chunks were still there.", key)
