"""The worker: claims predictions and runs hundreds of them in one event loop.

Rows are the queue. The worker may be killed at any moment: its leases run out, and another one goes on.
"""

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from django.db import Error
from structlog.contextvars import bind_contextvars

from predictions import catalogue, clock, housekeeping, metrics, providers, watchdog
from predictions.bus import Message, bus
from predictions.database import AWAY, insist, query
from predictions.events import Failed
from predictions.follow import stored_text
from predictions.journal import Journal, LeaseLost
from predictions.models import Prediction
from predictions.models import Provider as ProviderRow
from predictions.models import Worker as WorkerRow
from predictions.runner import Runner, cancel_once

logger = logging.getLogger(__name__)

CAPACITY = 500  # predictions at once in one worker
LOOK_AGAIN = 1.0  # seconds between looks at the queue when no bell rings
RELEASE_GRACE = 3.0  # seconds for handing leases back
ANSWER_GRACE = 5.0  # seconds that creates on their way have to be answered before a worker ends


class Worker:
    """Runs predictions until `stop`."""

    def __init__(self) -> None:
        self.is_running = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runs: dict[UUID, tuple[Runner, asyncio.Task[None]]] = {}
        self._providers: dict[int, tuple[ProviderRow, providers.Provider]] = {}

    async def run(self) -> None:
        """Claim and run; after `stop`, hand back what is not finished, and return."""
        watchdog.watch(asyncio.get_running_loop())
        self._row = await insist(_register)
        bind_contextvars(worker=self._row.name)
        self._journal = Journal(self._row)
        parts: dict[asyncio.Task[None], str] = {
            asyncio.create_task(self._journal.run()): "the journal",
            asyncio.create_task(self._claim_for_ever()): "the claims",
            asyncio.create_task(self._drop_lost()): "the leases",
            asyncio.create_task(catalogue.keep_fresh(self._connect)): "the catalogue",
            asyncio.create_task(catalogue.keep_secrets(self._connect)): "the webhook secrets",
            asyncio.create_task(housekeeping.keep_house(self._connect)): "the housekeeping",
        }
        journal, *others = parts
        stopped = asyncio.create_task(self._wait_for_stop())
        self.is_running.set()
        try:
            done, _ = await asyncio.wait({stopped, *parts}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopped, *others):
                await cancel_once(task)
            await self._hand_back()
            self._journal.close()
            await asyncio.wait({journal})
            for _, provider in self._providers.values():
                await provider.close()
            with suppress(*AWAY):  # it is forgotten all the same, later
                await query(WorkerRow.objects.filter(pk=self._row.pk).delete)
        for task in done & parts.keys():
            logger.error("The worker ends, because %s did.", parts[task])
            task.result()

    def stop(self) -> None:
        """Have `run` return soon; to be called in its event loop."""
        self._stopping.set()

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    # ------------------------------------------------------------ the queue

    async def _claim_for_ever(self) -> None:
        with bus.subscribe("work") as bell:
            while True:
                try:
                    await self._look_for_work()
                except Error as error:
                    logger.warning("The queue cannot be read: %s", error)
                for _, message in await bell.wait(LOOK_AGAIN) or []:
                    self._pass_on(message)

    async def _look_for_work(self) -> None:
        running = list(self._runs)
        room = CAPACITY - len(running)
        claimed = await query(Prediction.objects.claim, self._row, limit=room, besides=running)
        self._share(claimed)
        for prediction in claimed:
            self._start(prediction)
        for key in await query(_stop_requests, running):
            self._pass_on({"cancel": str(key)})

    def _share(self, claimed: list[Prediction]) -> None:
        """Have predictions of the same version share it: its schema is larger than all else that is kept of them."""
        shared = {run[0].prediction.version_id: run[0].prediction.version for run in self._runs.values()}
        for prediction in claimed:
            known = shared.setdefault(prediction.version_id, prediction.version)
            if known and prediction.version and known.openapi_schema == prediction.version.openapi_schema:
                prediction.version = known

    def _pass_on(self, message: Message) -> None:
        """Tell the run that a message of the bus is about: `cancel` or `look`."""
        for what, tell in (("cancel", Runner.request_stop), ("look", Runner.request_look)):
            run = self._runs.get(UUID(message[what])) if message.get(what) else None
            if run is not None:
                tell(run[0])

    def _start(self, prediction: Prediction) -> None:
        prediction.resume("")
        runner = Runner(prediction, self._connect(prediction.model.provider), self._journal)
        self._journal.hold(prediction)
        metrics.RUNNING.inc()
        if prediction.asked_at is not None:
            metrics.TAKEOVERS.inc()
        task = asyncio.create_task(self._run(runner))
        self._runs[prediction.pk] = (runner, task)

    async def _run(self, runner: Runner) -> None:
        prediction = runner.prediction
        bind_contextvars(prediction=str(prediction.pk))
        try:
            if prediction.asked_at is not None:
                prediction.resume(await query(stored_text, prediction.pk))
            await runner.run()
        except LeaseLost:
            logger.warning("Prediction %s is another worker's by now.", prediction.pk)
        except AWAY as error:
            logger.warning("Prediction %s is let go until the database is back: %s", prediction.pk, error)
            with suppress(LeaseLost):
                await self._journal.release(prediction)
        except Exception:
            logger.exception("The run of prediction %s broke.", prediction.pk)
            prediction.apply(Failed("Something went wrong in Parley itself; its log says more."), at=clock.now())
            self._journal.note(prediction)
        finally:
            del self._runs[prediction.pk]
            metrics.RUNNING.dec()
            self._journal.let_go(prediction)
            if self._queue_may_move(prediction):
                bus.publish(("work", {}))

    @staticmethod
    def _queue_may_move(prediction: Prediction) -> bool:
        return prediction.is_terminal and prediction.model.provider.concurrency is not None

    # ------------------------------------------------------------ the ends

    async def _drop_lost(self) -> None:
        while True:
            run = self._runs.get(await self._journal.lost.get())
            if run is not None:
                logger.warning("Prediction %s is given up here.", run[0].prediction.pk)
                await cancel_once(run[1])

    async def _hand_back(self) -> None:
        runs = list(self._runs.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_GRACE):
                await asyncio.gather(*(runner.wait_for_answer() for runner, _ in runs))
        await asyncio.gather(*(cancel_once(task) for _, task in runs))
        if self._journal.has_ended:
            return  # the leases run out by themselves
        unfinished = [runner.prediction for runner, _ in runs if not runner.prediction.is_terminal]
        releases = (self._journal.release(prediction) for prediction in unfinished)
        with suppress(TimeoutError):  # the database is away: the leases run out by themselves
            async with asyncio.timeout(RELEASE_GRACE):
                await asyncio.gather(*releases, return_exceptions=True)  # some may be another worker's already
        if unfinished:
            bus.publish(("work", {}))

    def _connect(self, row: ProviderRow) -> providers.Provider:
        known = self._providers.get(row.pk)
        if known is None or known[0].way_in != row.way_in:
            # A provider whose address or token was changed is closed at the end: runs may still be using it.
            known = self._providers[row.pk] = (row, providers.connect(row))
        return known[1]


def _register() -> WorkerRow:
    return WorkerRow.objects.create(name=WorkerRow.own_name())


def _stop_requests(running: list[UUID]) -> list[UUID]:
    asked = Prediction.objects.active().filter(pk__in=running).exclude(cancel_requested_at=None)
    return list(asked.values_list("pk", flat=True))
