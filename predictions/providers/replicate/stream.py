"""Replicate's server-sent events as ours, over several connections. No I/O."""

from collections import OrderedDict

from predictions.events import Event, Logs, Output, Started, clean
from predictions.providers.errors import StreamInterrupted
from predictions.providers.sse import ServerSentEvent

EVENTS_REMEMBERED = 4_096  # whose repetition is noticed
LOGS_LIMIT = 262_144  # characters of a log that are listened to; the snapshot tells the rest


class EventReader:
    """Turns Replicate's server-sent events into ours, over several connections; keeps count of the text's offset.

    After a reconnect the host may go on where it was, repeat some events or all, or leave some out. Repeated events are
    known by their ids. `known` is what a snapshot says the text begins with: a stream that says otherwise is left.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.offset = 0
        self.last_id = ""
        self.known = ""
        self._offsets: OrderedDict[str, int] = OrderedDict()  # where the text of the latest events began
        self._previous_id: str | None = None
        self._logs = ""

    def note_connection(self) -> None:
        self._previous_id = None

    def read(self, sent: ServerSentEvent) -> list[Event]:
        """Return what `sent` means; raise StreamInterrupted if it is not of this text."""
        match sent.event:
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
        offset = self._find_offset(sent.id)
        if not text.startswith(self.known[offset : offset + len(text)]):
            raise StreamInterrupted("the stream does not fit what the prediction itself says")
        self.offset = max(self.offset, offset + len(text))
        if self.offset >= len(self.known):
            self.known = ""
        return Output(text, offset) if text else Started()

    def _find_offset(self, event_id: str) -> int:
        # An event without an id carries the one before it.
        has_own_id = event_id not in ("", self._previous_id)
        self._previous_id = event_id
        if not has_own_id:
            return self.offset
        self.last_id = event_id
        offset = self._offsets.setdefault(event_id, self.offset)
        if len(self._offsets) > EVENTS_REMEMBERED:
            self._offsets.popitem(last=False)
        return offset
