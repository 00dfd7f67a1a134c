"""A model's thoughts before its answer."""

import pytest

from predictions.thoughts import split_thoughts


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>a\nb</think>\n\nc", "a\nb", "c"),
        ("\n <think>\na\n</think>c", "a", "c"),
        ("<think>\n\n</think>\n\nc", "", "c"),
        ("<think>a", "a", ""),
        ("<think>a</thi", "a</thi", ""),
        ("a\n</think>\n\nc", "a", "c"),
        ("a\n  </think>", "a", ""),
        ("<think>a</think>b</think>c", "a", "b</think>c"),
    ],
)
def test_thoughts_are_told_from_the_answer(text: str, thoughts: str, answer: str) -> None:
    assert split_thoughts(text) == (thoughts, answer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        "a <think>b</think>",
        "It ends with </think> there.",
        "```\n</think>\n```",
        "Write\n<think>\na\n</think>\nfirst.",
    ],
)
def test_an_answer_about_such_marks_is_all_answer(text: str) -> None:
    assert split_thoughts(text) == ("", text)
