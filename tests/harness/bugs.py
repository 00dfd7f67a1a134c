"""Ten planted bugs. The checker must find each of them: a proof that never fails proves nothing.

Each is a small patch in a forked process; the product's files stay as they are.
"""

import json
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from predictions import clock, follow, journal, models, runner, webhooks
from predictions.bus import bus
from predictions.events import CANCELED, TERMINAL
from predictions.models import Condition, Prediction
from predictions.models.condition import ConditionQuerySet
from predictions.models.prediction import PredictionQuerySet
from predictions.transcript import Transcript

NOTICEABLE = 0.2  # seconds that a race is held open

BUGS: dict[str, Callable[[], None]] = {}


def plant(name: str) -> None:
    BUGS[name]()


def set_clock(seconds: float) -> None:
    """Make this process's wall clock wrong by so many seconds."""
    real_now, real_time = timezone.now, time.time
    timezone.now = lambda: real_now() + timedelta(seconds=seconds)
    time.time = lambda: real_time() + seconds


def _bug(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        BUGS[name] = function
        return function

    return register


@_bug("told before kept")
def _tell_before_the_commit() -> None:
    real = journal.write_batch

    def write_batch(worker_id: int, held: Any, batch: Any) -> Any:
        bus.publish(*(change.hint for change in batch.changes))
        time.sleep(NOTICEABLE)
        return real(worker_id, held, batch)

    journal.write_batch = write_batch


@_bug("nothing known twice")
def _take_everything() -> None:
    def extend(self: Transcript, text: str, offset: int) -> bool:
        self._take_in(text)
        self._unwritten.append(text)
        self.unwritten_length += len(text)
        return bool(text)

    Transcript.extend = extend


@_bug("no fencing")
def _write_whoever_holds_the_lease() -> None:
    real = journal.write_batch

    def write_batch(worker_id: int, held: Any, batch: Any) -> Any:
        Prediction.objects.filter(pk__in=held).update(worker=worker_id)
        return real(worker_id, held, batch)

    journal.write_batch = write_batch


@_bug("gaps ignored")
def _believe_hints_alone() -> None:
    # The other half of it is in the tab, which puts whatever comes at its text's end.
    def continued(frame: follow.Frame, hints: Any) -> follow.Frame | None:
        newest = hints[-1][1]
        return None if newest.get("phase") in TERMINAL else follow.Frame(prediction=frame.prediction, **newest)

    follow._continued = continued
    follow._tells_nothing_new = lambda before, now: not now.is_last


@_bug("ends overwritten")
def _cancel_what_has_ended() -> None:
    real = Prediction.request_cancel

    def request_cancel(self: Prediction) -> None:
        real(self)
        Prediction.objects.filter(pk=self.pk).update(status=CANCELED)

    Prediction.request_cancel = request_cancel


@_bug("webhooks believed")
def _apply_what_a_webhook_says() -> None:
    def is_genuine(condition: Condition, body: bytes, headers: Any) -> bool:
        told = json.loads(body)
        output = "".join(told.get("output") or [])
        rows = models.Prediction.objects.active().filter(provider_id=told["id"])
        if told["status"] in TERMINAL:
            rows.update(status=told["status"], output=output, output_end=len(output), worker=None, leased_until=None)
        return True

    webhooks.is_genuine = is_genuine


@_bug("cancels not repeated")
def _cancel_once() -> None:
    runner.CANCEL_PAUSES = runner.CANCEL_PAUSES[:1]
    runner.CANCELS = 1


@_bug("slots without a lock")
def _count_slots_without_a_lock() -> None:
    real = PredictionQuerySet.in_turn

    def in_turn(self: PredictionQuerySet, provider: Any) -> Any:
        time.sleep(random.uniform(0, 2 * NOTICEABLE))  # between counting the free slots and filling them
        return real(self, provider)

    ConditionQuerySet.lock = ConditionQuerySet.of
    PredictionQuerySet.in_turn = in_turn


@_bug("access forgotten")
def _show_everything_to_everybody() -> None:
    from chat.models import ConversationQuerySet

    for kind in (PredictionQuerySet, ConversationQuerySet):
        kind.for_user = lambda self, user: self.all()


@_bug("own clock")
def _go_by_this_machines_clock() -> None:
    clock.compare = lambda: None
