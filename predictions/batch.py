"""One tick's changes, and how they get into the database.

All are written in one transaction that looks at who holds the leases: of a prediction that is another worker's by now,
nothing is written. Where a commit's answer got lost, a stamp tells a second try whether the first one is there.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Q

from predictions import clock
from predictions.bus import Topical
from predictions.events import FAILED
from predictions.models import OutputChunk, Prediction, Worker
from predictions.models.prediction import LEASE

logger = logging.getLogger(__name__)

HINT_TEXT = 4_096  # characters that a hint carries; more is read from the log
UNSTORABLE = "The provider sent something that cannot be stored; Parley's log says more."


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of one prediction since the last tick."""

    prediction: UUID
    edition: int
    replaces: bool  # the text is a new edition: what was stored of the old one goes
    offset: int
    text: str
    state: dict[str, Any]  # the changed fields, or empty
    phase: str
    since: str
    files: int
    progress: int | None
    is_last: bool
    releases: bool  # the worker lets go of it
    folds_from: int | None  # the chunks from this offset on are joined into one

    @property
    def hint(self) -> Topical:
        topic = f"prediction:{self.prediction}"
        if len(self.text) > HINT_TEXT:
            return topic, {}
        end = self.offset + len(self.text)
        return topic, {
            "edition": self.edition,
            "offset": self.offset,
            "end": end,
            "text": self.text,
            "phase": self.phase,
            "since": self.since,
            "files": self.files,
            "progress": self.progress,
        }


@dataclass(slots=True)
class Batch:
    """The changes of one tick, and who waits for them to be written."""

    changes: list[Change]
    waiting: list[asyncio.Future[None]]
    # Written with the changes, on the worker's own row. Where a commit's answer got lost, it tells whether they are.
    stamp: datetime = field(default_factory=clock.now)
    tries: int = 0
    renews: bool = True  # the leases, too
    figures: dict[str, float] | None = None  # what the worker counts, told with a renewal
    alone: dict[UUID, bool] = field(default_factory=dict)  # written one by one so far, and whether the lease was lost


def write_batch(worker_id: int, held: list[UUID], batch: Batch) -> set[UUID]:
    """Write one tick's changes in one transaction; return the predictions whose lease is another's by now.

    Something that no database takes does not hold up what it takes: then each change has a transaction of its own.
    """
    if batch.alone:
        return _write_singly(worker_id, batch)
    if batch.tries > 1 and _is_written(worker_id, batch.stamp):
        mine = Prediction.objects.filter(worker=worker_id).values_list("pk", flat=True)
        let_go = {change.prediction for change in batch.changes if change.is_last or change.releases}
        return set(held) - set(mine) - let_go
    try:
        return _write(worker_id, held, batch.changes, batch.stamp, renews=batch.renews, figures=batch.figures)
    except (DataError, IntegrityError):
        return _write_singly(worker_id, batch)


def _write_singly(worker_id: int, batch: Batch) -> set[UUID]:
    """Write change by change; return what is another's, and what had to be failed instead."""
    for place, change in enumerate(batch.changes, start=1):
        key, stamp = change.prediction, batch.stamp + timedelta(microseconds=place)
        if key in batch.alone:
            continue
        if batch.tries > 1 and _is_written(worker_id, stamp):
            batch.alone[key] = False
            continue
        try:
            batch.alone[key] = key in _write(worker_id, [key], [change], stamp)
        except (DataError, IntegrityError):
            logger.exception("What became of prediction %s cannot be stored.", key)
            failure = {"status": FAILED, "error": UNSTORABLE, "completed_at": clock.now()}
            failed = replace(change, replaces=False, text="", state=failure, is_last=True, folds_from=None)
            _write(worker_id, [key], [failed], stamp)
            batch.alone[key] = True
    return {key for key, is_lost in batch.alone.items() if is_lost}


def _is_written(worker_id: int, stamp: datetime) -> bool:
    return Worker.objects.filter(pk=worker_id, seen_at=stamp).exists()


def _write(
    worker_id: int,
    held: list[UUID],
    changes: list[Change],
    stamp: datetime,
    *,
    renews: bool = True,
    figures: dict[str, float] | None = None,
) -> set[UUID]:
    now = clock.now()
    _settle_durability(changes)
    with transaction.atomic():
        # Locked, so that nobody takes one over before this is committed. The slot of a question that was not asked
        # yet went to another one when its lease ran out.
        mine = Prediction.objects.filter(Q(leased_until__gt=now) | ~Q(asked_at=None), worker=worker_id)
        kept = set(mine.select_for_update(no_key=True).values_list("pk", flat=True))
        lost = set(held) - kept
        if renews:
            mine.filter(pk__in=kept.intersection(held)).update(leased_until=now + LEASE)
        fenced = [change for change in changes if change.prediction not in lost]
        replaced = [change.prediction for change in fenced if change.replaces]
        if replaced:
            OutputChunk.objects.filter(prediction__in=replaced).delete()
        OutputChunk.objects.bulk_create(
            OutputChunk(prediction_id=change.prediction, offset=change.offset, text=change.text)
            for change in fenced
            if change.text
        )
        for change in fenced:
            if change.folds_from is not None:
                _fold(change.prediction, change.folds_from)
            _write_state(change)
        told: dict[str, Any] = {"seen_at": stamp} if figures is None else {"seen_at": stamp, "figures": figures}
        # Its row is gone if it slept for so long that it was forgotten.
        if not Worker.objects.filter(pk=worker_id).update(**told):
            Worker.objects.create(pk=worker_id, name=Worker.own_name(), **told)
    return lost


def _settle_durability(changes: list[Change]) -> None:
    """Have SQLite wait for the disk where a host is about to be asked: after a power cut it must be known."""
    if connection.vendor == "sqlite":
        is_intent = any(change.phase == "starting" for change in changes)
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA synchronous={'FULL' if is_intent else 'NORMAL'}")


def _fold(prediction: UUID, offset: int) -> None:
    """Join the chunks from `offset` on: an answer of half an hour would have tens of thousands."""
    chunks = OutputChunk.objects.filter(prediction=prediction, offset__gte=offset).order_by("offset")
    text = "".join(chunks.values_list("text", flat=True))
    chunks.delete()
    OutputChunk.objects.create(prediction_id=prediction, offset=offset, text=text)


def _write_state(change: Change) -> None:
    state = dict(change.state)
    if change.is_last:
        chunks = OutputChunk.objects.filter(prediction=change.prediction).order_by("offset")
        state["output"] = "".join(chunks.values_list("text", flat=True))
        state["output_end"] = len(state["output"])
        chunks.delete()
    if change.is_last or change.releases:
        state |= {"worker": None, "leased_until": None}
    if state:
        Prediction.objects.filter(pk=change.prediction).update(**state)
