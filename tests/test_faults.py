"""Every row F1 to F29 of the table of faults between Parley and a host: what people see, and what is kept.

`ROWS` says which tests show a row; those that are shown fully elsewhere are not repeated here.
"""

import asyncio
import importlib
import itertools
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st

from chat.models import User
from predictions import journal as journal_module
from predictions import runner as runner_module
from predictions import worker as worker_module
from predictions.bus import bus
from predictions.events import Snapshot, from_snapshot
from predictions.follow import stored_text
from predictions.models import Condition, Model, Prediction, Provider
from predictions.models import condition as condition_module
from predictions.models.catalogue import PATIENCE
from predictions.pace import Pace
from predictions.providers import http
from predictions.providers.errors import StreamInterrupted
from predictions.providers.http import HostClient
from predictions.providers.replicate import ReplicateProvider
from predictions.providers.replicate import provider as replicate_provider
from predictions.providers.replicate import words as words_module
from predictions.providers.replicate.stream import EventReader
from predictions.providers.sse import EventStreamParser, NotAnEventStream
from predictions.signals import prediction_ended
from tests.conftest import WorkerThread, ended, move
from tests.fake_replicate import (
    NOT_FOUND,
    Answer,
    Cut,
    FakeReplicate,
    Gate,
    Late,
    Output,
    Raw,
    Script,
    recorded_errors,
)
from tests.proxy import FaultyProxy, Toxic
from tests.test_reducer import Reader
from tests.test_runs import ask, row
from tests.test_webhooks import PUBLIC, deliver
from tests.tls import a_server_that_vouches_for_itself
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]

RUNS, WEBHOOKS, FILES, SSE = (f"tests.test_{name}::test_" for name in ("runs", "webhooks", "files", "sse"))
HERE = f"{__name__}::test_"
ROWS = {
    "F1": [RUNS + "a_refusal_is_told_in_words", HERE + "f01_a_question_that_is_refused_is_told_in_words_and_kept"],
    "F2": [HERE + "f02_a_token_that_is_not_accepted_is_told_to_all_until_it_is"],
    "F3": [HERE + "f03_without_credit_every_question_is_told_so_until_somebody_pays"],
    "F4": [HERE + "f04_a_version_that_is_gone_is_told_in_words"],
    "F5": [
        RUNS + "a_rate_limit_is_waited_for",
        HERE + "f05_no_question_is_lost_or_doubled_however_the_limit_is_told",
        HERE + "f05_five_hundred_questions_at_once_are_all_answered_once_and_in_turn",
    ],
    "F6": [
        RUNS + "a_create_that_surely_failed_is_asked_once_more",
        RUNS + "a_create_that_fails_again_and_again_is_given_up",
        HERE + "f06_a_host_that_refuses_connections_is_waited_for",
        HERE + "f06_a_create_that_did_not_arrive_is_asked_once_more",
    ],
    "F7": [
        RUNS + "a_create_whose_answer_was_lost_is_found_and_adopted",
        RUNS + "who_cannot_look_does_not_ask_again",
        RUNS + "what_belongs_to_another_question_is_not_adopted",
        HERE + "f07_a_create_whose_answer_was_lost_is_looked_for_and_adopted",
        HERE + "f07_an_error_after_the_create_was_taken_does_not_ask_twice",
        HERE + "f07_two_alike_questions_whose_answers_were_lost_are_not_mixed_up",
        HERE + "f07_a_lost_question_is_not_taken_for_one_like_it_that_is_still_being_answered",
    ],
    "F8": [RUNS + "a_model_without_stream_is_polled"],
    "F9": [
        RUNS + "a_very_quick_answer_that_get_does_not_know_yet",
        HERE + "f09_a_prediction_that_stays_unknown_is_given_up",
    ],
    "F10": [
        RUNS + "whatever_the_stream_host_does_the_answer_is_polled",
        RUNS + "a_stream_on_a_foreign_host_is_not_opened",
    ],
    "F11": [
        HERE + "f11_a_line_that_went_dead_is_looked_past",
        HERE + "f11_streams_that_are_always_dead_are_left_for_the_poll",
        HERE + "f11_stop_works_while_the_line_is_dead",
    ],
    "F12": [
        RUNS + "a_stream_cut_anywhere_ends_with_the_exact_text",
        HERE + "f12_f13_a_stream_cut_at_any_byte_is_told_exactly_once",
        HERE + "f12_a_stream_that_the_proxy_cuts_goes_on_where_it_was",
    ],
    "F13": [HERE + "f12_f13_a_stream_cut_at_any_byte_is_told_exactly_once", SSE + "an_unfinished_event_is_not_told"],
    "F14": [RUNS + "a_stream_that_broke_off_is_resumed_whatever_the_host_repeats_or_skips"],
    "F15": [RUNS + "a_stream_that_broke_off_is_resumed_whatever_the_host_repeats_or_skips"],
    "F16": [
        RUNS + "whatever_the_stream_host_does_the_answer_is_polled",
        SSE + "a_line_without_end_is_refused",
        HERE + "f16_garbage_is_refused_or_read_as_text_that_can_be_stored",
        HERE + "f16_a_corrupted_byte_does_not_outlive_the_answer",
    ],
    "F17": [
        RUNS + "a_model_that_never_stops_writing_is_cut",
        HERE + "f17_an_endless_text_is_cut_and_ended_at_the_host",
        HERE + "f17_an_endless_text_that_is_not_streamed_is_cut",
        HERE + "f17_an_endless_text_can_be_stopped",
        HERE + "f17_an_endless_stream_without_text_ends_in_time",
    ],
    "F18": [
        HERE + "f18_a_slow_line_costs_nothing_but_time",
        HERE + "f18_a_line_that_drips_for_ever_is_ended_by_the_deadline",
    ],
    "F19": [RUNS + "a_failure_keeps_text_and_reason"],
    "F20": [HERE + "f20_every_grammar_of_events_has_one_right_end"],
    "F21": [RUNS + "text_that_differs_in_the_end_is_replaced_once"],
    "F22": [RUNS + "aborted_is_an_end", HERE + "f22_what_was_aborted_before_its_start_is_told_so"],
    "F23": [
        RUNS + "a_cancel_that_fails_is_repeated",
        RUNS + "a_host_that_ignores_the_cancel_does_not_hold_the_page",
        HERE + "f23_a_stop_that_comes_too_late_tells_the_true_end",
    ],
    "F24": [
        WEBHOOKS + "a_webhook_before_the_create_has_answered",
        WEBHOOKS + "a_webhook_finds_a_create_whose_answer_was_lost",
    ],
    "F25": [
        WEBHOOKS + "the_same_delivery_again_changes_nothing",
        WEBHOOKS + "a_webhook_after_the_end_changes_nothing",
        WEBHOOKS + "a_delivery_for_a_prediction_that_was_deleted_is_taken",
        HERE + "f25_deliveries_change_nothing_in_whichever_order_they_come",
        HERE + "f25_deliveries_in_any_order_beside_the_stream_end_once",
    ],
    "F26": [HERE + "f26_without_any_webhook_the_answer_is_polled"],
    "F27": [
        WEBHOOKS + "a_huge_delivery_is_refused",
        WEBHOOKS + "a_stale_delivery_is_refused",
        WEBHOOKS + "a_new_secret_is_read_when_a_delivery_does_not_fit",
        WEBHOOKS + "forgeries_make_the_secret_read_once_a_minute_at_most",
        HERE + "f27_a_rotation_with_two_secrets_is_not_noticed",
    ],
    "F28": [
        FILES + "a_file_that_cannot_be_had_says_why_and_the_answer_stays",
        FILES + "a_copy_that_fails_is_repeated",
    ],
    "F29": [
        HERE + "f29_a_name_that_cannot_be_resolved_is_waited_for",
        HERE + "f29_a_certificate_that_nobody_vouches_for_is_not_trusted",
    ],
}

