"""The journal: the one writer of output.

Every tick it writes what has become of *all* running predictions in one transaction, and only after the commit
tells the bus: what a browser has seen can be found in the database. Hundreds of streams cost some twenty
commits a second, not thousands.

The same transaction renews the leases and looks at who holds them. A worker that was silent for too long finds
that some are held by another; of those nothing is written, and their runs are given up (`lost`).
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import DataError, Error, IntegrityError, connections, transaction
from django.utils import timezone

from predictions.bus import Topical, bus
from predictions.database import query
from predictions.events import FAILED
from predictions.models import OutputChunk, Prediction, Worker
from predictions.models.prediction import LEASE
from predictions.signals import prediction_ended

logger = logging.getLogger(__name__)

TICK = 0.04  # seconds; a reader does not see it, the database does
LONGEST_TICK = 0.25  # seconds, when commits are slow
RENEWAL = 5.0  # seconds between renewals of leases that have nothing to write
BACKLOG = 262_144  # characters of one prediction that may wait for the database
RETRY_PAUSES = (0.1, 5.0)  # seconds after a failed commit, doubling
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

    @property
    def hint(self) -> Topical:
        end = self.offset + len(self.text)
        return f"prediction:{self.prediction}", {
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


class Journal:
    """Collects the changes of one worker's predictions and commits them, a tick at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._held: dict[UUID, Prediction] = {}
        self._changed: dict[UUID, Prediction] = {}
        self._released: set[UUID] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._urgent = asyncio.Event()
        self._something = asyncio.Event()
        self._batch: Batch | None = None  # the one being written, until the database has it
        self._tellings: set[asyncio.Task[Any]] = set()
        self._closing = False
        # A thread of its own: a slow page must not hold up the answers.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self.has_ended = False
        self.lost: asyncio.Queue[UUID] = asyncio.Queue()

    def hold(self, prediction: Prediction) -> None:
        """Keep the lease of a claimed prediction from now on."""
        self._held[prediction.pk] = prediction

    def note(self, prediction: Prediction) -> None:
        """Have what has become of `prediction` written at the next tick; the first text of an answer at once."""
        transcript = prediction.transcript
        if transcript.unwritten_length and transcript.end == transcript.unwritten_length:
            self._urgent.set()
        self._changed[prediction.pk] = prediction
        self._something.set()

    async def write(self, prediction: Prediction) -> None:
        """`note`, and wait if too much of this prediction is waiting for the database."""
        self.note(prediction)
        if prediction.transcript.unwritten_length > BACKLOG:
            await self.committed()

    async def commit(self, prediction: Prediction) -> None:
        """Return when everything about `prediction` is in the database."""
        self.note(prediction)
        await self.committed()

    async def release(self, prediction: Prediction) -> None:
        """Let go of `prediction`: any worker may claim it."""
        self._released.add(prediction.pk)
        await self.commit(prediction)

    async def committed(self) -> None:
        """Return after the next commit."""
        if self.has_ended:
            raise asyncio.CancelledError("the journal has ended")
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._urgent.set()
        self._something.set()
        await future

    def close(self) -> None:
        """Write what is left and end `run`."""
        self._closing = True
        self._urgent.set()
        self._something.set()

    async def run(self) -> None:
        """Commit tick by tick until `close`; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        pause, longest_pause = RETRY_PAUSES
        tick = TICK
        try:
            while not self._closing or self._changed or self._batch:
                await self._wait_for_changes(tick)
                began = loop.time()
                try:
                    await self._commit_batch()
                except Error as error:
                    logger.warning("The database takes no output (%s); trying again in %.1f s.", error, pause)
                    self._thread.submit(connections.close_all)
                    if self._closing and pause >= longest_pause:
                        break
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest_pause)
                else:
                    pause = RETRY_PAUSES[0]
                    tick = min(max(TICK, 2 * (loop.time() - began)), LONGEST_TICK)
            await asyncio.gather(*self._tellings)
        finally:
            self.has_ended = True
            self._thread.submit(connections.close_all)
            self._thread.shutdown(wait=True)
            for future in self._waiting:
                future.cancel()

    async def _wait_for_changes(self, tick: float) -> None:
        if self._batch:
            return
        try:
            async with asyncio.timeout(RENEWAL):
                await self._something.wait()
            async with asyncio.timeout(tick):
                await self._urgent.wait()
        except TimeoutError:
            pass
        self._something.clear()
        self._urgent.clear()

    async def _commit_batch(self) -> None:
        if self._batch is None:
            self._batch = Batch(self._take_changes(), self._waiting)
            self._waiting = []
        batch = self._batch
        loop = asyncio.get_running_loop()
        held = list(self._held)
        try:
            lost = await loop.run_in_executor(self._thread, write_batch, self._worker.pk, held, batch.changes)
        except (DataError, IntegrityError):
            # Something that no database takes must not hold up what it takes.
            lost = await loop.run_in_executor(self._thread, write_singly, self._worker.pk, held, batch.changes)
        self._batch = None
        written = [change for change in batch.changes if change.prediction not in lost]
        self._settle(written, lost)
        bus.publish(*(change.hint for change in written))
        for future in batch.waiting:
            if not future.done():
                future.set_result(None)

    def _settle(self, written: list[Change], lost: set[UUID]) -> None:
        for change in written:
            if change.is_last or change.releases:
                self._held.pop(change.prediction, None)
                self._released.discard(change.prediction)
            if change.is_last:
                telling = asyncio.create_task(
                    query(prediction_ended.send_robust, sender=Prediction, prediction_id=change.prediction)
                )
                self._tellings.add(telling)
                telling.add_done_callback(self._tellings.discard)
        for key in lost:
            self._released.discard(key)
            if self._held.pop(key, None) is not None:
                self.lost.put_nowait(key)

    def _take_changes(self) -> list[Change]:
        changed, self._changed = self._changed, {}
        return [self._take_change(prediction) for prediction in changed.values() if prediction.pk in self._held]

    def _take_change(self, prediction: Prediction) -> Change:
        offset, text = prediction.transcript.take_unwritten()
        change = Change(
            prediction=prediction.pk,
            edition=prediction.edition,
            replaces=prediction.text_replaced,
            offset=offset,
            text=text,
            state={name: getattr(prediction, name) for name in Prediction.STATE} if prediction.state_changed else {},
            phase=prediction.phase,
            since=prediction.phase_since.isoformat(),
            files=prediction.file_count,
            progress=prediction.progress,
            is_last=prediction.is_terminal,
            releases=prediction.pk in self._released,
        )
        prediction.text_replaced = prediction.state_changed = False
        return change


def write_batch(worker_id: int, held: list[UUID], batch: list[Change]) -> set[UUID]:
    """Write one tick's changes in one transaction; return the predictions whose lease is another's by now."""
    now = timezone.now()
    with transaction.atomic():
        mine = Prediction.objects.filter(pk__in=held, worker=worker_id)
        lost = set()
        if mine.update(leased_until=now + LEASE) != len(held):
            lost = set(held) - set(mine.values_list("pk", flat=True))
        fenced = [change for change in batch if change.prediction not in lost]
        replaced = [change.prediction for change in fenced if change.replaces]
        if replaced:
            OutputChunk.objects.filter(prediction__in=replaced).delete()
        OutputChunk.objects.bulk_create(
            OutputChunk(prediction_id=change.prediction, offset=change.offset, text=change.text)
            for change in fenced
            if change.text
        )
        for change in fenced:
            _write_state(change)
        Worker.objects.filter(pk=worker_id).update(seen_at=now)
    return lost


def write_singly(worker_id: int, held: list[UUID], batch: list[Change]) -> set[UUID]:
    """Write each change in a transaction of its own; return what is another's, and what had to be failed instead."""
    lost = set()
    for change in batch:
        try:
            lost |= write_batch(worker_id, held, [change])
        except (DataError, IntegrityError):
            logger.exception("What became of prediction %s cannot be stored.", change.prediction)
            failure = {"status": FAILED, "error": UNSTORABLE, "completed_at": timezone.now()}
            write_batch(worker_id, held, [replace(change, replaces=False, text="", state=failure, is_last=True)])
            lost.add(change.prediction)
    return lost


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
