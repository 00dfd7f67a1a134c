"""The event-stream reader, against the cases of web-platform-tests and against httpx-sse."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from predictions.providers import sse
from predictions.providers.sse import LINE_LIMIT, EventStreamParser, NotAnEventStream

CASES = json.loads((Path(__file__).parent / "data/sse/wpt-eventsource.json").read_text())["parser_cases"]


def read(*pieces: bytes) -> list[tuple[str, str, str]]:
    parser = EventStreamParser()
    return [(sent.event, sent.data, sent.id) for piece in pieces for sent in parser.feed(piece)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_conformance_however_the_bytes_are_cut(case: dict[str, Any]) -> None:
    data = base64.b64decode(case["bytes_b64"])
    expected = [(event["event"], event["data"], event["last_event_id"]) for event in case["events"]]

    assert read(data) == expected
    for split in range(len(data) + 1):
        assert read(data[:split], data[split:]) == expected
    assert read(*(data[i : i + 1] for i in range(len(data)))) == expected


def test_exactly_one_space_is_the_protocols() -> None:
    assert read(b"event: output\ndata:  Hello\n\n") == [("output", " Hello", "")]


def test_line_separators_of_unicode_are_text() -> None:
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf"

    assert read(f"data: {text}\n\n".encode()) == [("message", text, "")]


def test_an_unfinished_event_is_not_told() -> None:
    assert read(b"data: whole\n\ndata: half\n") == [("message", "whole", "")]


def test_a_line_without_end_is_refused() -> None:
    parser = EventStreamParser()
    with pytest.raises(NotAnEventStream):
        for _ in range(LINE_LIMIT // 65_536 + 1):
            parser.feed(b"x" * 65_536)


def test_an_event_without_end_is_refused() -> None:
    parser = EventStreamParser()
    with pytest.raises(NotAnEventStream):
        for _ in range(LINE_LIMIT // 60_000 + 2):
            parser.feed(b"data: " + b"x" * 60_000 + b"\n")


def test_an_event_of_empty_lines_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LINE_LIMIT", 100)
    with pytest.raises(NotAnEventStream):
        EventStreamParser().feed(b"data:\n" * 200)


lines = st.sampled_from(
    [
        "data: a",
        "data:b",
        "data:  c ",
        "data",
        "data:",
        "event: output",
        "event:x",
        ": comment",
        "",
        "",
        "other: field",
        "id: 7",
    ]
)


@given(st.lists(lines, max_size=30), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 7))
def test_agrees_with_httpx_sse(stream: list[str], newline: str, piece: int) -> None:
    text = "".join(line + newline for line in [*stream, "data: end", "", ""])
    decoder, splitter = SSEDecoder(), SSELineDecoder()
    theirs = [decoder.decode(line) for line in [*splitter.decode(text), *splitter.flush()]]
    # httpx-sse also tells blocks without data, which the standard drops.
    data_blocks = iter(_blocks_with_data([*stream, "data: end", ""]))
    expected = [(e.event or "message", e.data, e.id) for e in theirs if e is not None and next(data_blocks, False)]

    raw = text.encode()
    assert read(*(raw[i : i + piece] for i in range(0, len(raw), piece))) == expected


def _blocks_with_data(stream: list[str]) -> list[bool]:
    """For each block that httpx-sse tells: whether it has data."""
    told, has_data, has_more, has_id = [], False, False, False
    for line in stream:
        name = line.partition(":")[0]
        if line == "":
            if has_data or has_more or has_id:
                told.append(has_data)
            has_data = has_more = False
        has_data = has_data or name == "data"
        has_more = has_more or (name == "event" and line.partition(":")[2].strip() != "")
        has_id = has_id or name == "id"
    return told
