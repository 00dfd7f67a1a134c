"""How long a host usually takes to have a model ready, for people who wait for it."""

from statistics import median

from predictions import clock
from predictions.models import Prediction

LOOKED_AT = 20  # predictions, the newest
FEWEST = 3  # before anything counts as usual
WORTH_SAYING = 5.0  # seconds
KEPT = 60.0  # seconds until it is looked up anew
MOST_KEPT = 500  # models

_known: dict[int, tuple[float, float | None]] = {}  # by model: when it was looked up (steady clock), and what was found


def start_in_words(model: int) -> str:
    """Say how long a model, by its key, usually takes to start; "" where that is not worth a word, or not known."""
    seconds = _typical_start(model)
    if seconds is None or seconds < WORTH_SAYING:
        return ""
    told = f"{round(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} minutes"
    return f"This model usually takes about {told} to start."


def _typical_start(model: int) -> float | None:
    now = clock.steady()
    looked_up, seconds = _known.get(model, (-KEPT, None))
    if now - looked_up < KEPT:
        return seconds
    if len(_known) >= MOST_KEPT:
        _known.clear()
    seconds = _look_up(model)
    _known[model] = now, seconds
    return seconds


def _look_up(model: int) -> float | None:
    started = Prediction.objects.filter(model=model, asked_at__isnull=False, started_at__isnull=False)
    newest = started.order_by("-created_at").values_list("asked_at", "started_at")[:LOOKED_AT]
    waits = [(began - asked).total_seconds() for asked, began in newest if asked and began]
    return median(waits) if len(waits) >= FEWEST else None
