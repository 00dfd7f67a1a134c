"""Predictions at Replicate from row to end, through a real worker: whatever the host does, the right end, once."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from chat.models import User
from predictions import clock
from predictions import runner as runner_module
from predictions.bus import bus
from predictions.events import Snapshot
from predictions.follow import Frame, follow, stored_text
from predictions.models import Model, Prediction, Worker
from predictions.models.catalogue import PATIENCE
from predictions.models.prediction import LEASE
from predictions.providers.pool import PooledTransport
from predictions.providers.replicate import ReplicateProvider
from predictions.providers.replicate import provider as replicate_module
from tests.conftest import WorkerThread, ended, make_model, move
from tests.fake_replicate import (
    BAD_GATEWAY,
    NOT_FOUND,
    Answer,
    Cut,
    Disconnect,
    FakeReplicate,
    Gate,
    Late,
    Script,
    recorded_errors,
)
from tests.waiting import WAIT_LIMIT, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]

HELLO = "Hello, world."


def ask(model: Model, user: User | None = None) -> Prediction:
    prediction = Prediction.objects.create(
        model=model, version=model.versions.first(), user=user, input={"prompt": "Hi"}
    )
    bus.publish(("work", {}))
    return prediction


def row(prediction: Prediction) -> Prediction:
    return Prediction.objects.get(pk=prediction.pk)


async def read_along(prediction: Prediction) -> list[Frame]:
    return [frame async for frame in follow(prediction.pk)]


def create_at(fake: FakeReplicate, model: Model) -> Any:
    """Ask the host behind Parley's back; return its answer."""
    address = f"{fake.url}/models/{model.ref}/predictions"
    headers = {"Authorization": f"Bearer {fake.token}"}
    return httpx.post(address, headers=headers, json={"input": {"prompt": "Hi"}}, trust_env=False).json()


def collect(prediction: Prediction) -> list[Frame]:
    return asyncio.run(asyncio.wait_for(read_along(prediction), 20))


# ---------------------------------------------------------------- the way it should be