HELLO = "Hello, world."
PIECES = ("Grüße ", "👩‍🚀\n", "\n", " an", " alle.")
GREETING = "".join(PIECES)
STREAM = b"GET /v1/streams/"
CREATE = b"POST /v1/models/"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition_module, "PAUSES", (0.02, 0.1))
    monkeypatch.setattr(worker_module, "LOOK_AGAIN", 0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent stream is looked beside after a moment."""
    monkeypatch.setattr(runner_module, "QUIET", 0.1)


@pytest.fixture
def proxy(model: Model, fake: FakeReplicate, settings: Any) -> Iterator[FaultyProxy]:
    """The way to the fake Replicate, for the API as for its streams."""
    with FaultyProxy(urlsplit(fake.origin).port or 0) as proxy:
        move(model.provider, f"{proxy.origin}/v1", settings)
        yield proxy


def condition(model: Model) -> Condition:
    return Condition.objects.of(model.provider)


# ---------------------------------------------------------------- the table


def test_each_row_of_the_table_names_tests_that_exist() -> None:
    assert all(ROWS.values())
    for name in itertools.chain.from_iterable(ROWS.values()):
        module, _, test = name.partition("::")
        assert callable(getattr(importlib.import_module(module), test, None)), name


def test_the_table_is_complete() -> None:
    assert list(ROWS) == [f"F{number}" for number in range(1, 30)]
    for test in (name for name in globals() if re.match(r"test_f\d", name)):
        numbers = re.findall(r"f(\d\d)_", test)
        assert all(f"{__name__}::{test}" in ROWS[f"F{int(number)}"] for number in numbers), test


# ---------------------------------------------------------------- F1 to F4: a final no


REFUSED_INPUTS = [
    (Answer(400, {"detail": "JSON parse error", "status": 400}), "JSON parse error"),
    (recorded_errors(413)[0], "too large"),
    (recorded_errors(422)[1], "prompt is required"),
    (recorded_errors(422)[2], "Streaming not supported"),
    (Answer(422, b"\xff\xfe no JSON"), "no reason"),
]


@pytest.mark.parametrize(("refusal", "words"), REFUSED_INPUTS, ids=[words for _, words in REFUSED_INPUTS])
def test_f01_a_question_that_is_refused_is_told_in_words_and_kept(
    refusal: Answer, words: str, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=refusal))
    refused, next_one = ended(ask(model)), ended(ask(model))

    assert (refused.status, refused.output, refused.input) == ("failed", "", {"prompt": "Hi"})
    assert words in refused.error
    assert "{" not in refused.error
    assert condition(model).trouble == ""  # it is the question's fault, not the host's
    assert (next_one.status, len(fake.ledger.to("create"))) == ("succeeded", 2)


def test_f02_a_token_that_is_not_accepted_is_told_to_all_until_it_is(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.refuse_token()
    refused = [ended(prediction) for prediction in [ask(model), ask(model)]]

    assert {(prediction.status, prediction.attempts) for prediction in refused} == {("failed", 1)}
    assert all("REPLICATE_API_TOKEN" in prediction.error for prediction in refused)
    assert condition(model).trouble == refused[0].error
    fake.accept_token()
    assert ended(ask(model)).status == "succeeded"
    assert condition(model).trouble == ""


def test_f03_without_credit_every_question_is_told_so_until_somebody_pays(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.run_out_of_credit()
    refused = [ended(prediction) for prediction in [ask(model) for _ in range(5)]]

    assert {(prediction.status, prediction.attempts) for prediction in refused} == {("failed", 1)}
    assert all("no credit left" in prediction.error for prediction in refused)
    assert condition(model).trouble == refused[0].error
    assert fake.ledger.created == []
    fake.pay()
    assert ended(ask(model)).status == "succeeded"
    assert condition(model).trouble == ""


GONE = [*recorded_errors(404), Answer(410, {"detail": "Gone", "status": 410}), recorded_errors(422)[0]]


@pytest.mark.parametrize("gone", GONE, ids=lambda answer: f"{answer.status} {answer.body['detail'][:30]}")
def test_f04_a_version_that_is_gone_is_told_in_words(
    gone: Answer, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=gone))
    prediction = ended(ask(model))

    assert prediction.status == "failed"
    assert "An admin can choose another one" in prediction.error
    assert len(fake.ledger.to("create")) == 1
    assert condition(model).trouble == ""


# ---------------------------------------------------------------- F5: too many


@pytest.fixture
def reckless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parley keeps no pace of its own, so that it meets the host's limit."""
    monkeypatch.setitem(condition_module.CREATES, Provider.Kind.REPLICATE, Pace(per_minute=1e6, burst=1_000))


def ask_many(model: Model, *askers: tuple[User, int]) -> list[Prediction]:
    """Have people ask, one after the other, each so many questions at once."""
    version = model.versions.first()
    predictions = Prediction.objects.bulk_create(
        Prediction(model=model, version=version, user=user, input={"prompt": f"{user.username} {number}"})
        for user, count in askers
        for number in range(count)
    )
    bus.publish(("work", {}))
    return predictions


def all_ended() -> bool:
    return not Prediction.objects.active().exists()


def prompts(predictions: list[Prediction]) -> list[str]:
    return sorted(prediction.input["prompt"] for prediction in predictions)


def asked(fake: FakeReplicate) -> list[str]:
    """The prompts of what was created, in that order."""
    return [created.body["input"]["prompt"] for created in fake.ledger.created]


@pytest.mark.parametrize("form", ["body", "header", "sentence", "poor"])
@pytest.mark.usefixtures("reckless", "worker")
def test_f05_no_question_is_lost_or_doubled_however_the_limit_is_told(
    form: Any, alice: User, model: Model, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition_module, "REDUCTION", timedelta(seconds=0.5))
    fake.throttle(creates_per_minute=600, burst=10, form=form)
    predictions = ask_many(model, (alice, 20))
    wait_until(lambda: "rate limit" in condition(model).trouble)
    wait_until(lambda: condition(model).reduced_to == (6.0 if form == "poor" else None))
    wait_until(lambda: any(row(prediction).phase == "queued" for prediction in predictions))
    wait_until(all_ended)

    assert {ended(prediction).status for prediction in predictions} == {"succeeded"}
    assert sorted(asked(fake)) == prompts(predictions)
    assert fake.ledger.throttled
    assert condition(model).reduced_to is None  # it was kept for a while
    assert condition(model).trouble == ""


_, DOCUMENTED, SENTENCE = recorded_errors(429)
LIMITED = (
    replace(SENTENCE, body=SENTENCE.body | {"retry_after": 0.05}),
    replace(DOCUMENTED, headers={"retry-after": "0.05"}),
    replace(SENTENCE, body={"detail": "Request was throttled. Your rate limit resets in ~0.05s."}),
)


@pytest.mark.usefixtures("worker")
def test_f05_five_hundred_questions_at_once_are_all_answered_once_and_in_turn(
    alice: User, charlie: User, model: Model, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each twentieth create is refused, in one form or another."""
    monkeypatch.setattr(words_module, "SHORTEST_WAIT", 0.0)
    pace = Pace(per_minute=9_000, burst=25)
    monkeypatch.setitem(condition_module.CREATES, Provider.Kind.REPLICATE, pace)
    for refusal in LIMITED * 8:
        fake.fail("create", *[None] * 19, refusal)
    fake.default = Script(stream=False)
    predictions = ask_many(model, (alice, 480), (charlie, 20))
    wait_until(all_ended, limit=60)

    assert {ended(prediction).status for prediction in predictions} == {"succeeded"}
    assert sorted(asked(fake)) == prompts(predictions)
    assert len(fake.ledger.to("create")) == 500 + len(LIMITED) * 8
    # Who asked last, and little, is not behind who asked first, and much: people take turns.
    turns = [place for place, prompt in enumerate(asked(fake)) if prompt.startswith("charlie")]
    assert turns[len(turns) // 2] < 150


# ---------------------------------------------------------------- F6, F7: was it taken?


def test_f06_a_host_that_refuses_connections_is_waited_for(
    model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    proxy.refuse()
    prediction = ask(model)
    wait_until(lambda: row(prediction).attempts and row(prediction).phase == "queued")
    assert "cannot be reached" in condition(model).trouble
    proxy.accept()

    assert (ended(prediction).status, prediction.output) == ("succeeded", HELLO)
    assert len(fake.ledger.created) == 1
    assert condition(model).trouble == ""


@pytest.mark.parametrize("size", [0, 20, 200, 330])
def test_f06_a_create_that_did_not_arrive_is_asked_once_more(
    size: int, model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    """The connection ends before the host has the whole request: it says nothing of that."""
    proxy.spoil_next(Toxic(cut_at=size), direction="request")
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output, prediction.attempts) == ("succeeded", HELLO, 2)
    assert len(fake.ledger.created) == 1


LOSSES = [
    Toxic(cut_at=0, how="reset"),
    Toxic(cut_at=0),
    Toxic(cut_at=150),
    Toxic(cut_at=600, how="reset"),
    Toxic(hole_at=0),
    Toxic(hole_at=10),
    Toxic(hole_at=600),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda toxic: f"{toxic.how} {toxic.cut_at}, hole {toxic.hole_at}")
@pytest.mark.usefixtures("worker")
def test_f07_a_create_whose_answer_was_lost_is_looked_for_and_adopted(
    loss: Toxic, model: Model, fake: FakeReplicate, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HostClient.request.__kwdefaults__ is not None
    monkeypatch.setitem(HostClient.request.__kwdefaults__, "wait", 0.2)
    proxy.spoil_next(loss, on=CREATE)
    gate = Gate()
    fake.fail("list", Late(gate))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("list"))
    wait_until(lambda: row(prediction).phase == "unknown")
    gate.open()

    assert (ended(prediction).status, prediction.output, prediction.attempts) == ("succeeded", HELLO, 1)
    [created] = fake.ledger.created
    assert (prediction.provider_id, prediction.lost_at) == (created.id, None)


@pytest.mark.parametrize("status", [500, 524])
def test_f07_an_error_after_the_create_was_taken_does_not_ask_twice(
    status: int, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(on_create=Answer(status, "<html>oops</html>", "text/html", handled=True)))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("succeeded", HELLO)
    assert len(fake.ledger.to("create")) == 1


@pytest.fixture
def slow_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one run has learned is in the database only after a while."""
    monkeypatch.setattr(journal_module, "TICK", 0.5)
    monkeypatch.setattr(journal_module, "LONGEST_TICK", 0.5)


@pytest.mark.usefixtures("slow_journal", "worker")
def test_f07_two_alike_questions_whose_answers_were_lost_are_not_mixed_up(
    alice: User, charlie: User, model: Model, fake: FakeReplicate
) -> None:
    gate, both = Gate(), Gate()
    fake.script(*[Script(steps=[gate, HELLO], on_create=Cut(None, "reset"))] * 2)
    fake.fail("list", Late(both), Late(both))
    predictions = [ask(model, alice), ask(model, charlie)]
    fake.ledger.wait_for(lambda ledger: len(ledger.to("list")) == 2)
    both.open()
    wait_until(lambda: all(row(prediction).provider_id for prediction in predictions))
    gate.open()

    assert [ended(prediction).output for prediction in predictions] == [HELLO, HELLO]
    ids = {prediction.provider_id for prediction in predictions}
    assert ids == {created.id for created in fake.ledger.created}


@pytest.mark.usefixtures("worker")
def test_f07_a_lost_question_is_not_taken_for_one_like_it_that_is_still_being_answered(
    alice: User, charlie: User, model: Model, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "FIND_AGES", (60.0, 60.0))  # not before it is told to look
    late, gate = Gate(), Gate()
    fake.script(Script(steps=[gate, HELLO], on_create=Cut(None, "reset")))
    fake.script(Script(steps=[gate, HELLO], on_create=Late(late)))
    lost = ask(model, alice)
    wait_until(lambda: row(lost).phase == "unknown")
    alike = ask(model, charlie)
    fake.ledger.wait_for(lambda ledger: len(ledger.created) == 2)
    bus.publish(("work", {"look": str(lost.pk)}))
    fake.ledger.wait_for(lambda ledger: ledger.to("list"))
    late.open()
    wait_until(lambda: row(alike).provider_id)
    bus.publish(("work", {"look": str(lost.pk)}))
    gate.open()

    assert [ended(prediction).output for prediction in (lost, alike)] == [HELLO, HELLO]
    assert [lost.provider_id, alike.provider_id] == [created.id for created in fake.ledger.created]


# ---------------------------------------------------------------- F9: not known yet


def test_f09_a_prediction_that_stays_unknown_is_given_up(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "NEW_PATIENCE", 0.3)
    fake.script(Script(stream=False, on_get=[NOT_FOUND] * 1_000))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.error) == ("failed", "Replicate knows nothing of this prediction.")
    assert len(fake.ledger.to("get")) > 3
    assert len(fake.ledger.created) == 1


# ---------------------------------------------------------------- F11: no bytes, and no end


@pytest.mark.parametrize("size", [0, 60, 110, 140, 185, 230, 270])
@pytest.mark.usefixtures("impatient")
def test_f11_a_line_that_went_dead_is_looked_past(
    size: int, model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=[*PIECES[:3], gate, *PIECES[3:]]))
    proxy.spoil_next(Toxic(hole_at=size), on=STREAM)
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "".join(PIECES[:3]))
    assert row(prediction).phase == "running"
    gate.open()

    assert (ended(prediction).status, prediction.output, prediction.edition) == ("succeeded", GREETING, 0)
    assert proxy.pending == 0
    assert len(fake.ledger.created) == 1


