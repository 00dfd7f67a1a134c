"""The only event-stream reader: bytes in, events out, no I/O.

After the HTML standard, section 9.2.6 "Interpreting an event stream": lines end in CR LF, LF or CR;
exactly one space after the colon is the protocol's; a byte-order mark at the start is skipped; an
unfinished last event is dropped.
"""

from dataclasses import dataclass

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_LIMIT = 1_048_576  # bytes; whoever sends more without a line break is not an event stream


class NotAnEventStream(Exception):
    """The bytes cannot be an event stream."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its name (`message` if none was given), its data, and the last id that was seen."""

    event: str
    data: str
    id: str


class EventStreamParser:
    """Feed it the bytes of one connection, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._at_start = True
        self._after_cr = False
        self._event = ""
        self._data: list[str] = []
        self._data_size = 0
        self._id = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes; raise NotAnEventStream beyond `LINE_LIMIT`."""
        if self._after_cr:  # its line has been taken already: a LF belongs to it
            self._after_cr = not data
            data = data.removeprefix(b"\n")
        data = self._rest + data
        if self._at_start:
            if len(data) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(data):
                self._rest = data
                return []
            self._at_start = False
            data = data.removeprefix(BYTE_ORDER_MARK)
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            raise NotAnEventStream("a line of more than 1 MiB")
        return [event for line in lines if (event := self._take_line(line)) is not None]

    def _take_line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data_size += len(value) + 1  # lines without a word, too
            if self._data_size > LINE_LIMIT:
                raise NotAnEventStream("an event of more than 1 MiB")
            self._data.append(text)
        elif name == b"event":
            self._event = text
        elif name == b"id" and "\0" not in text:
            self._id = text
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event = None
        if self._data:
            event = ServerSentEvent(self._event or "message", "\n".join(self._data), self._id)
        self._event = ""
        self._data = []
        self._data_size = 0
        return event
