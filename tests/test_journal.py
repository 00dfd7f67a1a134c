"""The journal: what is in the database, and when it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from predictions import journal as journal_module
from predictions.bus import bus
from predictions.database import query
from predictions.events import SUCCEEDED, Completed, Event, Output, Restarted, Started
from predictions.follow import read_frame, stored_text
from predictions.journal import Journal
from predictions.models import Model, OutputChunk, Prediction, Worker

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def claimed(model: Model) -> tuple[Worker, Prediction]:
    worker = Worker.objects.create(name="one")
    Prediction.objects.create(model=model, input={"prompt": "Hi"})
    [prediction] = Prediction.objects.claim(worker, limit=1)
    prediction.resume("")
    return worker, prediction


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Journal]:
    journal = Journal(worker)
    task = asyncio.create_task(journal.run())
    try:
        yield journal
    finally:
        journal.close()
        await task


def hear(prediction: Prediction, *events: Event) -> Prediction:
    for event in events:
        prediction.apply(event, at=NOW)
    return prediction


async def test_text_is_kept_as_chunks_and_folded_at_the_end(model: Model) -> None:
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.commit(hear(prediction, Started(), Output("Par", 0)))
        await journal.commit(hear(prediction, Output("is", 3)))
        assert await query(lambda: list(OutputChunk.objects.values_list("offset", "text"))) == [(0, "Par"), (3, "is")]
        await journal.commit(hear(prediction, Completed(SUCCEEDED, output="Paris!")))

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert (row.status, row.output, row.output_end) == (SUCCEEDED, "Paris!", 6)
    assert (row.worker_id, row.leased_until) == (None, None)
    assert await query(OutputChunk.objects.count) == 0


async def test_what_is_told_is_in_the_database(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, prediction = await query(claimed, model)
    seen = []
    with bus.subscribe(f"prediction:{prediction.pk}") as subscription:
        async with running(worker) as journal:
            journal.hold(prediction)
            for offset, text in enumerate("Paris"):
                journal.note(hear(prediction, Output(text, offset)))
                for _, hint in await subscription.wait(5) or []:
                    stored = await query(stored_text, prediction.pk)
                    seen.append((hint["end"], stored[hint["offset"] : hint["end"]] == hint["text"]))

    assert seen == [(1, True), (2, True), (3, True), (4, True), (5, True)]


async def test_a_replaced_text_leaves_nothing_of_the_old_one(model: Model) -> None:
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.commit(hear(prediction, Output("London", 0)))
        await journal.commit(hear(prediction, Restarted(), Output("Paris", 0)))
        assert await query(stored_text, prediction.pk) == "Paris"
        frame = await query(read_frame, prediction.pk, edition=0, after=6)
        assert (frame.edition, frame.offset, frame.text) == (1, 0, "Paris")
        await journal.commit(hear(prediction, Completed(SUCCEEDED, output="Lutetia")))

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert (row.output, row.edition) == ("Lutetia", 2)


async def test_a_worker_that_lost_its_lease_writes_nothing(model: Model) -> None:
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.commit(hear(prediction, Output("Par", 0)))
        other = await query(Worker.objects.create, name="two")
        await query(
            Prediction.objects.filter(pk=prediction.pk).update, leased_until=timezone.now() - timedelta(seconds=1)
        )
        assert len(await query(Prediction.objects.claim, other, limit=5)) == 1

        await journal.commit(hear(prediction, Output("adise", 3), Completed(SUCCEEDED, output="Paradise")))
        lost = await asyncio.wait_for(journal.lost.get(), 5)

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert lost == prediction.pk
    assert (row.status, row.worker_id) == ("processing", other.pk)
    assert await query(stored_text, prediction.pk) == "Par"


async def test_leases_are_renewed_while_nothing_happens(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RENEWAL", 0.02)
    worker, prediction = await query(claimed, model)
    before = prediction.leased_until
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.committed()
        async with asyncio.timeout(5):
            while (await query(Prediction.objects.get, pk=prediction.pk)).leased_until <= before:
                await asyncio.sleep(0.01)


async def test_nothing_is_lost_while_the_database_is_away(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, prediction = await query(claimed, model)
    failures = iter([DatabaseError("away")] * 3)
    real = journal_module.write_batch

    def unreliable(*args: Any) -> Any:
        if error := next(failures, None):
            raise error
        return real(*args)

    monkeypatch.setattr(journal_module, "RETRY_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(journal_module, "write_batch", unreliable)
    async with running(worker) as journal:
        journal.hold(prediction)
        journal.note(hear(prediction, Output("Par", 0)))
        await journal.commit(hear(prediction, Output("is", 3)))

    assert await query(stored_text, prediction.pk) == "Paris"


async def test_what_cannot_be_stored_fails_alone(model: Model) -> None:
    worker = await query(Worker.objects.create, name="one")
    await query(Prediction.objects.bulk_create, [Prediction(model=model, input={}) for _ in range(3)])
    good, bad, also_good = await query(Prediction.objects.claim, worker, limit=3)
    await query(OutputChunk.objects.create, prediction=bad, offset=0, text="already there")
    async with running(worker) as journal:
        for prediction in (good, bad, also_good):
            prediction.resume("")
            journal.hold(prediction)
            journal.note(hear(prediction, Output("Paris", 0)))
        await journal.committed()
        assert await asyncio.wait_for(journal.lost.get(), 5) == bad.pk

    rows = {row.pk: row for row in await query(list, Prediction.objects.all())}
    assert [rows[p.pk].status for p in (good, bad, also_good)] == ["processing", "failed", "processing"]
    assert "cannot be stored" in rows[bad.pk].error
    assert await query(stored_text, also_good.pk) == "Paris"


async def test_who_writes_too_fast_waits_for_the_database(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "BACKLOG", 10)
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.write(hear(prediction, Output("x" * 11, 0)))

        assert prediction.transcript.unwritten_length == 0
        assert await query(stored_text, prediction.pk) == "x" * 11


async def test_many_streams_share_one_commit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await query(Worker.objects.create, name="one")
    rows = [Prediction(model=model, input={}) for _ in range(20)]
    await query(Prediction.objects.bulk_create, rows)
    predictions = await query(Prediction.objects.claim, worker, limit=20)
    batches = []
    real = journal_module.write_batch
    monkeypatch.setattr(journal_module, "write_batch", lambda *args: batches.append(len(args[2])) or real(*args))
    async with running(worker) as journal:
        for prediction in predictions:
            prediction.resume("")
            journal.hold(prediction)
            journal.note(hear(prediction, Output("a", 0)))
        await journal.committed()

    assert batches[0] == 20
