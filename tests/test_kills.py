"""Processes are killed at every point and at random times, and no answer is lost (docs/proof.md)."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.harness.fleet import Fleet
from tests.harness.scenes import Outcome, Plan, Play, plain
from tests.harness.soak import LANES, Tally, Theatre, run, theatre

AT_RANDOM = 100  # kills, and those of the scenes that are under way by then; the points make some 230
POINTS_LIMIT = 600  # of one worker that answers one question; it has some hundred


@pytest.fixture(scope="module")
def stage() -> Iterator[Theatre]:
    with theatre() as stage:
        yield stage


def kill_at_every_point(stage: Theatre, by: int, step: int) -> Tally:
    """Play the same scene with a worker that dies at its n-th point, for each n, until nobody comes so far."""
    tally = Tally()

    def play(fleet: Fleet, point: int) -> Outcome:
        assert point < POINTS_LIMIT, "this worker never comes to an end"
        plan = Plan(point=point, by=by, has_stranger=False)
        outcome = Play(fleet, f"point {point}", [plain(fleet, pieces=2)], plan, point).run()
        tally.add(point, outcome.history)
        return outcome

    def play_on(points: Iterator[int]) -> None:
        with stage.small_fleet(seed=by) as fleet:
            while not play(fleet, next(points)).is_unhurt:
                pass

    with stage.small_fleet(seed=by) as fleet:
        first = play(fleet, 1).point  # up to the claim all points come in one scene
    points = count(first + 1, step)
    with ThreadPoolExecutor(LANES) as lanes:
        for lane in [lanes.submit(play_on, points) for _ in range(LANES)]:
            lane.result()
    return tally


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("by", "step"), [(signal.SIGKILL, 1), (signal.SIGSTOP, 5), (signal.SIGTERM, 5)])
def test_a_worker_may_end_at_any_point(stage: Theatre, by: signal.Signals, step: int) -> None:
    tally = kill_at_every_point(stage, by, step)

    assert tally.violations == [], tally.report()
    assert tally.total > 50 // step


@pytest.mark.timeout(600)
def test_whoever_is_killed_at_any_time_nothing_is_lost(stage: Theatre) -> None:
    tally = run(stage, AT_RANDOM, seed=1)

    assert tally.violations == [], tally.report()
    assert tally.total >= AT_RANDOM
