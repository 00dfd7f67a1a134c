"""How long a model usually takes to start."""

from datetime import timedelta

import pytest
from django.utils import timezone

from predictions import clock, typical
from predictions.follow import read_frame
from predictions.models import Model, Prediction

pytestmark = pytest.mark.django_db


def started(model: Model, *waits: float) -> None:
    asked = timezone.now()
    for wait in waits:
        began = asked + timedelta(seconds=wait)
        Prediction.objects.create(model=model, input={}, status="succeeded", asked_at=asked, started_at=began)


def note(model: Model) -> str:
    """What somebody reads who waits for this model to start."""
    waiting = Prediction.objects.create(model=model, input={}, asked_at=timezone.now())
    return read_frame(waiting.pk, edition=0, after=0).note


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typical, "_known", {})


@pytest.mark.parametrize(
    ("waits", "sentence"),
    [
        ((40, 1, 45), "This model usually takes about 40 s to start."),
        ((200, 190, 210), "This model usually takes about 3 minutes to start."),
        ((1, 2, 3), ""),  # not worth a word
        ((40, 50), ""),  # twice is not usual
        ((), ""),
    ],
)
def test_who_waits_for_a_start_reads_how_long_it_usually_takes(
    waits: tuple[float, ...], sentence: str, model: Model
) -> None:
    started(model, *waits)
    assert note(model) == sentence


def test_it_is_looked_up_anew_after_a_while(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert note(model) == ""
    started(model, 40, 40, 40)
    assert note(model) == ""
    now = clock.steady()
    monkeypatch.setattr(clock, "steady", lambda: now + typical.KEPT + 1)
    assert "40 s" in note(model)
