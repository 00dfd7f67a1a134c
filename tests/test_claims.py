"""Who may run a prediction: claims, leases, slots and turns."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from chat.models import User
from predictions.models import Model, Prediction, Provider, Worker
from tests.conftest import make_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def one_slot() -> Model:
    provider = Provider.objects.create(slug="cog", name="Cog", kind="cog", base_url="http://127.0.0.1:1", concurrency=1)
    return make_model(provider, "small")


def ask(model: Model, user: User | None = None, **fields: Any) -> Prediction:
    return Prediction.objects.create(model=model, user=user, input={}, **fields)


def make_worker(name: str) -> Worker:
    return Worker.objects.create(name=name)


def lapse(*predictions: Prediction) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Prediction.objects.filter(pk__in=[prediction.pk for prediction in predictions]).update(leased_until=past)


def test_a_claimed_prediction_is_claimed_once(model: Model) -> None:
    prediction = ask(model)

    assert Prediction.objects.claim(make_worker("one"), limit=5) == [prediction]
    assert Prediction.objects.claim(make_worker("two"), limit=5) == []


def test_a_lapsed_lease_is_taken_over_and_only_then(model: Model) -> None:
    prediction = ask(model)
    one, two = make_worker("one"), make_worker("two")
    Prediction.objects.claim(one, limit=5)
    lapse(prediction)

    [taken] = Prediction.objects.claim(two, limit=5)

    assert taken.worker == two


def test_what_a_worker_still_holds_in_memory_is_left_alone(model: Model) -> None:
    prediction = ask(model)
    worker = make_worker("one")
    Prediction.objects.claim(worker, limit=5)
    lapse(prediction)

    assert Prediction.objects.claim(worker, limit=5, besides=[prediction.pk]) == []


def test_a_provider_gets_no_more_than_its_slots(one_slot: Model) -> None:
    first, second = ask(one_slot), ask(one_slot)
    worker = make_worker("one")

    assert Prediction.objects.claim(worker, limit=5) == [first]
    assert Prediction.objects.claim(worker, limit=5) == []

    Prediction.objects.filter(pk=first.pk).update(status="succeeded", leased_until=None)
    assert Prediction.objects.claim(worker, limit=5) == [second]


def test_an_orphan_keeps_its_slot_and_is_taken_over_first(one_slot: Model) -> None:
    waiting = ask(one_slot, created_at=timezone.now() - timedelta(minutes=1))
    orphan = ask(one_slot, asked_at=timezone.now(), provider_id="p1")

    assert Prediction.objects.claim(make_worker("one"), limit=5) == [orphan]
    assert Prediction.objects.get(pk=waiting.pk).worker is None


def test_one_providers_queue_does_not_hold_up_another(one_slot: Model, model: Model) -> None:
    ask(one_slot), ask(one_slot)
    free = ask(model)

    assert free in Prediction.objects.claim(make_worker("one"), limit=5)


def test_a_model_runs_no_more_at_once_than_it_may_and_holds_up_no_other(model: Model) -> None:
    Model.objects.filter(pk=model.pk).update(concurrency=2)
    other = Model.objects.create(provider=model.provider, ref="acme/other", slug="other", name="Other")
    waiting = [ask(model) for _ in range(4)]
    free = ask(other)
    worker = make_worker("one")

    assert Prediction.objects.claim(worker, limit=9) == [*waiting[:2], free]
    Prediction.objects.filter(pk=waiting[0].pk).update(asked_at=timezone.now())
    assert Prediction.objects.claim(worker, limit=9) == []
    Prediction.objects.filter(pk=waiting[0].pk).update(status="succeeded", leased_until=None)
    assert Prediction.objects.claim(worker, limit=9) == [waiting[2]]


def test_people_take_turns(one_slot: Model, alice: User, charlie: User) -> None:
    a1, a2, a3 = (ask(one_slot, alice) for _ in range(3))
    c1 = ask(one_slot, charlie)

    assert [p.count_ahead() for p in (a1, c1, a2, a3)] == [0, 1, 2, 3]

    Prediction.objects.claim(make_worker("one"), limit=5)
    Prediction.objects.filter(pk=a1.pk).update(asked_at=timezone.now())
    assert [p.count_ahead() for p in (c1, a2, a3)] == [0, 1, 2]


def test_who_was_sent_away_comes_back_when_the_time_has_come(model: Model) -> None:
    later = ask(model, not_before=timezone.now() + timedelta(minutes=1))

    assert Prediction.objects.claim(make_worker("one"), limit=5) == []

    Prediction.objects.filter(pk=later.pk).update(not_before=timezone.now())
    assert Prediction.objects.claim(make_worker("one"), limit=5) == [later]


def test_a_queued_prediction_is_stopped_at_once(model: Model) -> None:
    prediction = ask(model)

    prediction.request_cancel()

    prediction.refresh_from_db()
    assert prediction.status == "canceled"
    assert Prediction.objects.claim(make_worker("one"), limit=5) == []


def test_a_claimed_prediction_is_only_stamped_by_a_stop(model: Model) -> None:
    prediction = ask(model)
    Prediction.objects.claim(make_worker("one"), limit=5)

    prediction.request_cancel()

    prediction.refresh_from_db()
    assert prediction.status == "starting"
    assert prediction.cancel_requested_at is not None


def test_an_ended_prediction_cannot_be_stopped(model: Model) -> None:
    prediction = ask(model, status="succeeded")

    prediction.request_cancel()

    prediction.refresh_from_db()
    assert (prediction.status, prediction.cancel_requested_at) == ("succeeded", None)


def test_those_that_run_are_found_without_reading_all_others() -> None:
    plan = Prediction.objects.active().explain()

    assert "prediction_active" in plan or connection.vendor == "postgresql"  # which reads all of a table this small
