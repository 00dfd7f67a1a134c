"""What every kind of host can do for a prediction: one small interface."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from predictions.events import Event, Snapshot, clean
from predictions.models import Model, Prediction

METRICS = 50  # numbers that are kept of a host's metrics
METRIC_NAME = 100  # characters


@dataclass(frozen=True, slots=True)
class VersionDescription:
    """A model's version as its host describes it."""

    identifier: str
    openapi_schema: dict[str, Any]
    is_official: bool = False
    description: str = ""


class Provider(Protocol):
    """A host of models, as the runner sees it. All errors are of `errors.ProviderError`'s tree."""

    # Whether what was asked for can be found again at the host without its answer to the create.
    chooses_our_ids: bool
    poll_pauses: tuple[float, float]  # seconds between two looks, at first and at most
    patience: float  # seconds without reaching the host before its predictions are given up

    def new_id(self, prediction: Prediction) -> str:
        """The id to ask under, or "" where the host chooses it."""
        ...

    async def create(self, prediction: Prediction) -> Snapshot:
        """Ask for the prediction. Raises NotTaken, ProviderRefused or AnswerLost."""
        ...

    async def find(self, prediction: Prediction) -> Snapshot | None:
        """Look for a prediction whose create was not answered; None if the host surely has none.

        Raises NotTaken or AnswerLost if the host cannot be asked. Never called where ids are ours to choose.
        """
        ...

    def stream(self, prediction: Prediction) -> AsyncIterator[Event]:
        """Yield events until the host's final word.

        Raises StreamInterrupted if it does not come this way, PredictionGone if the host knows nothing of it.
        """
        ...

    async def poll(self, prediction: Prediction) -> Snapshot:
        """Look at it once. Raises PredictionGone, or NotTaken if the host cannot be asked now."""
        ...

    async def cancel(self, prediction: Prediction) -> None:
        """Ask the host to end it; what comes of it is seen by following on."""
        ...

    async def describe(self, model: Model) -> VersionDescription:
        """Read the model's latest version."""
        ...

    async def let_go(self, prediction: Prediction) -> None:
        """Drop what is held open for a prediction that is not watched any longer."""
        ...

    async def close(self) -> None: ...


def metrics_of(metrics: Any) -> dict[str, float]:
    """Keep of a host's metrics what can be measures: a few numbers that are finite and not negative."""
    if not isinstance(metrics, dict):
        return {}
    measures = {
        clean(str(name))[:METRIC_NAME]: value
        for name, value in list(metrics.items())[:METRICS]
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {name: value for name, value in measures.items() if isfinite(value) and value >= 0}


def text_of(output: Any, separator: str = "") -> str | None:
    """Tell a JSON output as text: lists of texts are joined, other JSON is written out; None is None."""
    match output:
        case None:
            return None
        case str():
            return clean(output)
        case list() if all(isinstance(part, str) for part in output):
            return clean(separator.join(output))
        case _:
            return clean(json.dumps(output, indent=2, ensure_ascii=False))
