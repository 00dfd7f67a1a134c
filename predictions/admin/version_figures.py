"""The versions of a model side by side, in figures: which of them, in which rows, and which value is the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.db.models import Count, Window

from predictions.figures import ANSWERS, PERIOD, Figures, figures_of, versions_seen
from predictions.models import Model, Pin, Prediction, Version
from predictions.prices import format_cost
from predictions.receipts import in_seconds
from predictions.standing import Standing, answering

MOST = 8  # versions beside each other
ENOUGH = 20  # answers, before values of a version are held against another's
SMALLEST_SHARE = 0.001  # that is written in figures
NOT_KNOWN = "–"

Best = Callable[..., Figures]  # min or max
Value = Callable[[Figures], Any]  # what can be compared; None where it is not known


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that versions have: what it is called and means, how it is written, and which one is the best."""

    name: str
    meaning: str
    value: Value
    write: Callable[[Any], str]
    best: Best | None = None
    note: Callable[[Figures], str] = lambda figures: ""

    def words(self, figures: Figures) -> str:
        value = self.value(figures)
        return NOT_KNOWN if value is None else self.write(value)


@dataclass(frozen=True, slots=True)
class Cell:
    words: str
    note: str
    is_best: bool


@dataclass(frozen=True, slots=True)
class Row:
    measure: Measure
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """What the page shows: a column for each of `versions`; `more` have answered, too."""

    versions: list[Version]
    more: int
    rows: list[Row]
    is_empty: bool  # none of them has answered
    days: int = PERIOD.days
    answers: int = ANSWERS
    enough: int = ENOUGH


def table_of(model: Model, now: Standing) -> Table:
    """Return the figures of what `now` names and of what has answered lately; two queries."""
    named = _named(now)
    seen = versions_seen(model).exclude(pk__in=[version.pk for version in named])
    others = list(seen.annotate(count=Window(Count("pk")))[: MOST - len(named)])
    versions = [*named, *others]
    told = figures_of(versions)
    figures = [told[version.pk] for version in versions]
    return Table(
        versions=versions,
        more=others[0].count - len(others) if others else 0,
        rows=[Row(measure, _cells(measure, figures)) for measure in MEASURES],
        is_empty=not any(each.answers for each in figures),
    )


def way_back(now: Standing) -> Pin | None:
    """Return the pin that counted before, if something would answer under it; one query."""
    if now.pin is None or now.pin.replaces_id is None:
        return None
    before = Pin.objects.with_versions().get(pk=now.pin.replaces_id)
    return before if answering(before, lambda: now.latest)[0] else None


def _named(now: Standing) -> list[Version]:
    """What answers now, and what the pin names beside it: four versions at most."""
    pin = now.pin
    named = [now.version, *((pin.version, pin.candidate, pin.fallback) if pin else ())]
    return list(dict.fromkeys(version for version in named if version))


def _cells(measure: Measure, figures: Sequence[Figures]) -> list[Cell]:
    compared = [each for each in figures if each.answers >= ENOUGH and measure.value(each) is not None]
    best = _best(measure, compared)
    return [
        Cell(measure.words(each), measure.note(each), is_best=each in compared and measure.words(each) == best)
        for each in figures
    ]


def _best(measure: Measure, compared: Sequence[Figures]) -> str | None:
    """Return how the best value is written; None where all are written alike, or there are no two of them."""
    if measure.best is None or len({measure.words(each) for each in compared}) < 2:
        return None
    return measure.words(measure.best(compared, key=measure.value))


def _in_percent(share: float) -> str:
    if 0 < share < SMALLEST_SHARE:
        return f"less than {SMALLEST_SHARE:.1%}".replace("%", " %")
    return f"{100 * share:.1f} %" if share else "none"


def _failures(figures: Figures) -> str:
    return f"{figures.failed:,} of {figures.succeeded + figures.failed:,}" if figures.failed else ""


def _stopped(figures: Figures) -> int | None:
    return figures.stopped if figures.answers else None


def _thumbs(figures: Figures) -> tuple[int, int] | None:
    return (figures.liked, figures.disliked) if figures.liked or figures.disliked else None


def _in_thumbs(told: tuple[int, int]) -> str:
    return f"{told[0]:,} up, {told[1]:,} down"


def _complaints(figures: Figures) -> str:
    return ", ".join(f"{Prediction.RatingReason(reason).label}: {count:,}" for reason, count in figures.complaints)


MEASURES = (
    Measure("Answers", "that have ended", attrgetter("answers"), "{:,}".format),
    Measure("Failures", "of those that nobody stopped", attrgetter("failure_share"), _in_percent, min, _failures),
    Measure("Stopped", "by whoever asked", _stopped, "{:,}".format),
    Measure("First token, p50", "half began within", attrgetter("first_token_p50"), in_seconds, min),
    Measure("First token, p95", "19 of 20 began within", attrgetter("first_token_p95"), in_seconds, min),
    Measure("Tokens per second", "median", attrgetter("tokens_per_second"), "{:,.1f}".format, max),
    Measure("Predict time", "at the host, median", attrgetter("predict_time"), in_seconds, min),
    Measure("Cost of an answer", "on average", attrgetter("cost"), format_cost, min),
    Measure("Thumbs", "of the people who asked", _thumbs, _in_thumbs, note=_complaints),
)
