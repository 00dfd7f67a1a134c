"""How far a model says it is."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.progress import progress_of

EXCHANGES = json.loads((Path(__file__).parent / "data/recordings/exchanges.json").read_text())
BAR = " 38%|███▊      | 19/50 [00:01<00:01, 15.97it/s]"


def recorded_logs(cassette: str) -> list[str]:
    """Return the logs of a recorded prediction, look by look."""
    bodies = [json.loads(entry["response"]["text"]) for entry in EXCHANGES if entry["cassette"] == cassette]
    return [body["logs"] for body in bodies if "logs" in body]


def test_a_recorded_picture_comes_nearer_look_by_look() -> None:
    shown = [progress_of(logs) for logs in recorded_logs("run")]

    assert shown == [None, None, None, 0, 18, 38, 58, 78, 98, 98, 98, 100]


def test_each_line_of_a_recorded_log_shows_what_it_says() -> None:
    bars = [line for line in recorded_logs("run")[-1].splitlines() if "%" in line]

    assert len(bars) == 27
    assert [progress_of(bar) for bar in bars] == [int(bar.partition("%")[0]) for bar in bars]


def test_a_log_without_a_bar_shows_nothing() -> None:
    assert progress_of("") is None
    assert progress_of("Using seed: 42069\nPrompt: 50% more | 1/2 llamas\ntxt2img mode\n") is None


def test_the_newest_of_several_bars_counts() -> None:
    first, second = "100%|██████████| 16/16 [00:02<00:00,  7.81it/s]", " 20%|██        | 1/5 [00:00<00:00,  7.47it/s]"

    assert progress_of(f"{first}\n{second}") == 20
    assert progress_of(f"{second}\n{first}") == 100


def test_what_is_said_after_a_bar_does_not_hide_it() -> None:
    assert progress_of(f"{BAR}\nstill painting\n\n") == 38


def test_a_bar_that_is_long_past_is_not_shown() -> None:
    assert progress_of(BAR + "\nsaved a picture" * 50) is None


@pytest.mark.parametrize("newline", ["\r", "\n", "\r\n", "\n\r"])
def test_a_bar_that_writes_over_itself_is_read_at_its_end(newline: str) -> None:
    logs = newline.join(f"{percent:3}%|#####     | {percent}/100" for percent in range(0, 78, 7))

    assert progress_of(logs) == 77
    assert progress_of(logs + newline) == 77


@pytest.mark.parametrize(
    ("bar", "percent"),
    [
        ("Loading weights:  38%|███▊      | 19/50 [00:01<00:01]", 38),
        ("step 2/3: sampling: 7%|▋| 7/100", 7),
        ("38%|███▊      |19/50", 38),
        ("38% |###       | 19/50", 38),
        ("\t  0%|          | 0/50 [00:00<?, ?it/s]", 0),
        ("100%|██████████| 50/50 [00:03<00:00, 14.13it/s]", 100),
        ("120%|██████████| 60/50 [00:03<00:00, 14.13it/s]", 100),
        ("38%|\x1b[32m███▊\x1b[0m      | 19/50", 38),
    ],
)
def test_bars_in_several_dresses(bar: str, percent: int) -> None:
    assert progress_of(bar) == percent


@pytest.mark.parametrize(
    "line",
    [
        "38%",
        "38% done",
        "38%|███▊",
        "38%|███▊      | many",
        "-5%|███▊      | 19/50",
        "3.8%|███▊      | 19/50",
        "1000%|███▊      | 19/50",
        "%|███▊      | 19/50",
        "a 38%|███▊      | 19/50",
        "| 38% | 19/50 |",
        "19/50",
        "nan%|x| 1/2",
        "38\x00%|x| 1/2",
    ],
)
def test_what_only_looks_like_a_bar_is_none(line: str) -> None:
    assert progress_of(line) is None
    assert progress_of(f"{BAR}\n{line}") == 38


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_log_shows_a_percentage_or_nothing(logs: str) -> None:
    shown = progress_of(logs)

    assert shown is None or 0 <= shown <= 100
    assert progress_of(f"{logs}\n{BAR}") == 38


@pytest.mark.parametrize("length", [3_900, 4_000, 1_000_000])
def test_a_huge_log_shows_the_bar_at_its_end(length: int) -> None:
    assert progress_of("x" * length + "\n" + BAR) == 38
    assert progress_of((BAR + "\r") * (length // len(BAR))) == 38


def test_a_bar_is_never_read_from_its_middle() -> None:
    """Only the end of a log is looked at, and the place where that begins may be within a number."""
    logs = "Downloading: 138 of 200\n" + BAR + "\n"

    shown = {progress_of(logs + "x" * more) for more in range(3_800, 4_100)}

    assert shown <= {38, None}


@pytest.mark.parametrize(
    "nasty", ["100%|" + "|" * 4_000, "100%|" + "| " * 2_000, ":" * 4_000, " " * 4_000, "1%" * 2_000]
)
def test_a_log_made_to_be_slow_is_read_all_the_same(nasty: str) -> None:
    assert progress_of(nasty * 100) is None
