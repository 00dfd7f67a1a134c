"""One prediction from its row to its end: ask the provider, follow the stream, else poll; stop when asked to.

The runner may be killed anywhere and another one goes on from the row: what was asked is never asked again while the
provider may know of it.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import Error

from predictions import clock, files, metrics
from predictions.database import insist, query
from predictions.events import CANCELED, Completed, Event, Failed, Files, Output, Restarted, Snapshot, from_snapshot
from predictions.journal import Journal
from predictions.models import Condition, Prediction
from predictions.models.prediction import LONGEST_QUEUE
from predictions.providers import Provider
from predictions.providers.errors import (
    AccountRefused,
    AnswerLost,
    NotTaken,
    PredictionGone,
    ProviderBusy,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    StreamInterrupted,
)

logger = logging.getLogger(__name__)

LONGEST_LIFE = timedelta(minutes=30)  # from the asking; Replicate's own limit
LAST_LOOKS = timedelta(minutes=1)  # after that, or after a time in which no worker lived: the host may have the answer
OUTPUT_LIMIT = 4_000_000  # code points; a model that writes more has gone wrong
LOSSES = 2  # how often a host may forget the same answer and is asked again
FIND_AGES = (2.0, 10.0, 30.0, 60.0)  # seconds after the asking at which a lost create is looked for
POLL_GROWTH = 1.3
CANCEL_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds after a cancel that did not arrive
CANCELS = 2  # a Cog server says yes and forgets about some that come right after the start
STOP_PATIENCE = 5.0  # seconds between a cancel and its effect; then the page is freed all the same
QUIET = 15.0  # seconds without a word, after which the prediction is looked at beside its stream
FILES_AT_ONCE = 4  # of one answer that are copied
NEW_PATIENCE = 10.0  # seconds in which a new prediction may not be known everywhere at its host


class OutputTooLong(ProviderError):
    """The model writes without end."""


class Runner:
    """Sees one claimed prediction through; `prediction.resume` has been called."""

    def __init__(self, prediction: Prediction, provider: Provider, journal: Journal) -> None:
        self.prediction = prediction
        self._row = prediction.model.provider
        self._provider = provider
        self._journal = journal
        self._stop = asyncio.Event()
        self._asked = asyncio.Event()  # the provider's id is known: it can be cancelled
        self._answered = asyncio.Event()  # no create is on its way
        self._answered.set()
        self._look = asyncio.Event()  # a webhook says that something happened
        self._heard_at = 0.0
        self._keeping = asyncio.Lock()
        if prediction.cancel_requested_at:
            self._stop.set()

    def request_stop(self) -> None:
        self._stop.set()

    def request_look(self) -> None:
        """Have the provider asked how it stands, now."""
        self._look.set()

    async def wait_for_answer(self) -> None:
        """Return when no create is on its way: one that is given up must be looked for, and that takes a minute."""
        await self._answered.wait()

    async def run(self) -> None:
        """Return when the prediction has ended or is back in the queue, and the database knows."""
        # The provider is followed in a task of its own that is cancelled once and waited for: httpx loses a
        # connection of its pool when a stream is cancelled twice.
        following = asyncio.create_task(self._see_through())
        looking = asyncio.create_task(self._look_out())
        stopping = asyncio.create_task(self._stop_when_asked())
        tasks = (following, looking, stopping)
        try:
            await asyncio.wait(tasks, timeout=self._time_left(), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            elif looking.done():
                looking.result()
            elif stopping.done():
                self._apply(Completed(CANCELED))
            else:
                await self._give_up("The answer took too long and was stopped.")
        except NotTaken as error:
            await self._queue_again(error)
            return
        except AccountRefused as error:
            await self._note(Condition.note_trouble, str(error), pause=0.0)
            self._apply(Failed(str(error)))
        except PredictionGone as error:
            self._apply(Failed(str(error)))
        except ProviderError as error:
            await self._give_up(str(error))
        finally:
            for task in tasks:
                await cancel_once(task)
            await self._provider.let_go(self.prediction)
        await self._journal.commit(self.prediction)

    # ------------------------------------------------------------ asking

    async def _see_through(self) -> None:
        prediction = self.prediction
        if prediction.asked_at is None:
            await self._refuse_what_is_overdue()
        while not prediction.is_terminal:
            if prediction.asked_at is None and self._stop.is_set():
                self._apply(Completed(CANCELED))
                return
            if prediction.asked_at is None:
                await self._ask()
            if not prediction.provider_id:
                await self._find()
            self._asked.set()
            try:
                await self._watch()
            except PredictionGone as error:
                self._prepare_to_ask_again(error)

    async def _refuse_what_is_overdue(self) -> None:
        prediction = self.prediction
        waited = clock.now() - prediction.created_at
        if waited > LONGEST_QUEUE:
            raise ProviderError("The question waited for more than an hour and was given up.")
        if waited > self._row.patience and (condition := await insist(Condition.objects.of, self._row)).trouble:
            raise ProviderError(condition.trouble)

    async def _ask(self) -> None:
        prediction = self.prediction
        given = await self._given()
        prediction.note_asked(
            at=clock.now(),
            asked_for=self._provider.reference(prediction),
            provider_id=self._provider.new_id(prediction),
        )
        # The intent first: whoever finds this row later knows that the provider may have been asked.
        await self._journal.commit(prediction)
        self._answered.clear()
        try:
            permit = partial(self._journal.assure, prediction)
            snapshot = await self._provider.create(prediction, given, permit=permit)
        except AnswerLost as error:
            metrics.CREATES_LOST.inc()
            logger.warning("Prediction %s was perhaps created, perhaps not: %s", prediction.pk, error)
            prediction.note_lost(at=clock.now())
            self._journal.note(prediction)
            await self._note(Condition.note_trouble, str(error))
        else:
            await self._note(Condition.note_success)
            if prediction.losses:
                await insist(prediction.files.outputs().delete)
                self._apply(Restarted())
            await self._take_in_created(snapshot)
        finally:
            self._answered.set()

    async def _given(self) -> dict[str, Any]:
        """Return the input as the provider takes it; its files are sent before it is asked for anything."""
        try:
            return await files.given_input(self.prediction, self._provider)
        except AnswerLost as error:
            raise ProviderUnavailable(str(error)) from error

    async def _find(self) -> None:
        """Look for what came of a create whose answer was lost; have it asked once more if nothing did."""
        prediction = self.prediction
        is_absent = False
        assert prediction.asked_at is not None  # noqa: S101 - it was asked, that is why it is looked for
        prediction.note_lost(at=clock.now())
        # Others that look for the same must know that this one is not still waiting for its answer.
        await self._journal.commit(prediction)
        try:
            given = await self._given()
        except NotTaken as error:
            raise AnswerLost(NEVER_HEARD) from error
        for age in FIND_AGES:
            due = prediction.asked_at + timedelta(seconds=age) - clock.now()
            await self._wait_for_look(max(due.total_seconds(), 0))
            try:
                prediction.hinted_id = await insist(_hinted_id, prediction)
                snapshot = await self._provider.find(prediction, given)
            except (NotTaken, AnswerLost):
                is_absent = False  # who cannot look has no proof
                continue
            if snapshot is not None:
                await self._take_in_created(snapshot)
                return
            is_absent = True
        if not is_absent or prediction.losses:
            raise AnswerLost(NEVER_HEARD)
        prediction.note_loss()
        raise ProviderBusy("The question did not arrive and waits for its next turn.", retry_after=0.0)

    async def _take_in_created(self, snapshot: Snapshot) -> None:
        self.prediction.note_created(snapshot)
        await self._take_in(snapshot)

    def _prepare_to_ask_again(self, error: PredictionGone) -> None:
        prediction = self.prediction
        if not self._provider.chooses_our_ids or prediction.losses >= LOSSES:
            raise error
        self._asked.clear()
        prediction.note_loss()
        prediction.note_not_taken(not_before=clock.now())

    async def _queue_again(self, error: NotTaken) -> None:
        prediction = self.prediction
        waited = clock.now() - prediction.created_at
        patience = LONGEST_QUEUE
        if isinstance(error, ProviderUnavailable):
            await self._note(Condition.note_trouble, str(error))
            patience = min(patience, self._row.patience)
        if isinstance(error, RateLimited):
            await self._note(Condition.note_trouble, str(error), pause=error.retry_after)
            if error.per_minute:
                await self._note(Condition.note_reduced_pace, error.per_minute)
        if self._stop.is_set():
            self._apply(Completed(CANCELED))
        elif waited > patience:
            self._apply(Failed(str(error)))
        else:
            prediction.note_not_taken(not_before=clock.now() + timedelta(seconds=error.retry_after))
            await self._journal.release(prediction)
            return
        await self._journal.commit(prediction)

    async def _note(self, note: Callable[..., None], *what: Any, **how: Any) -> None:
        """Tell all workers how the provider is; a database that is away must not cost the answer."""
        try:
            await query(note, self._row, *what, **how)
        except Error as error:
            logger.warning("The condition of %s cannot be noted: %s", self._row, error)

    # ------------------------------------------------------------ following

    async def _watch(self) -> None:
        try:
            async with aclosing(self._provider.stream(self.prediction)) as stream:  # type: ignore[type-var]
                async for event in stream:
                    await self._hear(event)
                    await self._journal.write(self.prediction)
                    if isinstance(event, Output):
                        await self._journal.next_tick()
        except (StreamInterrupted, NotTaken, AnswerLost, AccountRefused) as error:
            if self.prediction.urls.get("stream"):  # there was one
                metrics.STREAMS_BROKEN.inc()
            logger.info("Prediction %s is polled: %s", self.prediction.pk, error)
        if not self.prediction.is_terminal:
            await self._poll()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        pause, longest = self._provider.poll_pauses
        reached = began = loop.time()
        while True:
            try:
                await self._take_in(await self._provider.poll(self.prediction))
                reached = loop.time()
            except PredictionGone:
                if self._provider.chooses_our_ids or loop.time() - began > NEW_PATIENCE:
                    raise
            except (NotTaken, AnswerLost, AccountRefused) as error:
                # A token can be mended while the provider still has the answer.
                if loop.time() - reached > self._row.patience.total_seconds():
                    # Not as NotTaken: it was taken, and must not be asked for again.
                    raise ProviderError(str(error)) from error
                if isinstance(error, RateLimited):
                    await asyncio.sleep(error.retry_after)
            if self.prediction.is_terminal:
                return
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that not all poll at once
            pause = min(pause * POLL_GROWTH, longest)

    async def _look_out(self) -> None:
        """Look at the prediction when a webhook says so, and where nothing is heard of it; return when it has ended."""
        loop = asyncio.get_running_loop()
        await self._asked.wait()
        self._heard_at = loop.time()
        while not self.prediction.is_terminal:
            told = await self._wait_for_look(self._heard_at + QUIET - loop.time())
            if not told and loop.time() - self._heard_at < QUIET:
                continue
            self._heard_at = loop.time()
            try:
                await self._take_in(await self._provider.poll(self.prediction))
            except OutputTooLong:
                raise
            except ProviderError as error:
                logger.info("Prediction %s cannot be looked at: %s", self.prediction.pk, error)

    async def _wait_for_look(self, seconds: float) -> bool:
        """Wait up to `seconds` for a webhook; say whether one came."""
        try:
            async with asyncio.timeout(seconds):
                await self._look.wait()
        except TimeoutError:
            return False
        self._look.clear()
        return True

    async def _take_in(self, snapshot: Snapshot) -> None:
        for event in from_snapshot(snapshot):
            await self._hear(event)
        await self._journal.write(self.prediction)

    async def _hear(self, event: Event) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if isinstance(event, Files):
            await self._keep_files(event.addresses)
        else:
            self._apply(event)

    async def _keep_files(self, addresses: tuple[str, ...]) -> None:
        """Have the output's files in our storage before anybody is told of them, and before the end."""
        slots = asyncio.Semaphore(FILES_AT_ONCE)

        async def keep(position: int) -> None:
            async with slots:
                await files.keep(self.prediction, position, addresses[position], self._provider.download)

        async with self._keeping, asyncio.TaskGroup() as copying:
            for position in range(self.prediction.file_count, len(addresses)):
                copying.create_task(keep(position))
        self.prediction.note_files(len(addresses))

    def _apply(self, event: Event) -> None:
        self.prediction.apply(event, at=clock.now())
        if self.prediction.transcript.end > OUTPUT_LIMIT and not self.prediction.is_terminal:
            raise OutputTooLong(f"The answer was cut off at {OUTPUT_LIMIT:,} characters.")

    # ------------------------------------------------------------ ending

    async def _stop_when_asked(self) -> None:
        """Return when a stop was asked for and has had its time to take effect."""
        await self._stop.wait()
        self.prediction.cancel_requested_at = self.prediction.cancel_requested_at or clock.now()
        await self._asked.wait()
        for _ in range(CANCELS):
            await self._cancel_at_provider()
            await asyncio.sleep(STOP_PATIENCE / CANCELS)

    async def _cancel_at_provider(self) -> None:
        for pause in CANCEL_PAUSES:
            try:
                await self._provider.cancel(self.prediction)
            except ProviderError as error:
                logger.warning("Prediction %s could not be cancelled: %s", self.prediction.pk, error)
                await asyncio.sleep(pause)
            else:
                return

    async def _give_up(self, reason: str) -> None:
        if self._asked.is_set():
            await self._journal.assure(self.prediction)  # or it is another worker's, and must go on
            await self._cancel_at_provider()
        self._apply(Failed(reason))

    def _time_left(self) -> float:
        now = clock.now()
        end = (self.prediction.asked_at or now) + LONGEST_LIFE
        return (max(end - now, timedelta()) + LAST_LOOKS).total_seconds()


def _hinted_id(prediction: Prediction) -> str:
    return Prediction.objects.values_list("hinted_id", flat=True).get(pk=prediction.pk)


NEVER_HEARD = (
    "The provider was asked, but its answer got lost on the way, and what came of it cannot be found. It was not "
    "asked again, so that nobody pays twice. Try again if you still want an answer."
)


async def cancel_once(task: asyncio.Task[Any]) -> None:
    """Cancel `task`, once, and return when it has ended, even if the caller is cancelled meanwhile."""
    task.cancel()
    interrupted = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interrupted = error
    with suppress(asyncio.CancelledError, Exception):
        task.result()
    if interrupted is not None:
        raise interrupted
