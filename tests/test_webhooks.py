"""Webhooks: who may tell, what a telling does (have the host looked at, nothing else), and what its mistakes do."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from standardwebhooks import webhooks as standard

from predictions import catalogue, webhooks
from predictions.models import Condition, Model, Prediction
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import Cut, FakeReplicate, Gate, Late, Script, sign
from tests.test_runs import ask
from tests.waiting import wait_until

VECTORS = json.loads((Path(__file__).parent / "data/replicate/webhook-test-vectors.json").read_text())
PUBLIC = "https://chat.example.org"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def public(settings: Any) -> None:
    settings.PUBLIC_URL = PUBLIC


def deliver(client: Client, prediction: Prediction, secret: str, **changes: Any) -> Any:
    """Send a delivery as the host does: signed now, with its body; `changes` spoil it."""
    body = changes.get("body", b'{"id": "p1", "status": "succeeded"}')
    signed = sign(
        body,
        secret=secret,
        webhook_id=changes.get("webhook_id", "msg_1"),
        timestamp=changes.get("timestamp", int(time.time())),
    )
    headers = {**signed, **changes.get("headers", {})}
    path = webhooks.address_for(prediction).removeprefix(PUBLIC)
    return client.post(path, changes.get("sent", body), content_type="application/json", headers=headers)


# ---------------------------------------------------------------- signatures


@pytest.fixture
def when_the_vectors_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.fromtimestamp(int(VECTORS["webhook-timestamp"]), UTC)

    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment

    monkeypatch.setattr(standard, "datetime", Then)


def is_genuine(**changes: str) -> bool:
    vector = {**VECTORS, **changes}
    headers = {name: vector[name] for name in (webhooks.ID, webhooks.TIMESTAMP, webhooks.SIGNATURE)}
    return webhooks.is_genuine(Condition(webhook_secrets=[VECTORS["secret"]]), vector["body"].encode(), headers)


@pytest.mark.parametrize("signature", VECTORS["accept"])
def test_published_signatures_are_accepted(signature: str, when_the_vectors_were_made: None) -> None:
    assert is_genuine(**{"webhook-signature": signature})


@pytest.mark.parametrize("changes", VECTORS["reject"], ids=str)
def test_published_forgeries_are_refused(changes: dict[str, str], when_the_vectors_were_made: None) -> None:
    assert not is_genuine(**{name: value for name, value in changes.items() if name != "why"})


@pytest.mark.parametrize("junk", ["no comma", "v1", ",", "v1,ü", "v1,=", "\x00", " ", "v1,a,b"])
def test_junk_before_a_good_signature_does_not_hide_it(junk: str, when_the_vectors_were_made: None) -> None:
    assert is_genuine(**{"webhook-signature": f"{junk} {VECTORS['webhook-signature']}"})
    assert not is_genuine(**{"webhook-signature": junk})


def test_no_part_of_a_signature_is_one(when_the_vectors_were_made: None) -> None:
    whole = VECTORS["webhook-signature"]

    assert not any(is_genuine(**{"webhook-signature": whole[:length]}) for length in range(len(whole)))
    assert not any(is_genuine(**{"webhook-signature": f"v1,{whole[start:]}"}) for start in range(4, len(whole)))


@pytest.mark.parametrize("broken", ["", "whsec_", "whsec_ü", "whsec_a"])
def test_a_broken_secret_accepts_nothing(broken: str, when_the_vectors_were_made: None) -> None:
    headers = {name: VECTORS[name] for name in (webhooks.ID, webhooks.TIMESTAMP, webhooks.SIGNATURE)}

    assert not webhooks.is_genuine(Condition(webhook_secrets=[broken]), VECTORS["body"].encode(), headers)


# ---------------------------------------------------------------- the door


def test_a_delivery_is_taken_at_once(client: Client, running: Prediction, secret: str) -> None:
    assert deliver(client, running, secret).status_code == 204


@pytest.mark.parametrize("age", [-301, 301, 86_400])
def test_a_stale_delivery_is_refused(age: int, client: Client, running: Prediction, secret: str) -> None:
    assert deliver(client, running, secret, timestamp=int(time.time()) - age).status_code == 401
    assert not running.webhook_deliveries.exists()


def test_only_the_raw_body_counts(client: Client, running: Prediction, secret: str) -> None:
    answer = deliver(client, running, secret, sent=b'{"id":"p1","status":"succeeded"}')

    assert (answer.status_code, running.webhook_deliveries.count()) == (401, 0)


def test_an_unsigned_delivery_is_refused(client: Client, running: Prediction, secret: str) -> None:
    path = webhooks.address_for(running).removeprefix(PUBLIC)

    assert client.post(path, b"{}", content_type="application/json").status_code == 401


def test_another_predictions_token_opens_nothing(client: Client, running: Prediction, model: Model) -> None:
    other = Prediction.objects.create(model=model, input={})
    token = webhooks.address_for(other).rpartition("/")[2]

    assert client.post(f"/webhooks/{running.pk}/{token}", b"{}", content_type="application/json").status_code == 404


def test_nothing_redirects(client: Client, running: Prediction, secret: str) -> None:
    path = webhooks.address_for(running).removeprefix(PUBLIC)

    assert client.post(f"{path}/", b"{}", content_type="application/json").status_code == 404
    assert client.get(path).status_code == 405


def test_a_huge_delivery_is_refused(client: Client, running: Prediction, secret: str) -> None:
    assert deliver(client, running, secret, body=b" " * 9_000_000).status_code == 413


def test_a_delivery_for_a_prediction_that_was_deleted_is_taken(
    client: Client, running: Prediction, secret: str
) -> None:
    path = webhooks.address_for(running).removeprefix(PUBLIC)
    running.delete()

    assert client.post(path, b"{}", content_type="application/json").status_code == 204


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"id": 7}', b"\xff\xfe", b"[" * 100_000])
def test_a_signed_body_that_says_nothing_is_only_a_hint(
    body: bytes, client: Client, running: Prediction, secret: str
) -> None:
    assert deliver(client, running, secret, body=body).status_code in {204, 401}
    running.refresh_from_db()
    assert (running.status, running.provider_id, running.hinted_id) == ("starting", "p1", "")


def test_the_same_delivery_again_changes_nothing(
    client: Client, running: Prediction, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(webhooks.bus, "publish", told.append)
    for _ in range(3):
        assert deliver(client, running, secret).status_code == 204

    assert running.webhook_deliveries.count() == 1
    assert told == [("work", {"look": str(running.pk)})]


# ---------------------------------------------------------------- the secret


def secrets(model: Model) -> list[str]:
    return Condition.objects.of(model.provider).secrets


def test_the_secret_is_read_when_the_worker_starts(
    model: Model, fake: FakeReplicate, wanted_at_once: None, worker: WorkerThread
) -> None:
    wait_until(lambda: secrets(model) == [fake.webhook_secret])

    assert len(fake.ledger.to("secret")) == 1


@pytest.mark.usefixtures("wanted_at_once", "worker")
def test_a_new_secret_is_read_when_a_delivery_does_not_fit(
    client: Client, model: Model, running: Prediction, fake: FakeReplicate
) -> None:
    wait_until(lambda: secrets(model))
    old = fake.webhook_secret
    fake.rotate_secret(overlap=False)

    assert deliver(client, running, fake.webhook_secret).status_code == 401
    wait_until(lambda: secrets(model) == [fake.webhook_secret, old])
    assert deliver(client, running, fake.webhook_secret).status_code == 204
    assert deliver(client, running, old, webhook_id="msg_2").status_code == 204


def test_forgeries_make_the_secret_read_once_a_minute_at_most(model: Model, fake: FakeReplicate, secret: str) -> None:
    Condition.objects.of(model.provider).doubt_secrets()

    assert not catalogue.providers_whose_secret_is_wanted().exists()
    Condition.objects.update(secrets_read_at=timezone.now() - timedelta(seconds=61))
    assert catalogue.providers_whose_secret_is_wanted().exists()


def test_without_a_public_address_no_secret_is_wanted(model: Model, settings: Any) -> None:
    settings.PUBLIC_URL = ""

    assert not catalogue.providers_whose_secret_is_wanted().exists()


# ---------------------------------------------------------------- what a delivery does


def test_a_create_says_where_its_webhook_goes(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    prediction = ended(ask(model))

    [created] = fake.ledger.created
    assert created.body["webhook"] == webhooks.address_for(prediction)
    assert created.body["webhook"].startswith(f"{PUBLIC}/webhooks/{prediction.pk}/")
    assert created.body["webhook_events_filter"] == ["start", "completed"]


def test_without_a_public_address_there_is_no_webhook(
    model: Model, fake: FakeReplicate, worker: WorkerThread, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    ended(ask(model))

    assert "webhook" not in fake.ledger.created[0].body


def test_a_webhook_ends_what_the_poll_would_find_only_later(
    heard: None, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."], stream=False))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: ledger.to("get"))
    gate.open()

    assert ended(prediction).output == "Hello, world."


def test_a_webhook_changes_nothing_that_the_host_does_not_confirm(
    client: Client, model: Model, fake: FakeReplicate, worker: WorkerThread, secret: str
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " world."]))
    prediction = ask(model)
    wait_until(lambda: Prediction.objects.get(pk=prediction.pk).status == "processing")
    lie = json.dumps({"id": "x", "status": "failed", "error": "no", "output": ["Lies."]}).encode()

    gets = len(fake.ledger.to("get"))
    assert deliver(client, prediction, secret, body=lie).status_code == 204
    fake.ledger.wait_for(lambda ledger: len(ledger.to("get")) > gets)
    gate.open()

    assert (ended(prediction).status, prediction.output) == ("succeeded", "Hello, world.")


def test_a_webhook_before_the_create_has_answered(
    heard: None, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    late = Gate()
    fake.script(Script(on_create=Late(late)))
    prediction = ask(model)
    fake.ledger.wait_for(lambda ledger: [sent for sent in ledger.webhooks if sent.delivery.event == "completed"])

    assert Prediction.objects.get(pk=prediction.pk).status == "starting"
    late.open()
    assert (ended(prediction).status, len(fake.ledger.created)) == ("succeeded", 1)


def test_a_webhook_finds_a_create_whose_answer_was_lost(
    heard: None, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    """The list is of no use, and nobody waits for the next look at it."""
    fake.script(Script(on_create=Cut(None, "reset")))
    fake.fail("list", *[Cut(None, "reset")] * 20)
    prediction = ended(ask(model))

    assert (prediction.status, prediction.output) == ("succeeded", "Hello, world.")
    assert prediction.provider_id == fake.ledger.created[0].id


def test_a_webhook_after_the_end_changes_nothing(
    client: Client, model: Model, fake: FakeReplicate, worker: WorkerThread, secret: str
) -> None:
    prediction = ended(ask(model))
    before = list(Prediction.objects.filter(pk=prediction.pk).values())
    gets = len(fake.ledger.to("get"))

    assert deliver(client, prediction, secret).status_code == 204
    assert list(Prediction.objects.filter(pk=prediction.pk).values()) == before
    assert len(fake.ledger.to("get")) == gets


def test_an_answer_is_found_by_the_webhook_that_its_host_repeats(
    model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    """Two people ask the same at the same moment, and both answers to the creates get lost: nobody gets the other's."""
    fake.script(*(Script(on_create=Cut(None, "reset"), echo_webhook=True) for _ in range(2)))
    first, second = ask(model), ask(model)

    for prediction in (ended(first), ended(second)):
        created = fake.ledger.of(prediction.provider_id)
        assert created.body["webhook"] == webhooks.address_for(prediction)
