"""The journal: what is in the database, and when it is told."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError
from django.utils import timezone

from predictions import batch, clock
from predictions import journal as journal_module
from predictions.bus import bus
from predictions.database import query
from predictions.events import SUCCEEDED, Completed, Event, Output, Restarted, Started
from predictions.follow import read_frame, stored_text
from predictions.journal import Journal, LeaseLost
from predictions.models import Model, OutputChunk, Prediction, Worker
from predictions.signals import prediction_ended

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

        with pytest.raises(LeaseLost):
            await journal.commit(hear(prediction, Output("adise", 3), Completed(SUCCEEDED, output="Paradise")))
        with pytest.raises(LeaseLost):
            await journal.assure(prediction)
        lost = await asyncio.wait_for(journal.lost.get(), 5)

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert lost == prediction.pk
    assert (row.status, row.worker_id) == ("processing", other.pk)
    assert await query(stored_text, prediction.pk) == "Par"


async def test_what_a_former_run_heard_is_not_written_when_its_row_is_claimed_anew(model: Model) -> None:
    worker, former = await query(claimed, model)
    mine = Prediction.objects.filter(pk=former.pk)
    async with running(worker) as journal:
        journal.hold(former)
        await journal.commit(hear(former, Output("Par", 0)))
        other = await query(Worker.objects.create, name="two")
        await query(mine.update, worker=other)
        with pytest.raises(LeaseLost):
            await journal.commit(hear(former, Output("is", 3)))
        journal.note(hear(former, Output("!", 5)))
        await query(mine.update, worker=worker, leased_until=timezone.now() + timedelta(seconds=15))
        anew = await query(mine.get)
        anew.resume("Par")
        journal.hold(anew)
        await journal.committed()

    assert await query(stored_text, former.pk) == "Par"


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
    monkeypatch.setattr(
        journal_module, "write_batch", lambda *args: batches.append(len(args[2].changes)) or real(*args)
    )
    async with running(worker) as journal:
        for prediction in predictions:
            prediction.resume("")
            journal.hold(prediction)
            journal.note(hear(prediction, Output("a", 0)))
        await journal.committed()

    assert batches[0] == 20


async def test_who_was_stopped_for_a_while_asks_the_database_before_the_host(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        await journal.commit(hear(prediction, Output("Par", 0)))
        await query(Prediction.objects.filter(pk=prediction.pk).update, worker=await query(Worker.objects.create))
        await journal.assure(prediction)  # a moment ago it was ours

        later = clock.steady() + 60
        monkeypatch.setattr(clock, "steady", lambda: later)
        with pytest.raises(LeaseLost):
            await journal.assure(prediction)


async def test_a_long_answer_is_kept_in_few_pieces_while_it_grows(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FOLDED", 4)
    words = [f"word{n} " for n in range(22)]
    text = "".join(words)
    worker, prediction = await query(claimed, model)
    async with running(worker) as journal:
        journal.hold(prediction)
        offset = 0
        for word in words:
            await journal.commit(hear(prediction, Output(word, offset)))
            offset += len(word)
            frames = [await query(read_frame, prediction.pk, edition=0, after=after) for after in (0, offset // 2)]
            assert [frame.text for frame in frames] == [text[:offset], text[offset // 2 : offset]]
        assert await query(OutputChunk.objects.count) == 5 + 2
        await journal.commit(hear(prediction, Restarted(), Output("Anew: ", 0)))
        for n in range(4):
            await journal.commit(hear(prediction, Output(str(n), 6 + n)))
        assert await query(stored_text, prediction.pk) == "Anew: 0123"
        await journal.commit(hear(prediction, Completed(SUCCEEDED, output="Anew: 0123!")))

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert (row.output, row.edition) == ("Anew: 0123!", 1)


@pytest.mark.parametrize("cut_at", range(6))
async def test_a_commit_whose_answer_got_lost_is_written_once(
    cut_at: int, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is restarted after it has written, and before the worker knows."""
    monkeypatch.setattr(journal_module, "RETRY_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(journal_module, "FOLDED", 2)
    real, calls = journal_module.write_batch, itertools.count()

    def written_in_vain(*args: Any) -> Any:
        result = real(*args)
        if next(calls) == cut_at:
            raise OperationalError("server closed the connection unexpectedly")
        return result

    worker, prediction = await query(claimed, model)
    ended: list[Any] = []
    monkeypatch.setattr(journal_module, "write_batch", written_in_vain)
    monkeypatch.setattr(prediction_ended, "send_robust", lambda **told: ended.append(told["prediction_id"]))
    async with running(worker) as journal:
        journal.hold(prediction)
        for offset, letter in enumerate("Paris"):
            await journal.commit(hear(prediction, Output(letter, offset)))
        await journal.commit(hear(prediction, Completed(SUCCEEDED, output="Paris")))

    row = await query(Prediction.objects.get, pk=prediction.pk)
    assert (row.status, row.output, row.edition) == (SUCCEEDED, "Paris", 0)
    assert ended == [prediction.pk]


async def test_what_was_written_alone_is_not_written_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_PAUSES", (0.01, 0.02))
    worker = await query(Worker.objects.create, name="one")
    await query(Prediction.objects.bulk_create, [Prediction(model=model, input={}) for _ in range(3)])
    predictions = await query(Prediction.objects.claim, worker, limit=3)
    await query(OutputChunk.objects.create, prediction=predictions[0], offset=0, text="already there")
    real, calls = batch._write, itertools.count()

    def unreliable(*args: Any, **options: Any) -> Any:
        if (call := next(calls)) == 4:  # all together, the first, its failure, the second
            raise OperationalError("away")
        result = real(*args, **options)
        if call == 3:
            raise OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(batch, "_write", unreliable)
    async with running(worker) as journal:
        for prediction in predictions:
            prediction.resume("")
            journal.hold(prediction)
            journal.note(hear(prediction, Output("Paris", 0)))
        await journal.committed()

    rows = {row.pk: row for row in await query(list, Prediction.objects.all())}
    assert [rows[p.pk].status for p in predictions] == ["failed", "processing", "processing"]
    assert [await query(stored_text, p.pk) for p in predictions[1:]] == ["Paris", "Paris"]
