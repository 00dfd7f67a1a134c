"""What can happen to a prediction, whoever says so.

Event stream, poll and webhook are parsed into these few events, and `Prediction.apply` is the only
place that acts on them. Offsets count code points. Pure: no I/O, no database.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

STARTING: Final = "starting"
PROCESSING: Final = "processing"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELED: Final = "canceled"
ABORTED: Final = "aborted"

STATUSES: Final = (STARTING, PROCESSING, SUCCEEDED, FAILED, CANCELED, ABORTED)
TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELED, ABORTED})


@dataclass(frozen=True, slots=True)
class Started:
    """The provider has begun to work on it."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The provider forgot it and was asked again: what comes now is a new text."""


@dataclass(frozen=True, slots=True)
class Output:
    """Some of the text: `text` begins at `offset`. What is already known may be told again."""

    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Logs:
    """All that the model has logged so far."""

    text: str


@dataclass(frozen=True, slots=True)
class Files:
    """All files of the output so far, in order: https addresses at the provider, or data URIs."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Parley's own verdict, when no word of the provider can be had; `error` is for people."""

    error: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The provider's final word. `output` is the whole text, or None where it says nothing of it."""

    status: str
    output: str | None = None
    error: str = ""
    logs: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)  # untrusted numbers, keys vary by model


Event = Started | Restarted | Output | Logs | Files | Failed | Completed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A prediction as its provider shows it at one moment."""

    provider_id: str
    status: str
    output: str | None = None
    files: tuple[str, ...] = ()  # of the output: https addresses at the provider, or data URIs
    error: str = ""
    logs: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    version: str = ""
    urls: dict[str, str] = field(default_factory=dict)  # get, cancel, stream: where given


def from_snapshot(snapshot: Snapshot) -> list[Event]:
    """Tell a snapshot as events; an unknown status counts as not finished."""
    files: list[Event] = [Files(snapshot.files)] if snapshot.files else []
    if snapshot.status in TERMINAL:
        return [
            *files,
            Completed(
                status=snapshot.status,
                output=snapshot.output,
                error=snapshot.error,
                logs=snapshot.logs,
                metrics=snapshot.metrics,
            ),
        ]
    events: list[Event] = []
    if snapshot.status == PROCESSING:
        events.append(Started())
    events += files
    if snapshot.output:
        events.append(Output(snapshot.output, 0))
    if snapshot.logs:
        events.append(Logs(snapshot.logs))
    return events


def merged(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the same events with neighbouring pieces of text made one: half the work for those who act on them."""
    texts: list[str] = []
    begin = end = 0
    for event in events:
        if texts and not (isinstance(event, Output) and event.offset == end):
            yield Output("".join(texts), begin)
            texts.clear()
        if isinstance(event, Output):
            begin = begin if texts else event.offset
            end = event.offset + len(event.text)
            texts.append(event.text)
        else:
            yield event
    if texts:
        yield Output("".join(texts), begin)


def clean(text: str) -> str:
    """Replace what no database stores: NUL characters and halves of surrogate pairs."""
    if "\x00" in text:
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
