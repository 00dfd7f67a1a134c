"""What reading an event stream costs: our reader beside httpx-sse's decoder, and the whole way to a prediction.

    .venv/bin/python -m benchmarks.event_stream [--quick] [--json FILE]

A stream of four-character tokens in Replicate's form is read from memory, in chunks of one event (as they come from a
model) and of 16 KiB (as they come after a pause), by three readers: `parser` is ours alone, `path` goes on through
Replicate's event reader and `Prediction.apply`, `httpx-sse` is the other library. They take turns in one run and their
best rounds count: compare the ratios, not the times. Memory is the most that Python holds while it reads a stream of
1 MB, and one of 10 MB: it should not grow.
"""

import argparse
import atexit
import codecs
import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

import django
from httpx_sse._decoders import SSEDecoder, SSELineDecoder

scratch = tempfile.TemporaryDirectory(prefix="parley-benchmark-")
atexit.register(scratch.cleanup)
os.environ["PARLEY_DATA_DIR"] = scratch.name
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()

from predictions.models import Prediction  # noqa: E402 - models exist once Django is set up
from predictions.providers.replicate.stream import EventReader  # noqa: E402
from predictions.providers.sse import EventStreamParser  # noqa: E402

EVENTS, ROUNDS, SIZE = 200_000, 7, 1_000_000  # events of a round; bytes of the stream whose memory is measured
QUICK_EVENTS, QUICK_ROUNDS, QUICK_SIZE = 10_000, 2, 50_000
CHUNK = 16_384  # bytes
EVENTS_A_TICK = 4  # at a hundred tokens a second; the journal takes the text with each tick
BEGAN = 1_698_774_369  # the first second of Replicate's ids
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
TOKENS = (" the", "Pari", "s is", " été", " 日本語", " of ", "llam", ": \u2014 ")

Reader = Callable[[Iterable[bytes]], int]
Figures = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures mean little")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    scale = (QUICK_EVENTS, QUICK_ROUNDS, QUICK_SIZE) if options.quick else (EVENTS, ROUNDS, SIZE)
    figures = measure(*scale)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(events: int, rounds: int, size: int) -> Figures:
    figures = {}
    for name, chunked in (("1 event", one_by_one), ("16 KiB", in_blocks)):
        chunks = list(chunked(islice(stream(), events)))
        seconds = best_times(chunks, events, rounds)
        for reader, best in seconds.items():
            figures[f"{reader}, {name}"] = {
                "events_per_second": events / best,
                "microseconds_per_event": best / events * 1e6,
                "times_as_fast_as_httpx_sse": seconds["httpx-sse"] / best,
                "peak_kib": peak(READERS[reader], chunked, size),
                "peak_kib_of_ten_times_as_much": peak(READERS[reader], chunked, 10 * size),
            }
    return figures


def best_times(chunks: list[bytes], events: int, rounds: int) -> dict[str, float]:
    """Have the readers take turns; return the seconds of the best round of each."""
    times: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(rounds):
        for name, read in READERS.items():
            began = time.perf_counter()
            told = read(chunks)
            times[name].append(time.perf_counter() - began)
            assert told == events, f"{name} told {told} of {events} events"
    return {name: min(each) for name, each in times.items()}


def peak(read: Reader, chunked: Callable[[Iterable[bytes]], Iterator[bytes]], size: int) -> float:
    """Return the KiB that Python holds at most while `read` takes in a stream of `size` bytes."""
    tracemalloc.start()
    try:
        read(chunked(up_to(size, stream())))
        return tracemalloc.get_traced_memory()[1] / 1024
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- the stream


def stream() -> Iterator[bytes]:
    """Yield events as Replicate sends them, without end."""
    for n in count():
        token = TOKENS[n % len(TOKENS)]
        yield f"event: output\nid: {BEGAN + n // 100}:{n % 100}\ndata: {token}\n\n".encode()


def one_by_one(events: Iterable[bytes]) -> Iterator[bytes]:
    yield from events


def in_blocks(events: Iterable[bytes]) -> Iterator[bytes]:
    """Cut the stream every 16 KiB, wherever that is."""
    block = bytearray()
    for event in events:
        block += event
        if len(block) >= CHUNK:
            yield bytes(block[:CHUNK])
            del block[:CHUNK]
    yield bytes(block)


def up_to(size: int, events: Iterable[bytes]) -> Iterator[bytes]:
    for event in events:
        yield event
        size -= len(event)
        if size <= 0:
            return


# ---------------------------------------------------------------- the readers, each returns how many events it was told


def read_with_parser(chunks: Iterable[bytes]) -> int:
    parser = EventStreamParser()
    return sum(len(parser.feed(chunk)) for chunk in chunks)


def read_with_httpx_sse(chunks: Iterable[bytes]) -> int:
    """Decode as httpx and httpx-sse do for a response: bytes, text, lines, events."""
    decoder, splitter, text = SSEDecoder(), SSELineDecoder(), codecs.getincrementaldecoder("utf-8")("replace")
    told = 0
    for chunk in chunks:
        for line in splitter.decode(text.decode(chunk)):
            told += decoder.decode(line) is not None
    return told


def read_into_prediction(chunks: Iterable[bytes]) -> int:
    """Go the whole way of a token but for network, database and bus."""
    parser, reader, prediction = EventStreamParser(), EventReader(), Prediction()
    prediction.resume("")
    told = 0
    for chunk in chunks:
        for sent in parser.feed(chunk):
            for event in reader.read(sent):
                prediction.apply(event, at=NOW)
            told += 1
            if told % EVENTS_A_TICK == 0:
                prediction.transcript.take_unwritten()
    assert prediction.transcript.end == reader.offset, "the prediction does not have the text that was read"
    return told


READERS: dict[str, Reader] = {
    "parser": read_with_parser,
    "path": read_into_prediction,
    "httpx-sse": read_with_httpx_sse,
}


def show(figures: Figures) -> None:
    print(f"{'':20} {'events/s':>10} {'µs/event':>10} {'× httpx-sse':>12} {'peak KiB':>10} {'of 10 × as much':>16}")
    for name, figure in figures.items():
        speed, cost, ratio, memory, more_memory = figure.values()
        print(f"{name:20} {speed:10,.0f} {cost:10.2f} {ratio:12.2f} {memory:10,.0f} {more_memory:16,.0f}")


if __name__ == "__main__":
    main()
