"""`Prediction.apply`: stream, poll and webhook end alike in whichever order they are heard."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.events import (
    CANCELED,
    FAILED,
    SUCCEEDED,
    Completed,
    Event,
    Failed,
    Logs,
    Output,
    Restarted,
    Snapshot,
    Started,
    clean,
    from_snapshot,
)
from predictions.models import Prediction

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
TEXT = "Paris is the capital."

STREAM = [Started(), Output("Paris ", 0), Output("is the ", 6), Output("capital.", 13)]
POLL = [
    *from_snapshot(Snapshot("p", "starting")),
    *from_snapshot(Snapshot("p", "processing", output="Paris is")),
    *from_snapshot(Snapshot("p", "succeeded", output=TEXT, metrics={"predict_time": 0.2})),
]
WEBHOOK = [
    *from_snapshot(Snapshot("p", "processing")),
    *from_snapshot(Snapshot("p", "succeeded", output=TEXT, metrics={"predict_time": 0.2})),
]


class Reader:
    """Applies events and keeps the text as the journal would."""

    def __init__(self, text: str = "", **fields: Any) -> None:
        self.prediction = Prediction(**fields)
        self.prediction.resume(text)
        self.text = text
        self.editions: list[str] = [text]

    def hear(self, events: Sequence[Event]) -> "Reader":
        for event in events:
            self.prediction.apply(event, at=NOW)
            replaced, self.prediction.text_replaced = self.prediction.text_replaced, False
            offset, new = self.prediction.transcript.take_unwritten()
            self.text = new if replaced else self.text[:offset] + new
            assert self.prediction.transcript.end == len(self.text)
        return self

    @property
    def outcome(self) -> tuple[Any, ...]:
        p = self.prediction
        return p.status, self.text, p.edition, p.error, p.metrics


def merges(*sources: Sequence[Event]) -> Iterator[list[Event]]:
    """Every order in which the sources can be heard, each in its own order."""
    if not any(sources):
        yield []
    for i, source in enumerate(sources):
        if source:
            rest = [*sources[:i], source[1:], *sources[i + 1 :]]
            for merge in merges(*rest):
                yield [source[0], *merge]


def test_every_order_of_stream_poll_and_webhook_ends_alike() -> None:
    outcomes = [Reader().hear(merge).outcome for merge in merges(STREAM, POLL, WEBHOOK)]

    assert len(outcomes) == 1_260
    assert set(map(repr, outcomes)) == {repr((SUCCEEDED, TEXT, 0, "", {"predict_time": 0.2}))}


def test_text_only_grows_in_every_order() -> None:
    for merge in merges(STREAM, POLL):
        reader = Reader()
        for event in merge:
            before = reader.text
            reader.hear([event])
            assert reader.text.startswith(before)


# What each of the three sees, four times each: the stream's pieces, the poll's looks, and those that a webhook causes.
PIECES = [[Started()], [Output("Paris ", 0)], [Output("is the ", 6)], [Output("capital.", 13)]]
POLLED = [Snapshot("p", "starting"), Snapshot("p", "processing", output="Par"), Snapshot("p", "processing")]
LOOKED = [
    Snapshot("p", "processing"),
    Snapshot("p", "processing", output="Paris is"),
    Snapshot("p", "processing", output="Paris is the cap"),
]


def all_merges_of_four_by_three() -> Iterator[list[int]]:
    """Every order of four observations of each of three observers, who are 0, 1 and 2."""
    for first in combinations(range(12), 4):
        rest = [place for place in range(12) if place not in first]
        for second in combinations(rest, 4):
            yield [0 if place in first else 1 if place in second else 2 for place in range(12)]


@pytest.mark.parametrize(
    "end",
    [
        Snapshot("p", "succeeded", output=TEXT, metrics={"predict_time": 0.2}),
        Snapshot("p", "failed", output=TEXT, error="out of memory"),
        Snapshot("p", "canceled", output=TEXT),
    ],
    ids=["succeeded", "failed", "canceled"],
)
def test_all_merges_of_four_observations_of_stream_poll_and_look_end_alike(end: Snapshot) -> None:
    looks = [[from_snapshot(snapshot) for snapshot in [*seen, end]] for seen in (POLLED, LOOKED)]
    observations: list[list[list[Event]]] = [PIECES, *looks]
    outcomes = []
    for merge in all_merges_of_four_by_three():
        heard = [iter(seen) for seen in observations]
        reader = Reader()
        grown = ""
        for event in chain.from_iterable(next(heard[who]) for who in merge):
            reader.hear([event])
            assert reader.text.startswith(grown), "the text shrank or changed"
            grown = reader.text
        outcomes.append(repr(reader.outcome))

    assert len(outcomes) == 34_650
    assert set(outcomes) == {repr((end.status, TEXT, 0, end.error, end.metrics))}


@pytest.mark.parametrize("known", range(len(TEXT) + 1))
def test_goes_on_from_every_offset(known: int) -> None:
    reader = Reader(TEXT[:known], status="processing", started_at=NOW).hear([*STREAM, POLL[-1]])

    assert reader.outcome[:3] == (SUCCEEDED, TEXT, 0)


def test_the_final_text_wins_once() -> None:
    reader = Reader().hear([*STREAM[:2], Completed(SUCCEEDED, output="London.")])

    assert reader.outcome[:3] == (SUCCEEDED, "London.", 1)
    assert reader.hear([*STREAM, Completed(SUCCEEDED, output=TEXT)]).outcome[:3] == (SUCCEEDED, "London.", 1)


def test_a_shorter_final_text_wins_too() -> None:
    assert Reader().hear([*STREAM, Completed(SUCCEEDED, output="Paris")]).outcome[:3] == (SUCCEEDED, "Paris", 1)


def test_a_whole_text_that_says_otherwise_takes_the_place_of_what_was_heard() -> None:
    reader = Reader().hear([Output("Paris ", 0), Output("the capital.", 6)])
    reader.hear(from_snapshot(Snapshot("p", "processing", output="Paris is the capital")))
    assert (reader.text, reader.prediction.edition) == ("Paris is the capital", 1)


def test_an_older_whole_text_changes_nothing() -> None:
    reader = Reader().hear([Output("Paris is ", 0), *from_snapshot(Snapshot("p", "processing", output="Par"))])
    assert (reader.text, reader.prediction.edition) == ("Paris is ", 0)


def test_a_success_that_tells_no_text_keeps_ours() -> None:
    assert Reader().hear([*STREAM, Completed(SUCCEEDED)]).outcome[:2] == (SUCCEEDED, TEXT)


def test_a_failure_keeps_what_was_seen() -> None:
    reader = Reader().hear([*STREAM[:3], Completed(FAILED, output=None, error="out of memory")])

    assert reader.outcome[:4] == (FAILED, "Paris is the ", 0, "out of memory")
    assert Reader().hear([*STREAM[:3], Completed(FAILED, output="Rome")]).text == "Paris is the "


def test_a_text_that_was_stopped_does_not_grow_after_the_stop() -> None:
    reader = Reader(cancel_requested_at=NOW).hear([*STREAM[:2], Completed(CANCELED, output=TEXT)])

    assert reader.outcome[:2] == (CANCELED, "Paris ")


def test_a_success_that_beats_the_stop_is_told_honestly() -> None:
    reader = Reader(cancel_requested_at=NOW).hear([*STREAM[:2], Completed(SUCCEEDED, output=TEXT)])

    assert reader.outcome[:2] == (SUCCEEDED, TEXT)


def test_parleys_own_verdict_keeps_the_text() -> None:
    assert Reader().hear([*STREAM[:2], Failed("Gone."), *POLL]).outcome[:4] == (FAILED, "Paris ", 0, "Gone.")


def test_what_is_asked_again_is_a_new_text() -> None:
    reader = Reader().hear([*STREAM[:2], Restarted(), Output("Lutetia.", 0)])

    assert (reader.text, reader.prediction.edition) == ("Lutetia.", 1)


def test_phases() -> None:
    prediction = Prediction()
    prediction.resume("")
    assert prediction.phase == "queued"
    prediction.note_asked(at=NOW, asked_for="acme/parrot")
    assert prediction.phase == "starting"
    prediction.apply(Started(), at=NOW)
    assert prediction.phase == "running"
    prediction.apply(Completed(SUCCEEDED), at=NOW)
    assert prediction.phase == "succeeded"


def test_an_unknown_status_is_not_an_end() -> None:
    assert from_snapshot(Snapshot("p", "interrupted", output="a")) == [Output("a", 0)]


def test_logs_grow_and_are_bounded() -> None:
    reader = Reader().hear([Logs("one\ntwo\n"), Logs("one\n"), Logs("x" * 100_000)])

    assert len(reader.prediction.logs) == 65_536
    assert reader.hear([Completed(SUCCEEDED, logs="one\n")]).prediction.logs == "one\n"


@given(st.text(st.characters(codec=None), max_size=20))
def test_cleaned_text_can_be_stored(text: str) -> None:
    cleaned = clean(text)

    assert "\x00" not in cleaned
    cleaned.encode()
    assert clean(cleaned) == cleaned


def test_the_halves_of_one_character_are_put_together() -> None:
    assert clean("\ud83d\ude80 \ud83d") == "🚀 \ufffd"
