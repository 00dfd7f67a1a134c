"""How a provider is, as all workers share it: its troubles, pace and webhook secrets; and what claims make of it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.models import User
from predictions.models import Condition, Model, Prediction, Provider, Worker, condition
from predictions.pace import Pace
from tests.conftest import make_model

pytestmark = pytest.mark.django_db

REDUCED = 6  # creates a minute, of an account with little credit


class Clock:
    """The time that everything sees; it stands until it is moved on."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands for the machine's clock, and for the database's too."""
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    monkeypatch.setattr("predictions.clock._database_time", clock)
    return clock


@pytest.fixture(autouse=True)
def small_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten questions at once and one a second; five looks at once and one in ten seconds."""
    monkeypatch.setitem(condition.CREATES, Provider.Kind.REPLICATE, Pace(per_minute=60, burst=10))
    monkeypatch.setitem(condition.READS, Provider.Kind.REPLICATE, Pace(per_minute=6, burst=5))


@pytest.fixture
def host(clock: Clock) -> Provider:
    return Provider.objects.create(slug="host", name="Host", kind="replicate", base_url="https://api.replicate.com/v1")


@pytest.fixture
def small(clock: Clock) -> Provider:
    """A host without a pace: a Cog server."""
    return Provider.objects.create(slug="cog", name="Cog", kind="cog", base_url="http://127.0.0.1:1")


def of(provider: Provider) -> Condition:
    return Condition.objects.of(provider)


def take(provider: Provider, wanted: int) -> int:
    """Take creates as a claim does: with the row as the database has it."""
    return of(provider).take_creates(wanted, timezone.now())


def pause_of(provider: Provider) -> float:
    not_before = of(provider).not_before
    assert not_before is not None
    return (not_before - timezone.now()).total_seconds()


# ---------------------------------------------------------------- a host in trouble


def test_a_host_that_was_never_asked_is_well(small: Provider) -> None:
    assert (of(small).trouble, of(small).wait_for_create(timezone.now())) == ("", 0)
    assert take(small, 1_000) == 1_000


def test_a_host_in_trouble_is_left_in_peace_then_tried_with_one_question_until_it_takes_it(
    small: Provider, clock: Clock
) -> None:
    Condition.note_trouble(small, "It cannot be reached.", pause=4.0)

    assert take(small, 5) == 0
    assert of(small).wait_for_create(clock.now) == 4.0
    clock.pass_by(3.9)
    assert take(small, 5) == 0
    clock.pass_by(0.1)
    assert (take(small, 5), take(small, 5)) == (1, 0)

    Condition.note_success(small)
    assert take(small, 5) == 5


def test_a_try_that_nothing_is_heard_of_keeps_the_next_one_waiting_for_a_while(small: Provider, clock: Clock) -> None:
    Condition.note_trouble(small, "It cannot be reached.", pause=0.0)

    assert take(small, 5) == 1
    clock.pass_by(29)
    assert take(small, 5) == 0
    clock.pass_by(1)
    assert take(small, 5) == 1


def test_a_try_that_fails_makes_it_wait_anew(small: Provider, clock: Clock) -> None:
    Condition.note_trouble(small, "It cannot be reached.", pause=1.0)
    clock.pass_by(1)
    take(small, 1)

    Condition.note_trouble(small, "It still cannot be reached.", pause=2.0)
    clock.pass_by(1.9)
    assert take(small, 1) == 0
    clock.pass_by(0.1)
    assert take(small, 1) == 1


def test_pauses_double_up_to_a_bound(small: Provider, clock: Clock) -> None:
    pauses = []
    for _ in range(40):
        Condition.note_trouble(small, "It cannot be reached.")
        pauses.append(pause_of(small))

    for pause, expected in zip(pauses, [1, 2, 4, *[8] * 37], strict=True):
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert len(set(pauses[3:])) > 1  # so that the workers do not all come at once


def test_pauses_begin_small_again_after_a_success(small: Provider) -> None:
    for _ in range(5):
        Condition.note_trouble(small, "It cannot be reached.")
    Condition.note_success(small)

    Condition.note_trouble(small, "It cannot be reached.")
    assert 0.8 <= pause_of(small) <= 1.2


def test_a_trouble_tells_since_when_and_what_it_is_now(small: Provider, clock: Clock) -> None:
    began = clock.now
    Condition.note_trouble(small, "It cannot be reached.")
    clock.pass_by(60)
    Condition.note_trouble(small, "It has trouble (error 503).")

    ill = of(small)
    assert (ill.trouble, ill.trouble_since, ill.failures) == ("It has trouble (error 503).", began, 2)

    Condition.note_success(small)
    well = of(small)
    assert (well.trouble, well.trouble_since, well.failures, well.not_before) == ("", None, 0, None)


def test_the_trouble_of_one_host_is_not_anothers(small: Provider, host: Provider) -> None:
    Condition.note_trouble(small, "It cannot be reached.")

    assert take(host, 5) == 5
    Condition.note_success(host)
    assert of(small).trouble == "It cannot be reached."


# ---------------------------------------------------------------- its pace


def test_creates_keep_the_pace(host: Provider, clock: Clock) -> None:
    assert [take(host, 7), take(host, 7), take(host, 7)] == [7, 3, 0]
    assert of(host).wait_for_create(clock.now) == 1.0
    clock.pass_by(2.5)
    assert take(host, 7) == 2


def test_who_takes_nothing_has_spent_nothing(host: Provider) -> None:
    assert take(host, 0) == take(host, -1) == 0
    assert take(host, 100) == 10


def test_a_reduced_pace_holds_at_once_and_for_ten_minutes(host: Provider, clock: Clock) -> None:
    take(host, 1)
    Condition.note_reduced_pace(host, REDUCED)

    taken = []
    for _ in range(10 * 60):
        clock.pass_by(1)
        taken.append(take(host, 5))
    assert sum(taken[:-1]) == 60
    assert max(taken[:-1]) == 1

    clock.pass_by(60)
    assert take(host, 100) == 10


def test_a_reduced_pace_counts_what_was_asked_before_it(host: Provider, clock: Clock) -> None:
    """What used the whole burst up is not forgotten: Replicate counts it too."""
    assert take(host, 10) == 10
    Condition.note_reduced_pace(host, REDUCED)

    assert take(host, 1) == 0
    assert of(host).wait_for_create(clock.now) == 10.0


def test_a_reduction_can_be_renewed(host: Provider, clock: Clock) -> None:
    of(host)
    Condition.note_reduced_pace(host, REDUCED)
    clock.pass_by(9 * 60)
    Condition.note_reduced_pace(host, REDUCED)
    clock.pass_by(9 * 60)

    assert take(host, 100) == 1


@pytest.mark.parametrize("per_minute", [6_000, 10**9])
def test_a_reduction_never_quickens(host: Provider, clock: Clock, per_minute: float) -> None:
    of(host)
    Condition.note_reduced_pace(host, per_minute)

    taken = 0
    for _ in range(100):
        taken += take(host, 5)
        clock.pass_by(0.1)
    assert taken <= 10 + 10


def test_a_trouble_and_a_reduced_pace_hold_together(host: Provider, clock: Clock) -> None:
    take(host, 1)
    Condition.note_trouble(host, "Replicate’s rate limit is reached.", pause=3.0)
    Condition.note_reduced_pace(host, REDUCED)

    assert of(host).wait_for_create(clock.now) == 3.0
    clock.pass_by(3)
    assert take(host, 5) == 1
    Condition.note_success(host)
    assert take(host, 5) == 0
    assert of(host).wait_for_create(clock.now) == 10.0


def test_a_pause_that_finds_no_room_in_the_pace_does_not_cost_the_try(host: Provider, clock: Clock) -> None:
    take(host, 10)
    Condition.note_trouble(host, "It has trouble.", pause=0.0)

    assert take(host, 1) == 0
    clock.pass_by(1)
    assert take(host, 1) == 1


def test_looks_that_several_workers_take_together_keep_the_pace(host: Provider, clock: Clock) -> None:
    took = Counter[int]()
    began = clock.now
    for turn in range(600):
        worker = turn % 3
        granted, wait = Condition.take_reads(host, 2)
        took[worker] += granted
        assert granted or wait > 0
        minutes = (clock.now - began) / timedelta(minutes=1)
        assert took.total() <= 5 + 6 * minutes
        clock.pass_by(1)

    assert took.total() >= 6 * 10  # and none of it is wasted
    assert min(took.values()) > 0


def test_a_look_is_granted_after_the_wait_that_was_told(host: Provider, clock: Clock) -> None:
    assert Condition.take_reads(host, 5)[0] == 5
    granted, wait = Condition.take_reads(host, 5)
    assert (granted, wait) == (0, 10.0)

    clock.pass_by(wait)
    assert Condition.take_reads(host, 5)[0] == 1


def test_looks_and_creates_are_counted_apart(host: Provider) -> None:
    assert Condition.take_reads(host, 5)[0] == 5
    assert take(host, 10) == 10


def test_a_host_without_a_pace_is_looked_at_freely(small: Provider) -> None:
    assert [Condition.take_reads(small, 100) for _ in range(3)] == [(100, 0.0)] * 3


# ---------------------------------------------------------------- webhook secrets


def test_the_newest_secret_and_the_one_before_it_are_kept(host: Provider, clock: Clock) -> None:
    for secret in ("whsec_one", "whsec_two", "whsec_three"):
        Condition.note_secret(host, secret)

    assert of(host).secrets == ["whsec_three", "whsec_two"]
    assert of(host).secrets_read_at == clock.now


def test_the_same_secret_again_does_not_push_the_other_out(host: Provider) -> None:
    for secret in ("whsec_one", "whsec_two", "whsec_two", "whsec_two"):
        Condition.note_secret(host, secret)
    assert of(host).secrets == ["whsec_two", "whsec_one"]

    Condition.note_secret(host, "whsec_one")
    assert of(host).secrets == ["whsec_one", "whsec_two"]


def test_secrets_are_doubted_without_being_forgotten(host: Provider, clock: Clock) -> None:
    Condition.note_secret(host, "whsec_one")
    clock.pass_by(60)
    of(host).doubt_secrets()

    doubted = of(host)
    assert doubted.secrets == ["whsec_one"]
    assert doubted.secrets_doubted_at == clock.now
    assert doubted.secrets_read_at == clock.now - timedelta(minutes=1)


# ---------------------------------------------------------------- what claims make of it


@pytest.fixture
def model(host: Provider) -> Model:
    return make_model(host, "meta/chat")


@pytest.fixture
def workers(clock: Clock) -> Iterator[tuple[Worker, Worker]]:
    return Worker.objects.create(name="one"), Worker.objects.create(name="two")


def ask(model: Model, count: int, user: User | None = None, **fields: Any) -> list[Prediction]:
    """Ask `count` questions, one after the other although the clock stands."""
    asked_at = [{"created_at": timezone.now() + timedelta(microseconds=n), **fields} for n in range(count)]
    return [Prediction.objects.create(model=model, user=user, input={}, **times) for times in asked_at]


def claim(worker: Worker, limit: int = 200) -> list[Prediction]:
    """Claim as a worker does, have it asked for and answered, and return it, the oldest first."""
    claimed = Prediction.objects.claim(worker, limit=limit)
    now = timezone.now()
    rows = Prediction.objects.filter(pk__in=[prediction.pk for prediction in claimed])
    rows.update(asked_at=now, status="succeeded", completed_at=now, leased_until=None)
    return sorted(claimed, key=lambda prediction: prediction.created_at)


def test_a_burst_of_questions_is_claimed_at_the_pace(
    model: Model, workers: tuple[Worker, Worker], clock: Clock
) -> None:
    questions = ask(model, 100)

    claimed = claim(workers[0])
    counts = [len(claimed)]
    for _ in range(90):
        clock.pass_by(1)
        more = claim(workers[0])
        counts.append(len(more))
        claimed += more

    assert counts == [10] + [1] * 90
    assert claimed == questions


def test_two_workers_together_do_not_exceed_the_pace(
    model: Model, workers: tuple[Worker, Worker], clock: Clock
) -> None:
    ask(model, 100)

    assert [len(claim(worker, limit=7)) for worker in workers] == [7, 3]
    counts = Counter[int]()
    for turn in range(60):
        clock.pass_by(0.7)
        counts[turn % 2] += len(claim(workers[turn % 2]))
    assert counts.total() == 42
    assert min(counts.values()) > 0


def test_turns_stay_fair_at_the_pace(
    model: Model, workers: tuple[Worker, Worker], clock: Clock, alice: User, charlie: User
) -> None:
    many = ask(model, 40, alice)
    few = ask(model, 8, charlie)

    first = claim(workers[0])
    assert Counter(prediction.user for prediction in first) == {alice: 5, charlie: 5}
    assert {prediction.pk for prediction in first} == {prediction.pk for prediction in (*many[:5], *few[:5])}

    turns = []
    for _ in range(8):
        clock.pass_by(1)
        turns += [prediction.user for prediction in claim(workers[0])]
    assert Counter(turns[:6]) == {alice: 3, charlie: 3}
    assert turns[6:] == [alice, alice]


def test_a_host_in_trouble_gets_one_question_at_a_time(
    model: Model, workers: tuple[Worker, Worker], clock: Clock
) -> None:
    questions = ask(model, 20)
    Condition.note_trouble(model.provider, "It cannot be reached.", pause=5.0)

    assert [claim(worker) for worker in workers] == [[], []]
    clock.pass_by(5)
    assert [claim(worker) for worker in workers] == [[questions[0]], []]

    Condition.note_trouble(model.provider, "It cannot be reached.", pause=5.0)
    clock.pass_by(5)
    assert [claim(worker) for worker in workers] == [[questions[1]], []]

    Condition.note_success(model.provider)
    clock.pass_by(10)
    assert claim(workers[1]) == questions[2:12]


def test_a_reduced_pace_is_kept_by_claims_too(model: Model, workers: tuple[Worker, Worker], clock: Clock) -> None:
    ask(model, 20)
    of(model.provider)
    Condition.note_reduced_pace(model.provider, REDUCED)

    assert [len(claim(worker)) for worker in workers] == [1, 0]
    clock.pass_by(9.9)
    assert [len(claim(worker)) for worker in workers] == [0, 0]
    clock.pass_by(0.1)
    assert [len(claim(worker)) for worker in workers] == [1, 0]


def test_what_was_asked_already_is_taken_over_whatever_the_pace(
    model: Model, workers: tuple[Worker, Worker], clock: Clock
) -> None:
    """An orphan costs no create: its answer may be there."""
    ask(model, 20)
    claim(workers[0])
    orphans = ask(model, 3, asked_at=clock.now, provider_id="p1")
    Condition.note_trouble(model.provider, "It cannot be reached.", pause=60.0)

    assert {p.pk for p in Prediction.objects.claim(workers[1], limit=50)} == {p.pk for p in orphans}


def test_a_queue_that_waits_for_the_pace_does_not_hold_up_another_host(
    model: Model, small: Provider, workers: tuple[Worker, Worker]
) -> None:
    ask(model, 20)
    claim(workers[0])
    elsewhere = ask(make_model(small, "small"), 3)

    assert claim(workers[0]) == elsewhere