@pytest.mark.usefixtures("impatient")
def test_f11_streams_that_are_always_dead_are_left_for_the_poll(
    model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "STREAM_SILENCE", 0.1)
    gate = Gate()
    fake.script(Script(steps=[*PIECES[:3], gate, *PIECES[3:]]))
    proxy.spoil_next(*[Toxic(hole_at=190)] * 30, on=STREAM)
    prediction = ask(model)
    [created] = fake.ledger.wait_for(lambda ledger: ledger.created)
    fake.ledger.wait_for(lambda ledger: created.gets > 8)
    gate.open()

    assert (ended(prediction).status, prediction.output, prediction.edition) == ("succeeded", GREETING, 0)


@pytest.mark.usefixtures("impatient")
def test_f11_stop_works_while_the_line_is_dead(
    model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    never = Gate()
    fake.script(Script(steps=["Hello", never]))
    proxy.spoil_next(Toxic(hole_at=0), on=STREAM)
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello")

    row(prediction).request_cancel()

    assert (ended(prediction).status, prediction.output) == ("canceled", "Hello")
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


# ---------------------------------------------------------------- F12, F13: cut anywhere


@dataclass(frozen=True, slots=True)
class Said:
    """A part of a stream: its bytes, and what they tell."""

    raw: bytes
    id: str = ""
    text: str = ""


def recorded() -> list[Said]:
    raw = (Path(__file__).parent / "data/replicate/vercel-replicate-sse.sse").read_bytes()
    parts = [part + b"\n\n" for part in raw.rstrip(b"\n").split(b"\n\n")]
    ids = [re.findall(rb"^id: (.+)$", part, re.MULTILINE) for part in parts]
    texts = [re.findall(rb"^event: output\n(?:.+\n)*data: ?(.*)$", part, re.MULTILINE) for part in parts]
    return [
        Said(part, b"".join(id).decode(), b"".join(text).decode())
        for part, id, text in zip(parts, ids, texts, strict=True)
    ]


def made(newline: str) -> list[Said]:
    texts = ["", "Grüße", " 👩‍🚀", "\n", "\n\n", "a\nb\n", " ", "\u2028", "日本", " : ", "."]
    said = [Said(f": hi{newline}{newline}".encode())]
    for number, text in enumerate(texts):
        lines = [f"id: 17000:{number}", "event: output", *(f"data: {line}" for line in text.split("\n"))]
        said.append(Said((newline.join(lines) + 2 * newline).encode(), f"17000:{number}", text))
    end = ["event: done", "id: 17001:0", "data: {}", "", ""]
    return [*said, Said(newline.join(end).encode(), "17001:0")]


class Host:
    """Shows a prediction as its stream has told it; the first reader of the stream is cut off."""

    def __init__(self, said: list[Said], cut: int, how: str, *, has_ended: bool) -> None:
        self.said = said
        self.cut = cut
        self.how = how
        self.has_ended = has_ended  # by the time that the reader was cut off
        self.readers = 0
        self.looks = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        if "/streams/" not in request.url.path:
            return httpx.Response(200, json=self._shown())
        self.readers += 1
        told = self._behind(request.headers.get("last-event-id"))
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, content=self._send(told, is_cut=self.readers == 1))

    async def _send(self, told: bytes, *, is_cut: bool) -> AsyncIterator[bytes]:
        shown = told[: self.cut] if is_cut else told
        for begin in range(0, len(shown), 7):  # so that characters, too, come in parts
            yield shown[begin : begin + 7]
        if is_cut and self.how == "reset":
            raise httpx.ReadError("reset")
        if is_cut and self.how == "close":
            raise httpx.RemoteProtocolError("closed")

    def _behind(self, last_id: str | None) -> bytes:
        known = [place for place, said in enumerate(self.said) if last_id and said.id == last_id]
        return b"".join(said.raw for said in self.said[known[0] + 1 if known else 0 :])

    def _shown(self) -> dict[str, Any]:
        self.looks += 1
        is_over = self.has_ended or self.readers > 1 or self.looks > 1
        begins = itertools.accumulate((len(said.raw) for said in self.said), initial=0)
        texts = [said.text for said, begin in zip(self.said, begins, strict=False) if is_over or begin < self.cut]
        return {"id": "p1", "status": "succeeded" if is_over else "processing", "output": texts}