def test_an_answer_streams_and_is_kept(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."], metrics={"input_token_count": 3}))
    prediction = ask(model)

    gate.wait_reached()
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")
    assert row(prediction).phase == "running"
    gate.open()
    ended(prediction)

    assert (prediction.status, prediction.output, prediction.edition) == ("succeeded", HELLO, 0)
    assert prediction.metrics["input_token_count"] == 3
    assert prediction.answered_version == "hidden"
    assert prediction.first_output_at < prediction.completed_at
    [created] = fake.ledger.created
    assert created.headers["cancel-after"] == "30m"
    assert not fake.ledger.running()


def test_readers_get_every_character_once(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(steps=[piece for n in range(60) for piece in (f"word{n} 👩‍🚀\n", 0.005)]))
    prediction = ask(model)

    frames = collect(prediction)

    text = ""
    for frame in frames:
        assert frame.offset == len(text)
        text += frame.text
        assert frame.end == len(text)
    assert text == ended(prediction).output == "".join(f"word{n} 👩‍🚀\n" for n in range(60))
    assert len(frames) > 3
    assert frames[-1].phase == "succeeded"


def test_a_community_model_is_asked_by_version(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    ref, known = next((ref, m) for ref, m in fake.catalogue.models.items() if not m.is_official and m.versions)
    community = make_model(model.provider, ref)
    community.versions.update(identifier=known.versions[0].id)
    prediction = ask(community)

    assert ended(prediction).status == "succeeded"
    [created] = fake.ledger.created
    assert created.body["version"] == known.versions[0].id


def test_a_model_without_stream_is_polled(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."], stream=False))
    prediction = ask(model)

    gate.wait_reached()
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")
    gate.open()

    assert ended(prediction).output == HELLO


# ---------------------------------------------------------------- what goes wrong at the host


def test_broken_stream_is_finished_by_polling(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", Disconnect("reset"), gate, " world."], on_stream=[None, *[NOT_FOUND] * 9]))
    prediction = ask(model)

    wait_until(lambda: len(fake.ledger.to("get")) > 1)
    gate.open()

    assert (ended(prediction).output, prediction.edition) == (HELLO, 0)
    assert len(fake.ledger.created) == 1


def opens(fake: FakeReplicate) -> list[str | None]:
    """With which `Last-Event-ID` the stream of the one prediction was opened, each time."""
    [created] = fake.ledger.created
    return [stream.last_event_id for stream in created.streams]


@pytest.mark.parametrize("shift", range(-6, 4))
def test_a_stream_that_broke_off_is_resumed_whatever_the_host_repeats_or_skips(
    shift: int, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    words = [f"w{n} " for n in range(12)]
    fake.script(Script(steps=[*words[:5], Disconnect("close"), gate, *words[5:]], resume_shift=shift))
    prediction = ask(model)
    wait_until(lambda: len(opens(fake)) == 2 if fake.ledger.created else False)
    gate.open()
    ended(prediction)

    assert (prediction.status, prediction.output) == ("succeeded", "".join(words))
    assert prediction.edition <= (1 if shift > 0 else 0)
    [created] = fake.ledger.created
    if shift <= 0:
        assert len(created.streams) == 2
        # One after the break, one at the end, and one where only the prediction can tell that nothing was left out.
        assert created.gets == 2 + (shift == 0)


def test_what_a_resumed_stream_leaves_out_is_not_missing_when_a_person_stops(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, end = Gate(), Gate()
    words = [f"w{n} " for n in range(12)]
    steps = [*words[:5], Disconnect("close"), gate, *words[5:9], end, *words[9:]]
    fake.script(Script(steps=steps, resume_shift=2, ignores_cancel=True))
    real = ReplicateProvider.poll

    async def poll(provider: ReplicateProvider, prediction: Prediction) -> Snapshot:
        snapshot = await real(provider, prediction)
        gate.open()
        await asyncio.sleep(0.2)  # the model writes on before the stream is opened again
        return snapshot

    monkeypatch.setattr(ReplicateProvider, "poll", poll)
    prediction = ask(model)
    wait_until(lambda: len(stored_text(prediction.pk)) > len("".join(words[:5])))
    row(prediction).request_cancel()

    assert ended(prediction).status == "canceled"
    assert "".join(words).startswith(prediction.output)
    end.open()


def test_a_resumed_stream_says_where_it_was(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["one ", "two ", Disconnect("close"), gate, "three ", "four"]))
    prediction = ask(model)
    wait_until(lambda: len(opens(fake)) == 2 if fake.ledger.created else False)
    gate.open()

    assert (ended(prediction).output, prediction.edition) == ("one two three four", 0)
    first, second = opens(fake)
    assert first is None
    assert second


def test_a_stream_that_brings_nothing_new_is_left_for_the_poll(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=["one ", gate, "two"], on_stream=[Cut(0)] * 30))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "one ")
    gate.open()

    assert ended(prediction).output == "one two"
    assert len(opens(fake)) <= 1


def test_a_model_that_boots_for_long_is_waited_for(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host ends the silent stream again and again meanwhile, with its comment `:408: 408 Request Timeout`."""
    monkeypatch.setattr(replicate_module, "SILENCE", 0.05)
    fake.stream_idle_limit = 0.1
    boot = Gate()
    fake.script(Script(boot=boot))
    prediction = ask(model)
    wait_until(lambda: len(fake.ledger.to("stream")) > 3)
    assert row(prediction).phase == "starting"
    boot.open()

    assert (ended(prediction).output, prediction.edition) == (HELLO, 0)
    assert fake.ledger.created[0].gets < 3 * len(fake.ledger.to("stream"))


def test_a_very_quick_answer_that_get_does_not_know_yet(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_get=[NOT_FOUND] * 3))

    assert (ended(ask(model)).status, len(fake.ledger.created)) == ("succeeded", 1)


@pytest.mark.parametrize("size", range(0, 330, 11))
def test_a_stream_cut_anywhere_ends_with_the_exact_text(
    size: int, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(chunks=["Grüße ", "👩‍🚀\n", "\n", " von", " hier."], on_stream=[Cut(size, "reset")]))

    assert ended(ask(model)).output == "Grüße 👩‍🚀\n\n von hier."


@pytest.mark.parametrize(
    "fault",
    [
        NOT_FOUND,
        BAD_GATEWAY,
        Answer(200, "<html>hello</html>", "text/html"),
        Answer(302, headers={"location": "http://127.0.0.1:1/"}),
        Answer(200, b"\xff\xfe\x00garbage" * 50, "text/event-stream"),
        Answer(200, b"x" * 1_100_000, "text/event-stream"),
        Answer(200, "event: output\ndata: Hel\n\nevent: strange\ndata: {\n\n", "text/event-stream"),
        Cut(None, "reset"),
    ],
    ids=["404", "502", "html", "redirect", "garbage", "endless line", "unknown event and no end", "reset"],
)
def test_whatever_the_stream_host_does_the_answer_is_polled(
    fault: Any, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(chunks=["Hello,", " world."], on_stream=[fault] * 3))

    assert (ended(ask(model)).output, len(fake.ledger.created)) == (HELLO, 1)


def test_a_stream_on_a_foreign_host_is_not_opened(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    with FakeReplicate() as elsewhere:
        fake.script(Script(stream=elsewhere.url + "/streams/x"))

        assert ended(ask(model)).output == HELLO
        assert elsewhere.ledger.calls == []


def test_text_that_differs_in_the_end_is_replaced_once(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(chunks=["Hallo"], output=["Hello"]))
    prediction = ended(ask(model))

    assert (prediction.output, prediction.edition) == ("Hello", 1)


def test_a_failure_keeps_text_and_reason(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(chunks=["Hello"], status="failed", error="CUDA out of memory"))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output, prediction.error) == ("failed", "Hello", "CUDA out of memory")


def test_aborted_is_an_end(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(status="aborted"))

    assert ended(ask(model)).status == "aborted"


def test_looks_that_fail_are_repeated(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    faults = [NOT_FOUND, BAD_GATEWAY, Cut(3), Answer(200, "no json"), recorded_errors(429)[0]]
    fake.script(Script(stream=False, on_get=faults))

    assert ended(ask(model)).output == HELLO


def test_metrics_are_numbers_that_can_be_true(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    told = {"image_count": 2, "tokens_per_second": -3.5, "note": "a\x00b", "flag": True, "nan": float("nan")}
    fake.script(Script(metrics=told))
    metrics = ended(ask(model)).metrics

    assert metrics["image_count"] == 2
    assert set(metrics) <= {"image_count", "predict_time", "total_time"}


def test_a_stored_answer_can_hold_any_character(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(stream=False, output=["a\x00b", "\ud83d", "\u2028"]))

    assert ended(ask(model)).output == "a\ufffdb\ufffd\u2028"


# ---------------------------------------------------------------- asking


@pytest.mark.parametrize("status", [401, 402, 404, 422])
def test_a_refusal_is_told_in_words(status: int, model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(on_create=recorded_errors(status)[0]))
    prediction = ended(ask(model))

    assert prediction.status == "failed"
    assert prediction.error.startswith(("Replicate ", "The Replicate account"))
    assert len(fake.ledger.to("create")) == 1


def test_a_refused_input_names_the_parameter(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    prediction = Prediction.objects.create(
        model=model, version=model.versions.first(), input={"prompt": "Hi", "max_tokens": 1_000_000}
    )

    assert "max_tokens: Must be less than or equal to 4096." in ended(prediction).error


def test_a_rate_limit_is_waited_for(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    limited = Answer(429, {"detail": "Request was throttled.", "status": 429, "retry_after": 0.1})
    fake.script(Script(on_create=limited), Script())
    prediction = ended(ask(model))

    assert (prediction.status, prediction.attempts) == ("succeeded", 2)
    assert len(fake.ledger.created) == 1


def test_the_intent_is_kept_before_the_host_is_asked(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    late = Gate()
    fake.script(Script(on_create=Late(late)))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("create"))

    assert row(prediction).asked_at is not None
    assert row(prediction).provider_id == ""
    late.open()
    assert ended(prediction).status == "succeeded"


@pytest.mark.parametrize("fault", [Cut(None, "reset"), Cut(10)], ids=["no answer", "half an answer"])
def test_a_create_whose_answer_was_lost_is_found_and_adopted(
    fault: Any, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=fault))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output, prediction.attempts) == ("succeeded", HELLO, 1)
    [created] = fake.ledger.created
    assert prediction.provider_id == created.id


def test_a_worker_that_stood_still_before_its_request_left_asks_for_nothing(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_connecting, may_connect = threading.Event(), threading.Event()
    send, steady = PooledTransport.handle_async_request, clock.steady

    async def stand_still(transport: PooledTransport, request: httpx.Request) -> httpx.Response:
        is_connecting.set()
        await asyncio.to_thread(may_connect.wait, WAIT_LIMIT)
        return await send(transport, request)

    monkeypatch.setattr(PooledTransport, "handle_async_request", stand_still)
    prediction = ask(model)
    assert is_connecting.wait(WAIT_LIMIT)
    successor = Worker.objects.create(name="two")
    Prediction.objects.filter(pk=prediction.pk).update(worker=successor, leased_until=timezone.now() + LEASE)
    monkeypatch.setattr(clock, "steady", lambda: steady() + 60)  # seconds that passed unnoticed
    may_connect.set()

    wait_until(lambda: prediction.pk not in worker.worker._runs)
    assert fake.ledger.created == []


def test_two_lost_creates_of_the_same_input_are_not_mixed_up(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(*[Script(on_create=Cut(None, "reset"))] * 2)
    first, second = ask(model), ask(model)

    assert {ended(first).provider_id, ended(second).provider_id} == {created.id for created in fake.ledger.created}
    assert len(fake.ledger.created) == 2


def test_a_create_that_surely_failed_is_asked_once_more(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=BAD_GATEWAY), Script())
    prediction = ended(ask(model))

    assert (prediction.status, prediction.attempts) == ("succeeded", 2)
    assert len(fake.ledger.created) == 1


def test_refusals_before_a_lost_create_do_not_count_against_it(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    limited = Answer(429, {"detail": "Request was throttled.", "status": 429, "retry_after": 0.1})
    fake.script(Script(on_create=limited), Script(on_create=limited), Script(on_create=BAD_GATEWAY), Script())
    prediction = ended(ask(model))

    assert (prediction.status, prediction.attempts, prediction.losses) == ("succeeded", 4, 1)


def test_a_host_that_cannot_be_looked_at_any_more_is_not_asked_again(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello", gate], stream=False))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello")
    limited = Answer(429, {"detail": "Request was throttled.", "status": 429, "retry_after": 0.1})
    monkeypatch.setitem(PATIENCE, "replicate", timedelta())
    fake.fail("get", *[limited] * 50)

    assert (ended(prediction).status, prediction.output) == ("failed", "Hello")
    assert len(fake.ledger.to("create")) == 1
    gate.open()


def test_a_create_that_fails_again_and_again_is_given_up(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(*(Script(on_create=BAD_GATEWAY) for _ in range(4)))
    prediction = ended(ask(model))

    assert "not asked again" in prediction.error
    assert len(fake.ledger.to("create")) == 2


def test_who_cannot_look_does_not_ask_again(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(on_create=Cut(None, "reset")))
    fake.fail("list", *[BAD_GATEWAY] * 10)
    prediction = ended(ask(model))

    assert "not asked again" in prediction.error
    assert len(fake.ledger.to("create")) == 1


@pytest.mark.parametrize("page", ["no json", {"detail": "try later"}], ids=["no JSON", "no list"])
def test_a_list_that_cannot_be_read_proves_nothing(
    page: Any, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=Cut(None, "reset")))
    fake.fail("list", *[Answer(200, page)] * 10)
    prediction = ended(ask(model))

    assert "not asked again" in prediction.error
    assert len(fake.ledger.to("create")) == 1


def test_what_belongs_to_another_question_is_not_adopted(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    mine = ended(ask(model))
    fake.script(Script(on_create=BAD_GATEWAY), Script(chunks=["Another answer."]))
    other = ended(ask(model))

    assert (mine.output, other.output) == (HELLO, "Another answer.")
    assert mine.provider_id != other.provider_id


def test_a_host_that_cannot_be_reached_is_waited_for(
    model: Model, fake: FakeReplicate, worker: WorkerThread, settings: Any
) -> None:
    move(model.provider, "http://127.0.0.1:1/v1", settings)  # nobody listens there
    prediction = ask(model)
    wait_until(lambda: row(prediction).attempts >= 1 and row(prediction).phase == "queued")

    move(model.provider, fake.url, settings)

    assert ended(prediction).status == "succeeded"


def test_a_host_that_stays_away_is_given_up(
    model: Model, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setitem(PATIENCE, "replicate", timedelta())
    move(model.provider, "http://127.0.0.1:1/v1", settings)
    prediction = ended(ask(model))

    assert (prediction.status, prediction.error) == ("failed", "http://127.0.0.1:1 cannot be reached.")


# ---------------------------------------------------------------- stopping


def test_stop_cancels_at_the_host_and_keeps_the_text(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."]))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")

    row(prediction).request_cancel()
    ended(prediction)

    assert (prediction.status, prediction.output, prediction.error) == ("canceled", "Hello,", "")
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


def test_stop_before_the_create_has_answered(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    late, never = Gate(), Gate()
    fake.script(Script(steps=["Hello", never], on_create=Late(late)))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("create"))

    row(prediction).request_cancel()
    late.open()

    assert ended(prediction).status == "canceled"
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())
    never.open()


def test_stop_while_a_lost_create_is_looked_for(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(on_create=BAD_GATEWAY))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("create"))

    row(prediction).request_cancel()

    assert ended(prediction).status == "canceled"
    assert len(fake.ledger.to("create")) == 1


def test_a_cancel_that_fails_is_repeated(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello", gate], on_cancel=[BAD_GATEWAY, Cut(None, handled=False)]))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello")

    row(prediction).request_cancel()

    assert ended(prediction).status == "canceled"
    fake.ledger.wait_for(lambda ledger: ledger.canceled())
    gate.open()


def test_a_host_that_ignores_the_cancel_does_not_hold_the_page(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello", gate], ignores_cancel=True))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello")

    row(prediction).request_cancel()

    assert (ended(prediction).status, prediction.output) == ("canceled", "Hello")
    assert fake.ledger.created[0].cancels == 2
    gate.open()


# ---------------------------------------------------------------- going on


def test_another_worker_goes_on_with_the_same_prediction(
    model: Model, fake: FakeReplicate, transactional_db: None, no_look_at_versions: None
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."]))
    first = WorkerThread()
    first.start()
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")
    first.stop()
    assert row(prediction).worker is None
    assert stored_text(prediction.pk) == "Hello,"

    second = WorkerThread()
    second.start()
    gate.open()

    assert (ended(prediction).output, prediction.edition) == (HELLO, 0)
    assert len(fake.ledger.created) == 1
    second.stop()


@pytest.mark.parametrize("known", range(len(HELLO) + 1))
def test_resumes_at_every_offset(
    known: int, model: Model, fake: FakeReplicate, transactional_db: None, no_look_at_versions: None
) -> None:
    """A worker died without a word after journaling `known` characters; its lease has run out."""
    fake.script(Script(chunks=list(HELLO)))
    created = create_at(fake, model)
    prediction = Prediction.objects.create(
        model=model,
        version=model.versions.first(),
        input={"prompt": "Hi"},
        asked_at=timezone.now() - timedelta(seconds=20),
        provider_id=created["id"],
        urls=created["urls"],
        attempts=1,
        status="processing" if known else "starting",
    )
    for offset, letter in enumerate(HELLO[:known]):
        prediction.chunks.create(offset=offset, text=letter)
    thread = WorkerThread()
    thread.start()

    assert (ended(prediction).output, prediction.edition, prediction.status) == (HELLO, 0, "succeeded")
    assert len(fake.ledger.created) == 1
    thread.stop()


def test_a_worker_that_died_while_asking_has_asked_once(
    model: Model, fake: FakeReplicate, transactional_db: None, no_look_at_versions: None
) -> None:
    """The intent is in the row, the provider's answer was never heard: another worker finds what came of it."""
    asked_at = timezone.now()
    created = create_at(fake, model)
    prediction = Prediction.objects.create(
        model=model, version=model.versions.first(), input={"prompt": "Hi"}, asked_at=asked_at, attempts=1
    )
    thread = WorkerThread()
    thread.start()

    assert (ended(prediction).output, prediction.provider_id) == (HELLO, created["id"])
    assert len(fake.ledger.created) == 1
    thread.stop()


def test_a_prediction_that_lasts_too_long_is_ended_everywhere(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_LIFE", timedelta(seconds=0.3))
    monkeypatch.setattr(runner_module, "LAST_LOOKS", timedelta())
    gate = Gate()
    fake.script(Script(steps=["Hello", gate]))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("failed", "Hello")
    assert "too long" in prediction.error
    fake.ledger.wait_for(lambda ledger: ledger.canceled())
    gate.open()


def test_a_model_that_never_stops_writing_is_cut(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "OUTPUT_LIMIT", 1_000)
    fake.script(Script(chunks=["x" * 100] * 50))
    prediction = ended(ask(model))

    assert prediction.status == "failed"
    assert "cut off" in prediction.error


def test_an_answer_that_ended_while_no_worker_lived_is_fetched_however_late(model: Model, fake: FakeReplicate) -> None:
    created = create_at(fake, model)
    two_hours_ago = timezone.now() - timedelta(hours=2)
    prediction = Prediction.objects.create(
        model=model,
        version=model.versions.first(),
        input={"prompt": "Hi"},
        asked_at=two_hours_ago,
        created_at=two_hours_ago,
        provider_id=created["id"],
        urls=created["urls"],
        attempts=1,
    )
    thread = WorkerThread()
    thread.start()

    assert (ended(prediction).status, prediction.output) == ("succeeded", HELLO)
    assert len(fake.ledger.created) == 1
    thread.stop()


def test_a_worker_that_ends_waits_for_the_answer_to_its_create(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(on_create=Late(gate)))
    prediction = ask(model)
    gate.wait_reached()
    worker.loop.call_soon_threadsafe(worker.worker.stop)
    wait_until(worker.worker._stopping.is_set)
    gate.open()
    worker.join(WAIT_LIMIT)

    prediction.refresh_from_db()
    assert (prediction.provider_id != "", prediction.worker, prediction.leased_until) == (True, None, None)
