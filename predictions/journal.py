"""The journal: the one writer of output.

Every tick it writes what has become of *all* running predictions in one transaction, and only after the commit
tells the bus: what a browser has seen can be found in the database. Hundreds of streams cost some twenty
commits a second, not thousands.

The same transaction looks at who holds the leases, and renews them now and then. A worker that was silent for too long
finds that some are held by another; of those nothing is written, and their runs are given up (`lost`).
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any
from uuid import UUID

from django.db import Error, connections

from predictions import clock, metrics
from predictions.batch import Batch, Change, write_batch
from predictions.bus import bus
from predictions.database import query
from predictions.models import Prediction, Worker
from predictions.models.prediction import LEASE
from predictions.signals import prediction_ended

logger = logging.getLogger(__name__)

TICK = 0.04  # seconds; a reader does not see it, the database does
TICK_OF_STREAM = 0.00002  # seconds more for each stream: many of them are cheaper in fewer, larger commits
LONGEST_TICK = 0.25  # seconds, when commits are slow
RENEWAL = 5.0  # seconds between renewals of leases that have nothing to write
BACKLOG = 262_144  # characters of one prediction that may wait for the database
TURNS = 4  # of the event loop, that it takes to read from a socket what is there, and to note it
FOLDED = 256  # chunks of a running prediction that are joined into one
RETRY_PAUSES = (0.1, 5.0)  # seconds after a failed commit, doubling
LAST_TRIES = 3.0  # seconds in which a journal that closes tries again


class LeaseLost(Exception):
    """Another worker sees the prediction through by now."""


class Journal:
    """Collects the changes of one worker's predictions and commits them, a tick at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._held: dict[UUID, Prediction] = {}
        self._lost: set[UUID] = set()
        self._renewed_at = clock.steady()
        self._chunks: dict[UUID, tuple[int, int]] = {}  # where the unfolded chunks begin, and how many there are
        self._changed: dict[UUID, Prediction] = {}
        self._released: set[UUID] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._pacing: list[asyncio.Future[None]] = []  # who waits for the next tick
        self._ticked_at = 0.0
        self._urgent = asyncio.Event()
        self._something = asyncio.Event()
        self._batch: Batch | None = None  # the one being written, until the database has it
        self._tellings: set[asyncio.Task[Any]] = set()
        self._closed_at = inf
        # A thread of its own: a slow page must not hold up the answers.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self.has_ended = False
        self.lost: asyncio.Queue[UUID] = asyncio.Queue()

    def hold(self, prediction: Prediction) -> None:
        """Keep the lease of a claimed prediction from now on."""
        self._lost.discard(prediction.pk)
        self._held[prediction.pk] = prediction

    def let_go(self, prediction: Prediction) -> None:
        """Forget what was remembered of a prediction whose run is over."""
        self._lost.discard(prediction.pk)
        self._released.discard(prediction.pk)
        self._chunks.pop(prediction.pk, None)

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

    async def next_tick(self) -> None:
        """Return just before the next tick: what has come by then is taken in and written together."""
        future = asyncio.get_running_loop().create_future()
        self._pacing.append(future)
        self._something.set()
        await future

    async def commit(self, prediction: Prediction) -> None:
        """Return when everything about `prediction` is in the database; raise LeaseLost."""
        self.note(prediction)
        await self.committed()
        if prediction.pk in self._lost:
            raise LeaseLost

    async def assure(self, prediction: Prediction) -> None:
        """Return if the lease is surely ours at this moment; raise LeaseLost.

        A process that was stopped for a while does not know that another one has taken over, and what it asks of a
        host then cannot be refused by the database.
        """
        if clock.steady() - self._renewed_at > LEASE.total_seconds() / 2:
            await self.commit(prediction)
        elif prediction.pk in self._lost:
            raise LeaseLost

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
        self._closed_at = asyncio.get_running_loop().time()
        self._urgent.set()
        self._something.set()

    async def run(self) -> None:
        """Commit tick by tick until `close`; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        pause, longest_pause = RETRY_PAUSES
        tick, took = TICK, 0.0
        try:
            while self._closed_at == inf or self._changed or self._batch:
                await self._wait_for_changes(tick)
                began = loop.time()
                try:
                    await self._commit_batch()
                except Error as error:
                    metrics.COMMIT_FAILURES.inc()
                    logger.warning("The database takes no output (%s); trying again in %.1f s.", error, pause)
                    self._thread.submit(connections.close_all)
                    if loop.time() - self._closed_at > LAST_TRIES:
                        break
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest_pause)
                else:
                    pause = RETRY_PAUSES[0]
                    took, took_before = loop.time() - began, took  # one slow commit is no slow database
                    tick = self._next_tick_after(min(took, took_before))
            await asyncio.gather(*self._tellings)
        finally:
            self.has_ended = True
            self._thread.submit(connections.close_all)
            self._thread.shutdown(wait=True)
            for future in (*self._waiting, *self._pacing):
                future.cancel()

    def _next_tick_after(self, commit: float) -> float:
        """Return how long the next tick takes, in seconds, where a commit lasts `commit` seconds."""
        tick = TICK + TICK_OF_STREAM * len(self._held)
        return min(max(tick, 1.5 * commit), LONGEST_TICK)

    async def _wait_for_changes(self, tick: float) -> None:
        if self._batch:
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RENEWAL):
                await self._something.wait()
            async with asyncio.timeout_at(self._ticked_at + tick):
                await self._urgent.wait()
        except TimeoutError:
            pass
        if loop.time() >= self._ticked_at + tick:
            self._ticked_at = loop.time()
            await self._let_all_take_in()
        self._something.clear()
        self._urgent.clear()
        if self._pacing:
            self._something.set()

    async def _let_all_take_in(self) -> None:
        """Have those who wait for the tick read and note what has come."""
        pacing, self._pacing = self._pacing, []
        for future in pacing:
            if not future.done():
                future.set_result(None)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _commit_batch(self) -> None:
        if self._batch is None:
            renews = clock.steady() - self._renewed_at >= RENEWAL
            figures = metrics.worker_figures() if renews else None
            self._batch = Batch(self._take_changes(), self._waiting, renews=renews, figures=figures)
            self._waiting = []
        if self._is_idle(self._batch):
            self._batch = None
            return
        batch, began = self._batch, clock.steady()
        loop = asyncio.get_running_loop()
        held = list(self._held)
        batch.tries += 1
        lost = await loop.run_in_executor(self._thread, write_batch, self._worker.pk, held, batch)
        self._batch = None
        metrics.COMMIT_SECONDS.observe(clock.steady() - began)
        metrics.CHARACTERS.inc(sum(len(change.text) for change in batch.changes))
        if batch.renews:
            self._renewed_at = began
        written = [change for change in batch.changes if change.prediction not in lost]
        self._settle(written, lost)
        bus.publish(*(change.hint for change in written))
        for future in batch.waiting:
            if not future.done():
                future.set_result(None)

    def _is_idle(self, batch: Batch) -> bool:
        """Whether there is nothing to write, and no lease to renew yet."""
        return not batch.changes and not batch.waiting and not batch.renews

    def _settle(self, written: list[Change], lost: set[UUID]) -> None:
        for change in written:
            if change.is_last or change.releases:
                held = self._held.pop(change.prediction, None)
                self._released.discard(change.prediction)
                if change.is_last and held is not None:
                    metrics.note_end(held)
            if change.is_last:
                metrics.REPLACED_TEXTS.inc(change.replaces)
                telling = asyncio.create_task(
                    query(prediction_ended.send_robust, sender=Prediction, prediction_id=change.prediction)
                )
                self._tellings.add(telling)
                telling.add_done_callback(self._tellings.discard)
        for key in lost:
            self._released.discard(key)
            if self._held.pop(key, None) is not None:
                self._lost.add(key)
                metrics.LEASES_LOST.inc()
                self.lost.put_nowait(key)

    def _take_changes(self) -> list[Change]:
        changed, self._changed = self._changed, {}
        # The same row may have been lost and claimed anew meanwhile: what the former run heard is not this one's.
        held = [prediction for prediction in changed.values() if self._held.get(prediction.pk) is prediction]
        return [self._take_change(prediction) for prediction in held]

    def _take_change(self, prediction: Prediction) -> Change:
        offset, text = prediction.transcript.take_unwritten()
        if text:
            self._count_chunk(prediction, offset)
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
            folds_from=self._take_fold(prediction, offset + len(text)),
        )
        prediction.text_replaced = prediction.state_changed = False
        return change

    def _count_chunk(self, prediction: Prediction, offset: int) -> None:
        first, count = self._chunks.get(prediction.pk, (offset, 0))
        self._chunks[prediction.pk] = (first, count + 1) if offset else (0, 1)

    def _take_fold(self, prediction: Prediction, end: int) -> int | None:
        first, count = self._chunks.get(prediction.pk, (0, 0))
        if count < FOLDED or prediction.is_terminal:
            return None
        self._chunks[prediction.pk] = (end, 0)
        return first