class NoLimit:
    """A budget that never ends."""

    async def take(self) -> None:
        return


async def see_through(answer: Callable[[httpx.Request], httpx.Response]) -> Reader:
    """Read a prediction to its end as the runner does: its stream, else by looks; text may only grow."""
    base = "https://api.replicate.com/v1"
    provider = ReplicateProvider(HostClient(base, transport=httpx.MockTransport(answer)), NoLimit())  # type: ignore[arg-type]
    reader = Reader(provider_id="p1", urls={"stream": f"{base}/streams/s1"})
    with suppress(StreamInterrupted):
        async with aclosing(provider.stream(reader.prediction)) as events:  # type: ignore[type-var]
            async for event in events:
                before = reader.text
                reader.hear([event])
                assert reader.text.startswith(before) or reader.prediction.edition
    while not reader.prediction.is_terminal:
        reader.hear(from_snapshot(await provider.poll(reader.prediction)))
    await provider.close()
    return reader


@pytest.mark.parametrize("has_ended", [False, True], ids=["goes on", "has ended"])
@pytest.mark.parametrize("how", ["close", "reset", "end"])
@pytest.mark.parametrize(
    "said", [recorded(), made("\n"), made("\r\n"), made("\r")], ids=["recorded", "LF", "CRLF", "CR"]
)
async def test_f12_f13_a_stream_cut_at_any_byte_is_told_exactly_once(
    said: list[Said], how: str, has_ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicate_provider, "LAGS", tuple(lag / 100 for lag in replicate_provider.LAGS))
    text = "".join(part.text for part in said)
    assert text
    for cut in range(sum(len(part.raw) for part in said) + 1):
        host = Host(said, cut, how, has_ended=has_ended)
        reader = await see_through(host.answer)

        assert (reader.text, reader.prediction.edition, reader.prediction.status) == (text, 0, "succeeded"), cut
        assert host.readers <= 2


