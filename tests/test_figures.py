"""How the versions of a model do."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from predictions.figures import PERIOD, figures_of, percentile, versions_seen
from predictions.models import Model, Prediction, Version

pytestmark = pytest.mark.django_db


def answer(version: Version, *, waits: float = 1.0, writes: float = 2.0, **fields: Any) -> Prediction:
    """An answer whose first token took `waits` seconds, and the others `writes`."""
    asked = fields.pop("asked_at", timezone.now())
    first = asked + timedelta(seconds=waits)
    times = {"asked_at": asked, "first_output_at": first, "completed_at": first + timedelta(seconds=writes)}
    return Prediction.objects.create(
        **{"model": version.model, "version": version, "input": {}, "status": "succeeded", **times, **fields}
    )


def test_times_speed_and_cost_are_told(model: Model) -> None:
    version = model.versions.get()
    for waits in (1.0, 2.0, 3.0, 40.0):
        answer(
            version,
            waits=waits,
            metrics={"predict_time": waits, "output_token_count": 100},
            cost=Decimal("0.10") if waits > 2 else None,
        )
    figures = figures_of([version])[version.pk]

    assert (figures.first_token_p50, figures.first_token_p95) == (2.0, 40.0)
    assert (figures.tokens_per_second, figures.predict_time, figures.cost) == (49.5, 2.0, Decimal("0.10"))


def test_what_people_stopped_is_no_failure(model: Model) -> None:
    version = model.versions.get()
    for status in ("succeeded", "succeeded", "succeeded", "failed", "canceled", "canceled", "processing"):
        answer(version, status=status)
    figures = figures_of([version])[version.pk]

    assert (figures.answers, figures.succeeded, figures.failed, figures.stopped) == (6, 3, 1, 2)
    assert figures.failure_share == 0.25


def test_a_version_that_has_not_answered_tells_nothing(model: Model) -> None:
    version = model.versions.get()
    answer(version, created_at=timezone.now() - PERIOD - timedelta(days=1))
    figures = figures_of([version])[version.pk]

    assert figures.answers == 0
    assert (figures.failure_share, figures.first_token_p50, figures.cost) == (None, None, None)
    assert list(versions_seen(model)) == []


def test_figures_of_several_versions_stand_side_by_side(model: Model) -> None:
    old = model.versions.get()
    new = model.versions.create(identifier="new", released_at=timezone.now())
    answer(old, waits=1.0)
    answer(new, waits=5.0)

    assert list(versions_seen(model)) == [new, old]
    told = figures_of([old, new])
    assert (told[old.pk].first_token_p50, told[new.pk].first_token_p50) == (1.0, 5.0)


@pytest.mark.parametrize(("share", "expected"), [(1, 1), (50, 5), (51, 6), (95, 10), (100, 10)])
def test_percentiles_are_values_that_were_measured(share: int, expected: int) -> None:
    assert percentile(range(1, 11), share) == expected
    assert percentile([], share) is None
