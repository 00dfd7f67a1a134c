"""The product's own rules on a faster clock, so that a take-over costs half a second.

All waits that depend on each other are divided by one number, so that they keep their proportions.
"""

import sys
from collections.abc import Iterable
from typing import Any

from predictions.providers.replicate import ReplicateProvider

FACTOR = 30  # a lease lasts half a second then
WAITS: dict[str, Iterable[str]] = {
    "predictions.models.prediction": ("LEASE", "WORKER_SILENCE"),
    "predictions.models.condition": ("PAUSES", "PROBE"),
    "predictions.journal": ("RENEWAL", "RETRY_PAUSES"),
    "predictions.worker": ("ANSWER_GRACE",),
    "predictions.database": ("PAUSES",),
    "predictions.runner": (
        *("FIND_AGES", "LAST_LOOKS", "CANCEL_PAUSES", "STOP_PATIENCE"),
        *("QUIET", "NEW_PATIENCE"),
    ),
    "predictions.providers.replicate.provider": ("LAGS",),
}
LOOKS_FACTOR = 5  # looks into the database are what costs most, and nothing else depends on them
LOOKS: dict[str, Iterable[str]] = {
    "predictions.worker": ("LOOK_AGAIN",),
    "predictions.follow": ("LOOK_AGAIN", "LOOK_SELDOM"),
    "chat.tab": ("LOOK_AGAIN", "LOOK_SELDOM", "HEARTBEAT"),
}


def shorten() -> None:
    """Change this process's waits, in every module that knows them; to be called once."""
    for waits, factor in ((WAITS, FACTOR), (LOOKS, LOOKS_FACTOR)):
        for module, names in waits.items():
            for name in names:
                value = getattr(sys.modules[module], name)
                _replace(name, value, _shorter(value, factor))
    ReplicateProvider.poll_pauses = _shorter(ReplicateProvider.poll_pauses, FACTOR)


def _shorter(value: Any, factor: int) -> Any:  # seconds, a timedelta, or a tuple of either
    if isinstance(value, tuple):
        return tuple(_shorter(part, factor) for part in value)
    return value / factor


def _replace(name: str, former: Any, value: Any) -> None:
    """Put `value` in the place of `former`, also where it was imported to."""
    for module in list(sys.modules.values()):
        if module.__name__.startswith(("predictions", "chat")) and getattr(module, name, None) is former:
            setattr(module, name, value)