@pytest.mark.parametrize("size", range(0, 423, 21))
def test_f12_a_stream_that_the_proxy_cuts_goes_on_where_it_was(
    size: int, model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    fake.script(Script(chunks=PIECES))
    proxy.spoil_next(Toxic(cut_at=size, how="reset" if size % 2 else "close"), on=STREAM)
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output, prediction.edition) == ("succeeded", GREETING, 0)
    assert proxy.pending == 0
    assert len(fake.ledger.created) == 1


# ---------------------------------------------------------------- F16: garbage


SCRAPS = [
    b"data: ",
    b"event: output\n",
    b"event: logs\n",
    b"event: done\n",
    b"id: 7\n",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\xff",
]
SPOILT = [b"event: output\ndata: a\x00b\n\n", b"event: logs\ndata: \x00\n\n", b"event: output\ndata: \xed\xa0\xbd\n\n"]


@given(st.lists(st.sampled_from(SCRAPS) | st.sampled_from(SPOILT) | st.binary(max_size=40), max_size=40))
@example(SPOILT)
def test_f16_garbage_is_refused_or_read_as_text_that_can_be_stored(chunks: list[bytes]) -> None:
    parser, reader = EventStreamParser(), EventReader()
    prediction = Reader()
    with suppress(NotAnEventStream, StreamInterrupted):
        for chunk in chunks:
            for sent in parser.feed(chunk):
                prediction.hear(reader.read(sent))

    assert "\x00" not in prediction.text + prediction.prediction.logs
    prediction.text.encode()
    assert not prediction.prediction.is_terminal  # that is for the prediction itself to say


