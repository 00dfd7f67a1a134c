"""How the versions of a model do, side by side: what an admin looks at before one of them is promoted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from django.db.models import QuerySet

from predictions import clock
from predictions.events import CANCELED, SUCCEEDED, TERMINAL
from predictions.models import Model, Prediction, Version

PERIOD = timedelta(days=30)
ANSWERS = 2_000  # of one version that are looked at, the newest
COLUMNS = ("status", "asked_at", "first_output_at", "completed_at", "metrics", "cost", "rating", "rating_reason")
SHORTEST = 0.2  # seconds; a text that was there sooner came in one piece, and has no speed


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of some answers; None where none of them tells. Times in seconds."""

    answers: int  # that have ended
    succeeded: int
    failed: int
    stopped: int
    first_token_p50: float | None
    first_token_p95: float | None
    tokens_per_second: float | None  # the median, after the first token
    predict_time: float | None  # the median, as the host measured it
    cost: Decimal | None  # of one answer, on average over those whose cost is known
    liked: int = 0  # by the people who asked
    disliked: int = 0
    complaints: tuple[tuple[str, int], ...] = ()  # the reasons of the latter and how often they were given, most first

    @property
    def failure_share(self) -> float | None:
        """Failures among the answers that nobody stopped, 0 to 1."""
        ended = self.succeeded + self.failed
        return self.failed / ended if ended else None


def figures_of(versions: Iterable[Version]) -> dict[int, Figures]:
    """Return the figures of each version's newest answers to people in `PERIOD`, by primary key.

    One query, which is for a few versions: it has a part for each, with a limit of its own.
    """
    rows: dict[int, list[dict[str, Any]]] = {version.pk: [] for version in versions}
    parts = [_newest(key).values("version_id", *COLUMNS) for key in rows]
    for row in Prediction.objects.none().values("version_id", *COLUMNS).union(*parts, all=True):
        rows[row["version_id"]].append(row)
    return {key: figures(answers) for key, answers in rows.items()}


def versions_seen(model: Model) -> QuerySet[Version]:
    """Return the versions that have answered people in `PERIOD`, newest first, without their long documents."""
    seen = _answers().filter(model=model).order_by().values("version")
    return model.versions.filter(pk__in=seen).newest_first().defer("openapi_schema")


def _newest(version: int) -> QuerySet[Prediction]:
    # SQLite takes no limit in a part of a union, but one in what such a part looks for.
    newest = _answers().filter(version=version).order_by("-created_at")
    return Prediction.objects.filter(pk__in=newest.values("pk")[:ANSWERS]).order_by()


def _answers() -> QuerySet[Prediction]:
    return Prediction.objects.filter(
        status__in=TERMINAL, created_at__gt=clock.now() - PERIOD, trial=None, is_background=False
    )


def figures(rows: Sequence[Mapping[str, Any]]) -> Figures:
    """Return the figures of answers that have ended: the `COLUMNS` of each."""
    ends = Counter(row["status"] for row in rows)
    first = sorted(_known(_seconds(row["asked_at"], row["first_output_at"]) for row in rows))
    costs = _known(row["cost"] for row in rows)
    return Figures(
        answers=len(rows),
        succeeded=ends[SUCCEEDED],
        failed=len(rows) - ends[SUCCEEDED] - ends[CANCELED],
        stopped=ends[CANCELED],
        first_token_p50=percentile(first, 50),
        first_token_p95=percentile(first, 95),
        tokens_per_second=percentile(sorted(_known(_speed(row) for row in rows)), 50),
        predict_time=percentile(sorted(_known(_number(row["metrics"].get("predict_time")) for row in rows)), 50),
        cost=sum(costs, Decimal(0)) / len(costs) if costs else None,
        liked=sum(row["rating"] == Prediction.Rating.GOOD for row in rows),
        disliked=sum(row["rating"] == Prediction.Rating.BAD for row in rows),
        complaints=_complaints(rows),
    )


def _complaints(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    bad = [row["rating_reason"] for row in rows if row["rating"] == Prediction.Rating.BAD and row["rating_reason"]]
    return tuple(Counter(bad).most_common())


def percentile(ordered: Sequence[float], share: int) -> float | None:
    """Return the smallest of `ordered` that at least `share` percent do not exceed (nearest rank)."""
    return ordered[max(ceil(len(ordered) * share / 100), 1) - 1] if ordered else None


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _seconds(began: datetime | None, ended: datetime | None) -> float | None:
    return max((ended - began).total_seconds(), 0.0) if began and ended else None


def _speed(row: Mapping[str, Any]) -> float | None:
    return tokens_per_second(row["metrics"], _seconds(row["first_output_at"], row["completed_at"]))


def tokens_per_second(metrics: Mapping[str, Any], writing: float | None) -> float | None:
    """How quickly tokens came after the first one, which was there when the `writing` (seconds) began."""
    tokens = _number(metrics.get("output_token_count"))
    if tokens is None or tokens <= 1 or writing is None or writing < SHORTEST:
        return None
    return (tokens - 1) / writing


def _number(value: Any) -> float | None:  # any JSON
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
