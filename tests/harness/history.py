"""What was seen of a run: plain records of the provider, the database, each tab, and who was killed.

Times are seconds on the starter's monotonic clock. A history can be written as JSON lines and read again.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a person sent; it was sent again until somebody took it."""

    message: str  # its id, made before it was sent
    conversation: str
    owner: str
    canary: str  # stands in the question and in every piece of its answer, and nowhere else
    answer: str  # the provider's final text if nobody stops it
    written: str  # the text as it was streamed
    fate: str = "succeeded"  # how the provider ends it if nobody stops it
    was_taken: bool = True  # somebody said that it is kept
    was_stopped: bool = False  # the person asked for the end, and somebody said yes


@dataclass(frozen=True, slots=True)
class Asked:
    """A prediction as the provider knows it."""

    id: str
    canary: str
    status: str
    began: float  # when it was created, on the provider's clock
    ended: float | None  # None: it still ran when everything else was quiet
    cancels: int = 0  # how often it was asked to end


@dataclass(frozen=True, slots=True)
class Row:
    """A prediction as the database has it in the end."""

    id: str
    conversation: str
    question: str  # the id of the message it answers
    owner: str
    status: str
    output: str
    output_end: int
    edition: int
    error: str
    provider_id: str
    losses: int = 0  # how often nothing came of asking
    chunks: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LateChange:
    """A change of a prediction that had ended already, as the database itself noted it."""

    prediction: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class View:
    """What one tab showed of one answer after one frame, and what the database had of it at that moment or later."""

    tab: str
    prediction: str
    edition: int
    text: str
    stored_edition: int
    stored_end: int
    status: str = ""  # of the end, where the frame told that


@dataclass(frozen=True, slots=True)
class Page:
    """What a tab shows in the end, beside the same page fetched anew: (message id, HTML) in order."""

    tab: str
    person: str
    conversation: str
    shown: tuple[tuple[str, str], ...]
    fetched: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Overheard:
    """A frame with content that came to somebody who may not see that conversation."""

    person: str
    frame: str


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was ended or stopped."""

    role: str
    signal: str
    where: str  # the point, or "at random"


@dataclass(slots=True)
class History:
    scene: str  # what repeats it
    slots: int | None = None  # how many predictions the provider takes at once
    questions: list[Question] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    late_changes: list[LateChange] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    overheard: list[Overheard] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # ends and errors of processes that nobody caused

    def lines(self) -> list[str]:
        """Tell it as JSON, a record a line."""
        told: list[tuple[str, Any]] = [("scene", {"scene": self.scene, "slots": self.slots})]
        for kind in ("kills", "questions", "asked", "rows", "late_changes", "views", "pages", "overheard"):
            told += [(kind, asdict(record)) for record in getattr(self, kind)]
        told += [("unexpected", line) for line in self.unexpected]
        return [json.dumps({kind: record}, ensure_ascii=False) for kind, record in told]