@pytest.mark.parametrize("at", range(0, 423, 60))
@pytest.mark.usefixtures("impatient")
def test_f16_a_corrupted_byte_does_not_outlive_the_answer(
    at: int, model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    fake.script(Script(chunks=PIECES))
    proxy.spoil_next(Toxic(corrupt_at=at), on=STREAM)
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("succeeded", GREETING)
    assert prediction.edition <= 1
    assert len(fake.ledger.created) == 1


# ---------------------------------------------------------------- F17, F18: too much, too slow


def endless(step: Any) -> Iterator[Any]:
    while True:
        yield step
        yield 0.002


def test_f17_an_endless_text_is_cut_and_ended_at_the_host(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "OUTPUT_LIMIT", 2_000)
    fake.script(Script(steps=endless("x" * 100)))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.error) == ("failed", "The answer was cut off at 2,000 characters.")
    assert prediction.output == "x" * prediction.output_end
    assert 2_000 < prediction.output_end < 50_000
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


@pytest.mark.usefixtures("impatient")
def test_f17_an_endless_text_that_is_not_streamed_is_cut(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream says nothing, and does not end: all is heard by looks beside it."""
    monkeypatch.setattr(runner_module, "OUTPUT_LIMIT", 2_000)
    fake.script(Script(steps=endless(Output("x" * 100, streamed=False))))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.error) == ("failed", "The answer was cut off at 2,000 characters.")
    assert prediction.output_end > 2_000
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


def test_f17_an_endless_text_can_be_stopped(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(steps=endless("x")))
    prediction = ask(model)
    wait_until(lambda: len(stored_text(prediction.pk)) > 10)

    row(prediction).request_cancel()

    assert (ended(prediction).status, set(prediction.output)) == ("canceled", {"x"})
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


def test_f17_an_endless_stream_without_text_ends_in_time(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "LONGEST_LIFE", timedelta(seconds=0.5))
    monkeypatch.setattr(runner_module, "LAST_LOOKS", timedelta())
    fake.script(Script(steps=endless(Raw(b": still here\n\n"))))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("failed", "")
    assert "too long" in prediction.error
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


@pytest.mark.usefixtures("impatient")
def test_f18_a_slow_line_costs_nothing_but_time(
    model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread
) -> None:
    fake.script(Script(chunks=PIECES))
    proxy.spoil(Toxic(piece=10, pause=0.005))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output, prediction.edition) == ("succeeded", GREETING, 0)
    assert (prediction.attempts, len(fake.ledger.created)) == (1, 1)


def test_f18_a_line_that_drips_for_ever_is_ended_by_the_deadline(
    model: Model, fake: FakeReplicate, proxy: FaultyProxy, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte is in time, so that no connection is ever silent for too long."""
    monkeypatch.setattr(runner_module, "LONGEST_LIFE", timedelta(seconds=1))
    monkeypatch.setattr(runner_module, "LAST_LOOKS", timedelta())
    fake.script(Script(steps=itertools.chain(["Hello"], endless(Raw(b": still here\n\n")))))
    proxy.spoil_next(Toxic(piece=1, pause=0.001), on=STREAM)
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("failed", "Hello")
    assert "too long" in prediction.error
    fake.ledger.wait_for(lambda ledger: ledger.canceled() and not ledger.running())


# ---------------------------------------------------------------- F20: the grammar of ends


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a stream, or something that is none."""

    name: str
    lines: tuple[str, ...]
    text: str = ""

    def raw(self, number: int) -> str:
        head = [f"event: {self.name}", f"id: 1700:{number}"] if self.name else []
        return "\n".join([*head, *self.lines, "", ""])


def output(text: str) -> Told:
    return Told("output", tuple(f"data: {line}" for line in text.split("\n")), text)


def data(name: str, *values: str) -> st.SearchStrategy[Told]:
    return st.sampled_from(values).map(lambda value: Told(name, (f"data: {value}",)))


events = st.one_of(
    st.text(st.sampled_from("ab ü👩\n"), max_size=6).map(output),
    data("done", "{}", '{"reason":"error"}', '{"reason":"canceled"}', "no JSON"),
    data("error", '{"detail":"CUDA out of memory"}', "no JSON"),
    data("logs", "12%|", "loading"),
    data("strange", "{", "x"),
    st.sampled_from([Told("", (": comment",)), Told("", ("retry: 1",)), Told("done", ()), Told("output", ())]),
)


DONE = Told("done", ("data: {}",))
ERROR = Told("error", ('data: {"detail":"CUDA out of memory"}',))


@given(
    told=st.lists(events, max_size=12),
    status=st.sampled_from(["succeeded", "failed", "canceled", "aborted"]),
    size=st.sampled_from([1, 17, 100_000]),
)
@example([output("Hello"), DONE, DONE], "succeeded", 100_000)
@example([output("Hello"), DONE, output("more")], "failed", 100_000)
@example([output("Hello"), DONE, output("more")], "failed", 1)
@example([output("Hello"), ERROR], "failed", 17)
@example([ERROR, output("Hello"), ERROR, DONE], "failed", 17)
def test_f20_every_grammar_of_events_has_one_right_end(told: list[Told], status: str, size: int) -> None:
    """The prediction's final text is what was said before the first `done`: that is the end of what the stream says."""
    raw = "".join(event.raw(number) for number, event in enumerate(told)).encode()
    is_done = [event.name == "done" and event.lines != () for event in told]
    said = "".join(event.text for event in told[: is_done.index(True) if True in is_done else None])
    error = "CUDA out of memory" if status == "failed" else None

    async def send() -> AsyncIterator[bytes]:
        for begin in range(0, len(raw), size):
            yield raw[begin : begin + size]

    def answer(request: httpx.Request) -> httpx.Response:
        if "/streams/" in request.url.path:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=send())
        return httpx.Response(200, json={"id": "p1", "status": status, "output": [said], "error": error})

    reader = asyncio.run(see_through(answer))

    assert reader.outcome[:4] == (status, said, 0, error or "")
    for late in (Snapshot("p1", "processing", output=said + "more"), Snapshot("p1", "succeeded", output="other")):
        assert reader.hear(from_snapshot(late)).outcome[:4] == (status, said, 0, error or "")


