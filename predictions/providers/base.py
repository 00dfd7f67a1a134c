"""What every kind of host can do for a prediction: one small interface."""

from collections.abc import AsyncIterator, Container
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Protocol

from predictions.events import Event, Snapshot, clean
from predictions.models import File, Model, Prediction
from predictions.providers.http import Download, Permit

METRICS = 50  # numbers that are kept of a host's metrics
METRIC_NAME = 100  # characters
LOGS_LIMIT = 262_144  # characters of a log that are listened to; the snapshot tells the rest


@dataclass(frozen=True, slots=True)
class Description:
    """A version of a model, and the model, as the host describes them."""

    identifier: str  # of the version
    openapi_schema: dict[str, Any]
    is_official: bool = False  # asked by its name alone
    is_latest: bool = True  # the host has it answer where nobody names a version
    released_at: datetime | None = None
    description: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # cover_image_url, license_url, run_count …


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as it stands in an input: an address that is good until `until`, or a data URI."""

    address: str
    until: datetime | None = None


class Provider(Protocol):
    """A host of models, as the runner sees it. All errors are of `errors.ProviderError`'s tree."""

    # Whether what was asked for can be found again at the host without its answer to the create.
    chooses_our_ids: bool
    poll_pauses: tuple[float, float]  # seconds between two looks, at first and at most

    def new_id(self, prediction: Prediction) -> str:
        """The id to ask under, or "" where the host chooses it."""
        ...

    def reference(self, prediction: Prediction) -> str:
        """What the host is asked for, as people write it: `owner/name:version`."""
        ...

    async def create(self, prediction: Prediction, given: dict[str, Any], *, permit: Permit | None = None) -> Snapshot:
        """Ask for the prediction with the input `given`. Raises NotTaken, ProviderRefused or AnswerLost.

        `permit` is awaited as late as can be before anything is sent, and what it raises comes through: a worker that
        stood still in between must not ask for what another one has asked for by now.
        """
        ...

    async def find(self, prediction: Prediction, given: dict[str, Any]) -> Snapshot | None:
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

    async def send_file(self, file: File) -> Sent:
        """Give the host a file that is part of an input. Raises NotTaken, ProviderRefused or AnswerLost."""
        ...

    def download(self, address: str) -> AbstractAsyncContextManager[Download]:
        """Open a file of an output. Raises AddressRefused, NotTaken or AnswerLost."""
        ...

    async def describe(self, model: Model, *, version: str = "", known_as: str = "") -> Description:
        """Read the version that answers, or the one named; `known_as` helps where `model` is a bare version's id.

        Raises ProviderRefused if there is no such version (any more).
        """
        ...

    async def versions(self, model: Model, *, known: Container[str], limit: int) -> list[Description]:
        """List the newest versions that are not in `known`, `limit` at most, newest first."""
        ...

    async def webhook_secret(self) -> str:
        """What the host signs its webhooks with; "" if it sends none that are signed."""
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
        METRIC_NAMES.get(name, clean(str(name))[:METRIC_NAME]): value
        for name, value in list(metrics.items())[:METRICS]
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {name: value for name, value in measures.items() if isfinite(value) and value >= 0}


# Models report their token counts under either name.
METRIC_NAMES = {"token_input_count": "input_token_count", "token_output_count": "output_token_count"}
