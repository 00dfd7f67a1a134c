"""The pace that all workers keep together: never too much in any window, never too little after the wait."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.pace import Pace

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ROUNDING = 0.01  # requests; moments are whole microseconds

paces = st.builds(
    Pace, per_minute=st.sampled_from([0.5, 1, 6, 7, 60, 540, 2_700]) | st.floats(0.1, 6_000), burst=st.integers(1, 300)
)
pauses = st.sampled_from([0.0, 0.0, 0.001, 0.1, 1.0, 10.0]) | st.floats(0, 600)
asks = st.lists(st.tuples(pauses, st.integers(0, 400)), min_size=1, max_size=25)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def grants(pace: Pace, asked: list[tuple[float, int]]) -> list[tuple[datetime, int, int]]:
    """Ask one after the other, each with (seconds since the last, how many); return (moment, wanted, granted)."""
    spent_until = None
    told = []
    for seconds, wanted in zip(accumulate(pause for pause, _ in asked), (wanted for _, wanted in asked), strict=True):
        granted, spent_until = pace.grant(spent_until, after(seconds), wanted)
        told.append((after(seconds), wanted, granted))
    return told


@given(paces, asks)
def test_no_window_of_time_sees_more_than_the_burst_and_the_pace(pace: Pace, asked: list[tuple[float, int]]) -> None:
    told = grants(pace, asked)

    for first, last in combinations(range(len(told)), 2):
        minutes = (told[last][0] - told[first][0]) / timedelta(minutes=1)
        granted = sum(count for _, _, count in told[first : last + 1])
        assert granted <= pace.burst + pace.per_minute * minutes + ROUNDING
    assert all(0 <= granted <= min(wanted, pace.burst) for _, wanted, granted in told)


@given(paces, asks)
def test_after_the_wait_one_more_is_granted_and_not_before(pace: Pace, asked: list[tuple[float, int]]) -> None:
    spent_until, now = None, NOW
    for pause, wanted in asked:
        now += timedelta(seconds=pause)
        _, spent_until = pace.grant(spent_until, now, wanted)
        wait = timedelta(seconds=pace.wait(spent_until, now))
        assert pace.grant(spent_until, now + wait, 1)[0] == 1
        if wait:
            assert pace.grant(spent_until, now + wait - timedelta(microseconds=1), 1)[0] == 0


@given(paces, st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_asking_in_pieces_gives_no_more_and_no_less_than_asking_at_once(pace: Pace, pieces: list[int]) -> None:
    in_pieces = sum(granted for _, _, granted in grants(pace, [(0.0, wanted) for wanted in pieces]))

    assert in_pieces == pace.grant(None, NOW, sum(pieces))[0]


@given(paces, st.lists(st.integers(1, 400), min_size=1, max_size=10))
def test_asking_in_vain_does_not_push_the_next_turn_away(pace: Pace, wanted: list[int]) -> None:
    _, spent_until = pace.grant(None, NOW, pace.burst)

    assert [pace.grant(spent_until, NOW, count) for count in wanted] == [(0, spent_until)] * len(wanted)


def test_a_rested_host_takes_the_burst_and_then_keeps_the_pace() -> None:
    pace = Pace(per_minute=60, burst=5)

    granted, spent_until = pace.grant(None, NOW, 100)
    assert granted == 5
    assert pace.wait(spent_until, NOW) == 1.0
    assert [pace.grant(spent_until, after(seconds), 100)[0] for seconds in (0.5, 1, 2.5, 60)] == [0, 1, 2, 5]


def test_a_long_rest_saves_up_no_more_than_the_burst() -> None:
    pace = Pace(per_minute=6, burst=1)
    _, spent_until = pace.grant(None, NOW, 1)

    assert pace.grant(spent_until, NOW + timedelta(days=300), 100)[0] == 1


def test_who_wants_nothing_gets_nothing() -> None:
    assert Pace(60, 5).grant(None, NOW, 0) == (0, NOW)


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)])
def test_a_clock_that_is_behind_grants_nothing_twice(back: timedelta) -> None:
    pace = Pace(per_minute=60, burst=5)
    _, spent_until = pace.grant(None, NOW, 5)

    assert pace.grant(spent_until, NOW - back, 5) == (0, spent_until)
    assert pace.wait(spent_until, NOW - back) == back.total_seconds() + 1.0


def test_any_pace_a_host_can_name_can_be_kept() -> None:
    for per_minute in (1, 10**6, 10**9, 10**15):
        granted, spent_until = Pace(per_minute, burst=1).grant(None, NOW, 1)
        assert granted == 1
        assert Pace(per_minute, burst=1).wait(spent_until, NOW) <= 60
