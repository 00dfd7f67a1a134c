"""Replicate's server-sent events as ours, over several connections. No I/O."""

from predictions.events import Event, Logs, Output, Started, clean
from predictions.providers.base import LOGS_LIMIT
from predictions.providers.errors import StreamInterrupted
from predictions.providers.sse import ServerSentEvent

EVENTS_REMEMBERED = 64  # at which a resumed stream may begin


class EventReader:
    """Turns Replicate's server-sent events into ours, over several connections; keeps count of the text's offset.

    After a reconnect the host may go on where it was, repeat some events or all, or leave some out. Where a connection
    begins, the id of its first event tells. `known` is what a snapshot says the text begins with: a stream that says
    otherwise is left.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.offset = 0
        self.last_id = ""
        self.known = ""
        self._position: int | None = None  # where the next event's text begins; None at the start of a connection
        self._first_id = ""
        self._offsets: dict[str, int] = {}  # where the text of the latest events began
        self._logs = ""

    def note_connection(self) -> None:
        self._position = None

    def is_unsure(self, sent: list[ServerSentEvent]) -> bool:
        """Whether a connection goes on with `sent`, and only the prediction can tell if nothing was left out."""
        if self._position is not None or not self.offset:
            return False
        begins = next((event.id for event in sent if event.event == "output"), None)
        return begins is not None and begins != self._first_id and begins not in self._offsets

    def read(self, sent: ServerSentEvent) -> list[Event]:
        """Return what `sent` means; raise StreamInterrupted if it is not of this text."""
        match sent.event:
            case _ if self.is_done:
                return []
            case "output":
                return [self._output(sent)]
            case "logs":
                if len(self._logs) < LOGS_LIMIT:
                    self._logs += clean(sent.data)
                return [Logs(self._logs)]
            case "done":
                self.is_done = True
                return []
            case _:  # `error` is followed by `done`, and the prediction itself says what went wrong
                return []

    def _output(self, sent: ServerSentEvent) -> Event:
        text = clean(sent.data)
        offset = self._find_offset(sent.id) if self._position is None else self._position
        if not text.startswith(self.known[offset : offset + len(text)]):
            raise StreamInterrupted("the stream does not fit what the prediction itself says")
        self._remember(sent.id, offset)
        self._position = offset + len(text)
        self.offset = max(self.offset, self._position)
        if self.offset >= len(self.known):
            self.known = ""
        return Output(text, offset) if text else Started()

    def _find_offset(self, event_id: str) -> int:
        """Return where the text of a connection's first event begins: what is not known continues."""
        if event_id and event_id == self._first_id:
            return 0
        return self._offsets.get(event_id, self.offset)

    def _remember(self, event_id: str, offset: int) -> None:
        if not event_id:
            return
        self.last_id = event_id
        self._first_id = self._first_id or event_id
        self._offsets.setdefault(event_id, offset)
        if len(self._offsets) > EVENTS_REMEMBERED:
            del self._offsets[next(iter(self._offsets))]