# ---------------------------------------------------------------- F22, F23: ended, stopped


def test_f22_what_was_aborted_before_its_start_is_told_so(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    never = Gate()
    fake.script(Script(boot=never))
    prediction = ask(model)
    [created] = fake.ledger.wait_for(lambda ledger: ledger.created)
    wait_until(lambda: row(prediction).provider_id)

    fake.strike_deadline(created.id)

    assert (ended(prediction).status, prediction.output) == ("aborted", "")
    assert fake.ledger.ran() == []


def test_f23_a_stop_that_comes_too_late_tells_the_true_end(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "STOP_PATIENCE", 30.0)
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."], ignores_cancel=True))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")

    row(prediction).request_cancel()
    fake.ledger.wait_for(lambda ledger: ledger.to("cancel"))
    gate.open()

    assert (ended(prediction).status, prediction.output) == ("succeeded", HELLO)
    assert prediction.cancel_requested_at is not None


# ---------------------------------------------------------------- F25 to F27: webhooks


@pytest.fixture
def public(settings: Any) -> None:
    settings.PUBLIC_URL = PUBLIC


START = {"webhook_id": "msg_1", "body": b'{"id": "p1", "status": "processing"}'}
COMPLETED = {"webhook_id": "msg_2", "body": b'{"id": "p1", "status": "succeeded", "output": ["Lies."]}'}
OF_ANOTHER = {"webhook_id": "msg_3", "body": b'{"id": "p2", "status": "failed", "error": "Lies."}'}


