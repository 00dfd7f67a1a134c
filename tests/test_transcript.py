"""The text of a running prediction, in constant memory."""

from hypothesis import given
from hypothesis import strategies as st

from predictions.transcript import Transcript

pieces = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12)


@given(st.text(max_size=12), pieces)
def test_whatever_is_told_twice_or_early_the_text_is_a_beginning(text: str, told: list[tuple[int, int]]) -> None:
    transcript = Transcript()
    written = ""
    for start, end in told:
        transcript.extend(text[start:end], start)
        offset, new = transcript.take_unwritten()
        assert offset == len(written)
        written += new

    assert text.startswith(written)
    assert transcript.end == len(written)
    assert transcript.is_prefix_of(text)


def test_a_text_beyond_a_gap_is_not_taken() -> None:
    transcript = Transcript("Hel")

    assert not transcript.extend("o", 4)
    assert transcript.extend("llo", 2)
    assert not transcript.extend("llo", 2)
    assert transcript.take_unwritten() == (3, "lo")


def test_another_beginning_is_noticed() -> None:
    transcript = Transcript("Hello")

    assert transcript.is_prefix_of("Hello, world")
    assert not transcript.is_prefix_of("Hallo, world")
    assert not transcript.is_prefix_of("Hell")


def test_offsets_are_code_points() -> None:
    transcript = Transcript("👩‍🚀 é")

    assert transcript.end == 5
    assert transcript.extend("!", 5)
