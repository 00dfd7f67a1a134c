"""What is tidied up while answers are written: leftovers go, what was missed is made, and nothing else changes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone

from chat.housekeeping import store_missing_html
from chat.models import Conversation, Message, User
from predictions import files, housekeeping, providers
from predictions.models import Model, OutputChunk, Prediction, Provider, WebhookDelivery, Worker
from predictions.signals import ends_missed
from tests.conftest import make_model
from tests.fake_replicate import Answer, FakeReplicate
from tests.waiting import WAIT_LIMIT, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = timedelta(days=1)


@pytest.fixture(autouse=True)
def chat_listens() -> None:
    ends_missed.connect(store_missing_html)


@pytest.fixture
def asked(db: None) -> Model:
    """A model that is asked now and then; nobody answers."""
    provider = Provider.objects.create(slug="replicate", name="Replicate", kind=Provider.Kind.REPLICATE)
    return make_model(provider, "meta/llama")


def sweep() -> None:
    asyncio.run(housekeeping.sweep())


@contextmanager
def keeping_house() -> Iterator[threading.Thread]:
    """Keep house in a loop of its own, as a worker does."""
    loop = asyncio.new_event_loop()
    connected: list[providers.Provider] = []
    stop = asyncio.Event()

    def connect(row: Provider) -> providers.Provider:
        connected.append(providers.connect(row))
        return connected[-1]

    async def keep() -> None:
        keeping = asyncio.create_task(housekeeping.keep_house(connect))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({keeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        keeping.cancel()
        await asyncio.wait({keeping})
        for provider in connected:
            await provider.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(keep())

    thread = threading.Thread(target=run, name="house")
    thread.start()
    try:
        yield thread
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT_LIMIT)
        assert not thread.is_alive()


# ---------------------------------------------------------------- what goes


def test_what_is_old_goes_and_what_is_new_stays(asked: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    now = timezone.now()
    prediction = Prediction.objects.create(model=asked, input={})
    for number in range(5):
        for name, age in (("old", 2 * DAYS), ("new", DAYS / 2)):
            Worker.objects.create(name=f"{name} {number}", seen_at=now - age)
            WebhookDelivery.objects.create(delivery_id=f"{name} {number}", prediction=prediction, received_at=now - age)
        Session.objects.create(session_key=f"ended{number}", session_data="", expire_date=now - DAYS / 24)
        Session.objects.create(session_key=f"good{number}", session_data="", expire_date=now + DAYS)
    sweep()

    assert {name[:3] for name in Worker.objects.values_list("name", flat=True)} == {"new"}
    assert {name[:3] for name in WebhookDelivery.objects.values_list("delivery_id", flat=True)} == {"new"}
    assert {key[:4] for key in Session.objects.values_list("session_key", flat=True)} == {"good"}
    assert (Worker.objects.count(), WebhookDelivery.objects.count(), Session.objects.count()) == (5, 5, 5)


def test_a_worker_that_wakes_after_days_does_not_forget_itself() -> None:
    slept = timezone.now() - 2 * DAYS
    Worker.objects.create(name=Worker.own_name(), seen_at=slept)  # another one, before it, of the same name
    awake = Worker.objects.create(name=Worker.own_name(), seen_at=slept)
    sweep()

    assert list(Worker.objects.all()) == [awake]


def test_a_sweep_deletes_so_much_and_leaves_the_rest_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    monkeypatch.setattr(housekeeping, "BATCHES", 2)
    for number in range(5):
        Worker.objects.create(name=str(number), seen_at=timezone.now() - 2 * DAYS)
    sweep()
    assert Worker.objects.count() == 1

    sweep()
    assert Worker.objects.count() == 0


def test_a_prediction_outlives_the_row_of_its_worker(asked: Model) -> None:
    worker = Worker.objects.create(name="dead", seen_at=timezone.now() - 2 * DAYS)
    prediction = Prediction.objects.create(model=asked, input={}, asked_at=timezone.now(), worker=worker)
    sweep()

    prediction.refresh_from_db()
    assert (prediction.worker, prediction.status) == (None, "starting")


# ---------------------------------------------------------------- what was left behind


def test_chunks_that_an_end_left_behind_become_its_text(asked: Model) -> None:
    ended = Prediction.objects.create(model=asked, input={}, status="failed", completed_at=timezone.now())
    settled = Prediction.objects.create(
        model=asked, input={}, status="succeeded", output="The final word.", output_end=15
    )
    running = Prediction.objects.create(model=asked, input={}, status="processing", asked_at=timezone.now())
    for prediction in (ended, settled, running):
        write(prediction, "Half an ", "answer 🙂 that was seen.")
    sweep()

    ended.refresh_from_db()
    settled.refresh_from_db()
    assert (ended.output, ended.output_end) == ("Half an answer 🙂 that was seen.", 31)
    assert settled.output == "The final word."
    assert set(OutputChunk.objects.values_list("prediction", flat=True)) == {running.pk}


def test_many_workers_sweep_at_once(asked: Model, alice: User) -> None:
    for number in range(3):
        Worker.objects.create(name=str(number), seen_at=timezone.now() - 2 * DAYS)
        ended = Prediction.objects.create(model=asked, input={}, status="failed", completed_at=timezone.now())
        write(ended, "Half ", "an answer.")
    answers = [finished_answer(alice, asked, ordinal) for ordinal in range(1, 4)]

    async def together() -> None:
        await asyncio.gather(*(housekeeping.sweep() for _ in range(4)))

    asyncio.run(together())
    assert Worker.objects.count() == OutputChunk.objects.count() == 0
    assert set(Prediction.objects.filter(status="failed").values_list("output", flat=True)) == {"Half an answer."}
    assert all("<strong>" in html for html in html_of(*answers))


# ---------------------------------------------------------------- what was missed


def test_an_answer_whose_process_was_killed_at_its_end_is_stored_as_html(asked: Model, alice: User) -> None:
    missed = finished_answer(alice, asked, 1)
    stored = finished_answer(alice, asked, 2, html="<p>as it was</p>")
    silent = finished_answer(alice, asked, 3, output="")
    running = finished_answer(alice, asked, 4, status="processing")
    sweep()

    html, *others = html_of(missed, stored, silent, running)
    assert "<strong>bold</strong>" in html
    assert others == ["<p>as it was</p>", "", ""]


def test_a_listener_that_fails_does_not_keep_the_rest_from_being_tidied_up() -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("this listener is broken")

    Worker.objects.create(name="old", seen_at=timezone.now() - 2 * DAYS)
    ends_missed.connect(fail)
    try:
        sweep()
    finally:
        ends_missed.disconnect(fail)

    assert Worker.objects.count() == 0


# ---------------------------------------------------------------- for ever


def test_house_is_kept_as_long_as_a_worker_runs(
    model: Model, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is copied at a retry and old rows go, though the database is away at first and something is broken."""
    monkeypatch.setattr(housekeeping, "LOOK_AGAIN", 0.01)
    monkeypatch.setattr(files, "PAUSES", (0.01, 0.01, 0.01))
    errors: list[Exception] = [OperationalError("away"), RuntimeError("a bug"), OperationalError("away")]
    really = files.retry

    async def fail_at_first(connect: Any) -> None:
        if errors:
            raise errors.pop()
        await really(connect)

    monkeypatch.setattr(files, "retry", fail_at_first)
    Worker.objects.create(name="old", seen_at=timezone.now() - 2 * DAYS)
    prediction = Prediction.objects.create(model=model, input={}, status="succeeded", file_count=1)
    file = prediction.files.create(role="output", position=0, name="a.png", error=files.NOT_REACHED)
    file.expect(fake.output_file(b"\x89PNG\r\n\x1a\n a picture"), at=timezone.now() - timedelta(minutes=1))
    file.save()
    fake.fail("output", Answer(503, "busy"))

    def arrived() -> bool:
        file.refresh_from_db()
        return bool(file.content)

    with keeping_house() as house:
        wait_until(arrived)
        wait_until(lambda: not Worker.objects.exists())
        assert house.is_alive()
    assert (file.error, file.provider_url) == ("", "")


def write(prediction: Prediction, *texts: str) -> None:
    offset = 0
    for text in texts:
        OutputChunk.objects.create(prediction=prediction, offset=offset, text=text)
        offset += len(text)


def finished_answer(
    owner: User,
    model: Model,
    ordinal: int,
    *,
    output: str = "It is **bold**.",
    status: str = "succeeded",
    html: str = "",
) -> Message:
    conversation, _ = Conversation.objects.get_or_create(owner=owner, title="A talk")
    prediction = Prediction.objects.create(user=owner, model=model, input={}, status=status, output=output)
    return conversation.messages.create(ordinal=ordinal, role=Message.Role.ASSISTANT, prediction=prediction, html=html)


def html_of(*answers: Message) -> list[str]:
    return [Message.objects.get(pk=answer.pk).html for answer in answers]