def test_f25_deliveries_change_nothing_in_whichever_order_they_come(
    client: Client, public: None, model: Model, running: Prediction, secret: str
) -> None:
    before = list(Prediction.objects.values())
    for order in itertools.permutations([START, START, COMPLETED, COMPLETED, OF_ANOTHER]):
        running.webhook_deliveries.all().delete()
        assert [deliver(client, running, secret, **delivery).status_code for delivery in order] == [204] * 5
        assert running.webhook_deliveries.count() == 3

    assert list(Prediction.objects.values()) == before


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])), ids=str)
@pytest.mark.usefixtures("public", "worker")
def test_f25_deliveries_in_any_order_beside_the_stream_end_once(
    order: tuple[int, ...], client: Client, model: Model, fake: FakeReplicate, secret: str
) -> None:
    ends: list[Any] = []

    def note(prediction_id: Any, **more: Any) -> None:
        ends.append(prediction_id)

    prediction_ended.connect(note)
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."]))
    prediction = ask(model)
    wait_until(lambda: stored_text(prediction.pk) == "Hello,")
    deliveries = [START, COMPLETED, OF_ANOTHER]
    for number in order:
        assert deliver(client, prediction, secret, **deliveries[number]).status_code == 204
    gate.open()

    assert (ended(prediction).status, prediction.output, prediction.edition) == ("succeeded", HELLO, 0)
    for number in order:
        assert deliver(client, prediction, secret, **deliveries[number]).status_code == 204
    wait_until(lambda: ends)
    assert ends == [prediction.pk]
    prediction_ended.disconnect(note)


def test_f26_without_any_webhook_the_answer_is_polled(
    public: None, model: Model, fake: FakeReplicate, secret: str, worker: WorkerThread
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        fake.webhook_target = f"http://127.0.0.1:{gone.getsockname()[1]}"
    fake.webhook_retries = ()
    fake.script(Script(stream=False))
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("succeeded", HELLO)
    fake.ledger.wait_for(lambda ledger: len(ledger.webhooks) == 2)
    assert {sent.status for sent in fake.ledger.webhooks} == {None}


@pytest.mark.usefixtures("public", "heard")
def test_f27_a_rotation_with_two_secrets_is_not_noticed(
    model: Model, fake: FakeReplicate, secret: str, worker: WorkerThread
) -> None:
    fake.rotate_secret(overlap=True)
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."], stream=False))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("get"))
    gate.open()

    assert ended(prediction).output == HELLO
    fake.ledger.wait_for(lambda ledger: len(ledger.webhooks) == 2)
    assert {sent.status for sent in fake.ledger.webhooks} == {204}
    assert condition(model).secrets == [secret]


# ---------------------------------------------------------------- F29: no such name, no such trust


def test_f29_a_name_that_cannot_be_resolved_is_waited_for(
    model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    resolve = socket.getaddrinfo

    def no_such_name(host: Any, *more: Any, **options: Any) -> Any:
        if host in {"api.replicate.invalid", b"api.replicate.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    move(model.provider, "https://api.replicate.invalid/v1", settings)
    prediction = ask(model)
    wait_until(lambda: row(prediction).attempts and row(prediction).phase == "queued")
    assert condition(model).trouble == "https://api.replicate.invalid cannot be reached."
    move(model.provider, fake.url, settings)

    assert (ended(prediction).status, prediction.output) == ("succeeded", HELLO)


def test_f29_a_certificate_that_nobody_vouches_for_is_not_trusted(
    model: Model,
    fake: FakeReplicate,
    worker: WorkerThread,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: Any,
) -> None:
    with a_server_that_vouches_for_itself(tmp_path) as origin:
        move(model.provider, f"{origin}/v1", settings)
        prediction = ask(model)
        wait_until(lambda: row(prediction).attempts and row(prediction).phase == "queued")
        assert condition(model).trouble == f"{origin} cannot be reached."
        monkeypatch.setitem(PATIENCE, "replicate", timedelta())

        assert (ended(prediction).status, prediction.error) == ("failed", f"{origin} cannot be reached.")
    assert fake.ledger.created == []
