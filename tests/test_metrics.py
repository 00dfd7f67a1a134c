"""What `/metrics` tells, to whom, and what it tells while the database is away."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from chat.models import Conversation, User
from predictions import journal, metrics, scrape
from predictions.models import Condition, Model, Prediction, Provider, WebhookDelivery, Worker
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import FakeReplicate, Script
from tests.waiting import wait_until

# The figures are read in a thread of their own, which sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a token for Prometheus"


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(slug="replicate", name="Replicate", kind=Provider.Kind.REPLICATE)


@pytest.fixture
def questions(provider: Provider) -> Model:
    """A model that is asked now and then; nobody answers."""
    return Model.objects.create(provider=provider, ref="meta/llama", slug="llama", name="Llama")


@pytest.fixture
def told(client: Client, settings: Any) -> Any:
    """Return what a scrape tells, by name and labels."""
    settings.METRICS_TOKEN = TOKEN

    def told() -> dict[tuple[str, ...], float]:
        answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        return read(answer.content.decode())

    return told


def read(text: str) -> dict[tuple[str, ...], float]:
    figures: dict[tuple[str, ...], float] = {}
    names = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in names, f"{family.name} is told twice"
        names.add(family.name)
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in figures, f"{key} is told twice"
            figures[key] = sample.value
    return figures


# ---------------------------------------------------------------- who may read it


def test_staff_and_whoever_holds_the_token_read_the_figures(client: Client, alice: User, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200

    User.objects.filter(pk=alice.pk).update(is_staff=True)
    client.force_login(alice)
    assert "parley_database_up 1.0" in client.get("/metrics").content.decode()


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer tökén"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_nobody_else_learns_that_there_are_figures(
    header: str | None, token: str, client: Client, charlie: User, settings: Any
) -> None:
    settings.METRICS_TOKEN = token
    headers = {"authorization": header} if header else {}

    assert client.get("/metrics", headers=headers).status_code == 404
    client.force_login(charlie)
    assert client.get("/metrics", headers=headers).status_code == 404


def test_staff_who_left_read_nothing(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert client.get("/metrics").status_code == 404


# ---------------------------------------------------------------- what it tells


def test_queues_and_waits_are_told_by_provider(told: Any, questions: Model) -> None:
    now = timezone.now()
    ask(questions, created_at=now - timedelta(seconds=90))
    ask(questions)
    ask(questions, asked_at=now, status="processing", leased_until=now + timedelta(seconds=10))
    ask(questions, asked_at=now, lost_at=now, created_at=now - timedelta(seconds=300))
    ask(questions, status="succeeded", created_at=now - timedelta(days=3))

    figures = told()
    phases = {phase: figures["parley_predictions", phase, "replicate"] for phase in scrape.PHASES}
    assert phases == {"queued": 2, "starting": 0, "unknown": 1, "running": 1}
    assert 90 <= figures["parley_oldest_wait_seconds", "replicate"] < 300
    assert 300 <= figures["parley_oldest_prediction_seconds", "replicate"] < 3_000
    assert figures["parley_predictions_unheld", "replicate"] == 1


def test_a_provider_in_trouble_shows(told: Any, provider: Provider) -> None:
    assert told()["parley_provider_up", "replicate"] == 1

    Condition.note_trouble(provider, "It cannot be reached.")
    assert told()["parley_provider_up", "replicate"] == 0
    Condition.note_success(provider)
    assert told()["parley_provider_up", "replicate"] == 1


def test_webhooks_and_delayed_files_are_counted(told: Any, questions: Model) -> None:
    prediction = ask(questions)
    for name, age in (("new", 0), ("old", 2)):
        received_at = timezone.now() - timedelta(hours=age)
        WebhookDelivery.objects.create(delivery_id=name, prediction=prediction, received_at=received_at)
    prediction.files.create(role="output", position=0, name="a.png", retry_at=timezone.now())
    prediction.files.create(role="output", position=1, name="b.png")

    figures = told()
    assert figures["parley_webhook_deliveries", "replicate"] == 1
    assert figures["parley_files_delayed",] == 1


def test_what_living_workers_count_is_told_under_their_names(told: Any) -> None:
    figures = metrics.worker_figures()
    Worker.objects.create(name="one:1", figures={**figures, "parley_takeovers_total": 3})
    Worker.objects.create(name="two:2", figures={**figures, "parley_commit_seconds_bucket|le=0.05": 7})
    long_ago = timezone.now() - timedelta(minutes=1)
    Worker.objects.create(name="dead:3", figures=figures, seen_at=long_ago)

    told_now = told()
    assert told_now["parley_workers",] == 2
    assert told_now["parley_takeovers_total", "one:1"] == 3
    assert told_now["parley_commit_seconds_bucket", "0.05", "two:2"] == 7
    assert told_now["process_cpu_seconds_total", "two:2"] > 0
    assert not any("dead:3" in key for key in told_now)


def test_a_worker_that_was_started_anew_under_its_name_is_told_once(told: Any) -> None:
    Worker.objects.create(name="one:1", figures={"parley_takeovers_total": 3})
    Worker.objects.create(name="one:1", figures={"parley_takeovers_total": 1})

    assert told()["parley_takeovers_total", "one:1"] == 1


def test_figures_of_a_newer_release_are_left_out(told: Any) -> None:
    Worker.objects.create(name="one:1", figures={"parley_to_come_total|kind=new": 1, "parley_takeovers_total": 2})

    figures = told()
    assert figures["parley_takeovers_total", "one:1"] == 2
    assert not any("to_come" in key[0] for key in figures)


def test_a_process_that_is_web_and_worker_is_told_once(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "here")
    monkeypatch.setattr("os.getpid", lambda: 7)
    Worker.objects.create(name="here:7", figures=metrics.worker_figures())

    figures = told()
    assert ("process_resident_memory_bytes",) in figures
    assert ("process_resident_memory_bytes", "here:7") not in figures
    assert ("parley_takeovers_total", "here:7") in figures


def test_an_end_is_counted_with_its_times(told: Any, questions: Model) -> None:
    began = timezone.now()
    times = {"first_output_at": began + timedelta(seconds=2), "completed_at": began + timedelta(seconds=20)}
    before = metrics.worker_figures()
    metrics.note_end(ask(questions, status="succeeded", created_at=began, is_substituted=True, **times))
    metrics.note_end(ask(questions, status="failed", created_at=began, completed_at=began))
    grown = {key: value - before.get(key, 0) for key, value in metrics.worker_figures().items()}

    assert grown["parley_predictions_ended_total|provider=replicate|status=succeeded"] == 1
    assert grown["parley_predictions_ended_total|provider=replicate|status=failed"] == 1
    assert grown["parley_first_text_seconds_sum|provider=replicate"] == pytest.approx(2)
    assert grown["parley_first_text_seconds_bucket|provider=replicate|le=2.5"] == 1
    assert grown["parley_answer_seconds_count|provider=replicate"] == 1
    assert grown["parley_substituted_answers_total|provider=replicate"] == 1


def test_whatever_code_a_browser_sends_the_reasons_stay_few() -> None:
    for code in (None, *range(1000, 5000)):
        metrics.note_closed(code)

    [closed] = metrics.SOCKETS_CLOSED.collect()
    assert {sample.labels["reason"] for sample in closed.samples} == {*metrics.CLOSED.values(), "other"}


def test_nothing_tells_who_asked_or_what(client: Client, alice: User, questions: Model, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    conversation = Conversation.objects.create(owner=alice, title="A secret plan", model=questions)
    prediction = ask(
        questions, user=alice, input={"prompt": "A secret plan"}, urls={"stream": "https://secret.example"}
    )
    metrics.note_end(prediction)
    Worker.objects.create(name="one:1", figures=metrics.worker_figures())
    text = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).content.decode()

    for secret in ("alice", "secret", str(prediction.pk), str(conversation.pk), TOKEN):
        assert secret not in text


def test_a_worker_tells_what_it_did(
    told: Any, model: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "RENEWAL", 0.05)
    fake.script(Script(chunks=["Hello", " there"]))
    name, before = Worker.own_name(), metrics.worker_figures()
    wanted = before.get("parley_predictions_ended_total|provider=replicate|status=succeeded", 0) + 1
    ended(ask(model, version=model.versions.first(), input={"prompt": "Hi"}))

    wait_until(lambda: told().get(("parley_predictions_ended_total", "replicate", "succeeded", name)) == wanted)
    figures = told()
    assert figures["parley_characters_total", name] >= before["parley_characters_total"] + len("Hello there")
    assert figures["parley_commit_seconds_count", name] > before["parley_commit_seconds_count"]
    assert figures["parley_worker_predictions", name] == 0


# ---------------------------------------------------------------- what it tells without the database


def test_without_the_database_the_rest_is_told(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError("the database has gone")

    monkeypatch.setattr(scrape, "read_site", fail)
    figures = told()

    assert figures["parley_database_up",] == 0
    assert ("parley_sockets",) in figures
    assert figures["process_cpu_seconds_total",] > 0
    assert not any(key[0] == "parley_predictions" for key in figures)


def test_a_database_that_hangs_is_not_waited_for(told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "PATIENCE", 0.05)
    with hanging(monkeypatch) as looks:
        assert [told()["parley_database_up",] for _ in range(3)] == [0, 0, 0]
        assert len(looks) == 1

    monkeypatch.setattr(scrape, "PATIENCE", 20.0)
    assert told()["parley_database_up",] == 1


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """Have the database not answer as long as this lasts; yield the threads that ask it."""
    answers, looks, really = threading.Event(), [], scrape.read_site

    def hang() -> scrape.Site:
        looks.append(threading.current_thread())
        answers.wait()
        return really()

    monkeypatch.setattr(scrape, "read_site", hang)
    try:
        yield looks
    finally:
        answers.set()
        for thread in looks:
            thread.join()
        monkeypatch.setattr(scrape, "read_site", really)


def ask(model: Model, **fields: Any) -> Prediction:
    return Prediction.objects.create(model=model, **{"input": {}, **fields})
