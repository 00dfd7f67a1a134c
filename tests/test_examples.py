"""What the examples of hosts say of their models."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.examples import asked_in, made_in

LEAVES = st.none() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda part: st.lists(part) | st.dictionaries(st.text(), part))


def example(**said: Any) -> dict[str, Any]:
    return {"default_example": said}


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (["https://replicate.delivery/x/out-0.webp?a=b.mp3"], "image"),
        ("https://replicate.delivery/x/film.mp4", "video"),
        ("https://replicate.delivery/x/song.wav#t", "audio"),
        ("data:image/png;base64,AAAA", "image"),
        ("https://replicate.delivery/x/mesh.glb", "file"),
        ([], "file"),
        ([["a.png"]], "file"),
        (None, "file"),
    ],
)
def test_a_name_says_what_a_model_makes(output: Any, kind: str) -> None:
    assert made_in(example(output=output)) == kind


def test_a_short_question_is_taken_from_an_example() -> None:
    assert asked_in(example(input={"prompt": " A haiku\n"}), "prompt", longest=20) == "A haiku"
    assert asked_in(example(input={"prompt": "A haiku"}), "prompt", longest=5) == ""
    assert asked_in(example(input={"prompt": ["A haiku"]}), "prompt", longest=20) == ""
    assert asked_in(example(input={"text": "A haiku"}), None, longest=20) == ""


@given(facts=JSON, output=JSON)
def test_whatever_a_host_tells_is_read(facts: Any, output: Any) -> None:
    assert asked_in(facts, "prompt", longest=10) == ""
    assert made_in(facts) == "file"
    assert isinstance(made_in(example(output=output)), str)
