"""Replicate's prediction objects as snapshots; keys may be missing, `output` above all. Pure."""

from collections.abc import Callable
from typing import Any

from predictions.events import FAILED, SUCCEEDED, Snapshot, clean
from predictions.models import Prediction
from predictions.outputs import read_output
from predictions.providers.base import metrics_of
from predictions.providers.errors import AnswerLost
from predictions.providers.replicate.words import REMOVED, model_error

ID_LENGTH = 200  # characters; 26 in all recordings
NAME_LENGTH = 250  # characters of `owner/name`


def snapshot_of(prediction: Prediction, data: Any, *, is_file: Callable[[str], bool]) -> Snapshot:
    """Read a prediction object; raise AnswerLost if it is none."""
    if not isinstance(data, dict) or not is_id(data.get("id")):
        raise AnswerLost("Replicate answered with something other than a prediction.")
    urls = data["urls"] if isinstance(data.get("urls"), dict) else {}
    status, error = str(data.get("status")), data.get("error")
    output = data.get("output")
    if data.get("data_removed"):
        output = None
        if status == SUCCEEDED:
            status, error = FAILED, REMOVED
    text, files = read_output(output, prediction.output_kind, separator=prediction.separator, is_file=is_file)
    return Snapshot(
        provider_id=data["id"],
        status=status,
        output=text,
        files=files,
        error=model_error(error, status),
        logs=clean(str(data.get("logs") or "")),
        metrics=metrics_of(data.get("metrics")),
        model=clean(str(data.get("model") or ""))[:NAME_LENGTH],
        version=clean(str(data.get("version") or ""))[:ID_LENGTH],
        urls={name: clean(urls[name]) for name in ("get", "cancel", "stream") if isinstance(urls.get(name), str)},
    )


def is_id(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= ID_LENGTH
