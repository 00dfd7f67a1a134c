"""Follow a prediction: what is stored of its text, then the rest as it comes, as one async iterator.

A reader says what it has (`edition`, `after`) and gets frames that continue there. Hints of the bus that fit are
passed on as they are; at any gap, and where none come, the log in the database is read. A slow reader costs an
offset, not a queue: what it has not taken is in the log.
"""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from predictions.bus import Message, bus
from predictions.database import query
from predictions.events import TERMINAL
from predictions.models import Condition, OutputChunk, Prediction, Provider
from predictions.typical import start_in_words

LOOK_AGAIN = 1.0  # seconds without a hint after which the log is read all the same
LOOK_SELDOM = 5.0  # the same where all processes' hints arrive, but for what gets lost
FRAME_TEXT = 32_768  # code points of one frame, but for the last
READ_ATTEMPTS = 3  # a text may be folded or replaced between two queries, hardly ever twice

ROW = (
    *("status", "edition", "output", "output_end", "error", "progress", "file_count"),
    *("asked_at", "lost_at", "started_at", "completed_at", "created_at", "model"),
)
# The place in the queue, the reason to wait, and how long a start usually takes are no part of a hint.
TOLD_BY_THE_ROW = TERMINAL | {"queued", "starting"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What has become of a prediction: its phase, its files, and the text from `offset` to `end` (code points).

    The reader's text is to be replaced when `edition` differs from the one it has.
    """

    prediction: UUID
    edition: int
    offset: int
    end: int
    text: str
    phase: str
    since: str  # when the phase began, ISO 8601
    files: int  # how many there are
    progress: int | None  # percent
    ahead: int = 0
    note: str = ""  # for people: why it is queued, unless all is well; how long it usually takes to start
    has_more: bool = False  # text that did not fit in

    @property
    def is_last(self) -> bool:
        return self.phase in TERMINAL

    @property
    def standing(self) -> tuple[str, str, int | None, int, str]:
        """What it tells besides text and files."""
        return self.phase, self.since, self.progress, self.ahead, self.note


async def follow(
    prediction: UUID, *, edition: int = 0, after: int = 0, among: QuerySet[Prediction] | None = None
) -> AsyncIterator[Frame]:
    """Yield frames until the prediction has ended; the last one `is_last`.

    Raises Prediction.DoesNotExist, also if it is not `among` those that the reader may see.
    """
    topic = f"prediction:{prediction}"
    # Join first, then read: what happens in between arrives twice, never not at all.
    with bus.subscribe(topic) as subscription:
        frame = await query(read_frame, prediction, edition=edition, after=after, among=among)
        yield frame
        while not frame.is_last:
            # A long text comes in several frames, one after the other.
            hints = [] if frame.has_more else await subscription.wait(_patience())
            following = _continued(frame, hints) if hints else None
            if following is None:
                following = await query(read_frame, prediction, edition=frame.edition, after=frame.end)
                if _tells_nothing_new(frame, following):
                    continue
            frame = following
            yield frame


def _patience() -> float:
    # Never the same for all: hundreds of silent readers must not look at the same moment.
    return (LOOK_SELDOM if bus.reaches_others else LOOK_AGAIN) * random.uniform(0.8, 1.2)  # noqa: S311


def read_frame(prediction: UUID, *, edition: int, after: int, among: QuerySet[Prediction] | None = None) -> Frame:
    """Read from the database what a reader lacks that has `edition` up to `after`."""
    rows = Prediction.objects.all() if among is None else among
    for _ in range(READ_ATTEMPTS):
        # The chunks before the row: if the row then says "ended", they were folded into it in the meantime, or
        # the row has it all.
        chunks = list(_chunks_from(prediction, after))
        row = rows.only(*ROW).get(pk=prediction)
        offset = after if row.edition == edition else 0
        if row.is_terminal:
            return _frame(row, offset, row.output[offset:])
        if row.edition != edition:
            chunks = list(_chunks_from(prediction, 0))
        text = _join(chunks, offset)
        if text is not None:
            return _frame(row, offset, text)
        edition, after = row.edition, 0
    return _frame(row, 0, "")


def stored_text(prediction: UUID) -> str:
    """The text of a running prediction, as far as it is journaled."""
    return "".join(OutputChunk.objects.filter(prediction=prediction).values_list("text", flat=True))


def _chunks_from(prediction: UUID, after: int) -> Any:  # (offset, text) rows, in order
    chunks = OutputChunk.objects.filter(prediction=prediction)
    if after:
        last_before = chunks.filter(offset__lte=after).order_by("-offset").values("offset")[:1]
        chunks = chunks.filter(offset__gte=Coalesce(Subquery(last_before), 0))
    # As much as a frame takes, and a little more if there is more.
    return chunks.filter(offset__lte=after + FRAME_TEXT).order_by("offset").values_list("offset", "text")


def _join(chunks: list[tuple[int, str]], after: int) -> str | None:
    """Join the chunks' text beyond `after`; None if something is missing."""
    pieces = []
    end = after
    for offset, text in chunks:
        if offset > end:
            return None
        pieces.append(text[end - offset :])
        end = max(end, offset + len(text))
    return "".join(pieces)


def _frame(row: Prediction, offset: int, text: str) -> Frame:
    phase = row.phase
    is_queued = phase == "queued"
    text, rest = (text, "") if row.is_terminal else (text[:FRAME_TEXT], text[FRAME_TEXT:])
    return Frame(
        prediction=row.pk,
        edition=row.edition,
        offset=offset,
        end=offset + len(text),
        text=text,
        phase=phase,
        since=row.phase_since.isoformat(),
        files=row.file_count,
        progress=row.progress,
        ahead=row.count_ahead() if is_queued else 0,
        note=_note(row),
        has_more=bool(rest),
    )


def _note(row: Prediction) -> str:
    match row.phase:
        case "queued":
            return _why_queued(row.model.provider)
        case "starting":
            return start_in_words(row.model_id)
        case _:
            return ""


def _why_queued(provider: Provider) -> str:
    condition = Condition.objects.select_related("provider").filter(provider=provider).first()
    return condition.reason_to_wait(timezone.now()) if condition else ""


def _continued(frame: Frame, hints: list[tuple[str, Message]]) -> Frame | None:
    """Turn hints into the frame that continues `frame`; None if there is a gap, an end or anything unusual."""
    texts, end = [], frame.end
    for _, hint in hints:
        if hint.get("edition") != frame.edition or hint.get("offset") != end or hint["phase"] in TOLD_BY_THE_ROW:
            return None
        texts.append(hint["text"])
        end = hint["end"]
    if end - frame.end > FRAME_TEXT:
        return None
    newest = {**hints[-1][1], "offset": frame.end, "text": "".join(texts)}
    return Frame(prediction=frame.prediction, **newest)


def _tells_nothing_new(before: Frame, now: Frame) -> bool:
    return replace(now, offset=before.offset, text=before.text) == before
