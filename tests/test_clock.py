"""The clock that all workers share, and what a wrong one may do."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from predictions import clock
from predictions.models import Model, Prediction, Worker
from predictions.models.prediction import LEASE

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def true_clock_afterwards() -> Iterator[None]:
    yield
    clock.compare()


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def wrong_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """The clock of this machine is wrong; the one of the database is not."""
    real, wrong_by = timezone.now, request.param
    monkeypatch.setattr(timezone, "now", lambda: real() + wrong_by)
    return wrong_by


def running(model: Model, worker: Worker) -> Prediction:
    now = clock.now()
    return Prediction.objects.create(
        model=model, input={}, asked_at=now, provider_id="p1", worker=worker, leased_until=now + LEASE
    )


def test_a_machine_whose_clock_is_wrong_leaves_the_others_predictions_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (Worker.objects.create(name=name) for name in ("one", "two"))
    running(model, one)
    for wrong_by in (HOUR, -HOUR):
        real = timezone.now
        with monkeypatch.context() as patch:
            patch.setattr(timezone, "now", lambda real=real, wrong_by=wrong_by: real() + wrong_by)
            assert Prediction.objects.claim(two, limit=5) == []


def test_a_machine_whose_clock_is_wrong_gives_leases_of_the_right_length(model: Model, wrong_by: timedelta) -> None:
    Prediction.objects.create(model=model, input={})
    [claimed] = Prediction.objects.claim(Worker.objects.create(name="one"), limit=5)

    assert claimed.leased_until is not None
    true = timezone.now() - wrong_by
    assert abs(claimed.leased_until - true - LEASE) < timedelta(seconds=10)


def test_a_lease_that_a_wrong_clock_has_given_holds_nobody_up(model: Model) -> None:
    one, two = (Worker.objects.create(name=name) for name in ("one", "two"))
    prediction = running(model, one)
    Prediction.objects.update(leased_until=clock.now() + HOUR)

    assert [claimed.pk for claimed in Prediction.objects.claim(two, limit=5)] == [prediction.pk]


def test_a_difference_that_is_only_the_way_to_the_database_is_none(db: None) -> None:
    clock.compare()

    assert abs(clock.now() - timezone.now()) < timedelta(seconds=0.1)
