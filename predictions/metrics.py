"""What this process counts for Prometheus; `scrape` tells it.

To count is one line where it happens: `metrics.TAKEOVERS.inc()`. It takes about a microsecond, so it is done for each
frame or commit, never for each token. Labels are few: providers, statuses, reasons that are written in the code. None
of them tells who asked, or what.
"""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.samples import Sample

from predictions.events import SUCCEEDED

if TYPE_CHECKING:  # the bus counts too, and the models know the bus
    from predictions.models import Prediction

disable_created_metrics()  # when each was first counted would be as many figures again

# Workers keep these in their rows, from where every web process tells them.
WORKER = CollectorRegistry()
# These are told by workers and web processes alike.
PROCESS = CollectorRegistry()
# These a web process tells of itself.
WEB = CollectorRegistry()

# ---------------------------------------------------------------- workers

RUNNING = Gauge("parley_worker_predictions", "Predictions that the worker runs.", registry=WORKER)
COMMIT_SECONDS = Histogram(
    "parley_commit_seconds",
    "Time that a tick's transaction took; their count is that of the commits.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=WORKER,
)
COMMIT_FAILURES = Counter("parley_commit_failures", "Commits that the database did not take.", registry=WORKER)
CHARACTERS = Counter("parley_characters", "Characters of answers that were committed.", registry=WORKER)
TAKEOVERS = Counter("parley_takeovers", "Predictions that another worker had asked for.", registry=WORKER)
LEASES_LOST = Counter("parley_leases_lost", "Predictions that another worker has taken over.", registry=WORKER)
CREATES_LOST = Counter("parley_creates_lost", "Creates whose answer did not arrive.", registry=WORKER)
STREAMS_BROKEN = Counter("parley_streams_broken", "Event streams that ended before the prediction.", registry=WORKER)
REPLACED_TEXTS = Counter("parley_replaced_texts", "Texts that the host's final one did not continue.", registry=WORKER)
ENDED = Counter("parley_predictions_ended", "Predictions that ended.", ["provider", "status"], registry=WORKER)
SUBSTITUTED = Counter(
    "parley_substituted_answers",
    "Answers of another version than was asked for, as their host says.",
    ["provider"],
    registry=WORKER,
)
FIRST_TEXT_SECONDS = Histogram(
    "parley_first_text_seconds",
    "From the question to the first text of the answer.",
    ["provider"],
    buckets=(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
    registry=WORKER,
)
ANSWER_SECONDS = Histogram(
    "parley_answer_seconds",
    "From the question to the end of an answer that succeeded.",
    ["provider"],
    buckets=(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0),
    registry=WORKER,
)
FILES = Counter(
    "parley_files",
    "Files of answers: kept, late (kept at a retry), delayed (to be tried again), lost.",
    ["outcome"],
    registry=WORKER,
)
FOLDED_LATE = Counter(
    "parley_folded_late",
    "Ended predictions whose chunks housekeeping had to fold.",
    registry=WORKER,
)

# ---------------------------------------------------------------- workers and web processes

BUS_RECEIVED = Counter("parley_bus_received", "Messages of the bus that arrived from Redis.", registry=PROCESS)
BUS_LAPSED = Counter("parley_bus_lapsed", "Times a reader was too slow for the bus and read the log.", registry=PROCESS)
BUS_FAILURES = Counter("parley_bus_failures", "Times that Redis did not take or send messages.", registry=PROCESS)
ProcessCollector(registry=PROCESS)

# ---------------------------------------------------------------- web processes

SOCKETS = Gauge("parley_sockets", "WebSockets that are open.", registry=WEB)
SOCKETS_CLOSED = Counter("parley_sockets_closed", "WebSockets that were closed.", ["reason"], registry=WEB)
STREAMS = Gauge("parley_http_streams", "HTTP event streams and long polls that are open.", registry=WEB)
FRAMES = Counter("parley_frames", "Frames that were sent to browsers.", registry=WEB)
FRAME_BYTES = Counter("parley_frame_bytes", "Bytes of the frames that were sent to browsers.", registry=WEB)
REFUSED = Counter("parley_requests_refused", "Requests and frames beyond a limit.", ["reason"], registry=WEB)
WEBHOOKS = Counter("parley_webhooks", "Webhooks: taken, unsigned, unknown, large.", ["outcome"], registry=WEB)


def note_end(prediction: "Prediction") -> None:
    """Count an end that is in the database, and whether another version answered than was asked for."""
    provider, began = prediction.model.provider.slug, prediction.created_at
    ENDED.labels(provider, prediction.status).inc()
    SUBSTITUTED.labels(provider).inc(prediction.is_substituted)
    if prediction.first_output_at is not None:
        FIRST_TEXT_SECONDS.labels(provider).observe((prediction.first_output_at - began).total_seconds())
    if prediction.status == SUCCEEDED and prediction.completed_at is not None:
        ANSWER_SECONDS.labels(provider).observe((prediction.completed_at - began).total_seconds())


def note_closed(code: int | None) -> None:
    """Count a WebSocket that was closed with `code`; browsers may send any, so few are told apart."""
    SOCKETS_CLOSED.labels(CLOSED.get(code, "other")).inc()


CLOSED = {
    None: "lost",
    1000: "left",
    1001: "left",
    1005: "left",
    1006: "lost",
    1008: "refused",
    1011: "failed",
    1012: "restart",
    4401: "signed out",
}


def worker_figures() -> dict[str, float]:
    """Return what a worker's row keeps: each figure under its name, with its labels as `name|label=value`."""
    families = [family for registry in (WORKER, PROCESS) for family in registry.collect()]
    return {_key(sample): sample.value for family in families for sample in family.samples}


def read_figure(key: str) -> tuple[str, dict[str, str]]:
    """Return the name and the labels that a key of `worker_figures` stands for."""
    name, *labels = key.split("|")
    return name, dict(label.split("=", 1) for label in labels)


def _key(sample: Sample) -> str:
    return "|".join((sample.name, *(f"{label}={value}" for label, value in sample.labels.items())))
