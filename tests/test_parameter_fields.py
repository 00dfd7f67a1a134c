"""What the composer's panel shows for each input of a version."""

from typing import Any

import pytest

from predictions.families import Family
from predictions.parameter_fields import FIELDS_MOST, Control, controls_for, parameters_of, text_of
from predictions.schema import Input, InputKind

FAMILY = Family(prompt="prompt", system_prompt="system_prompt", messages="", seed="seed")


def control(kind: InputKind, name: str = "x", given: dict[str, Any] | None = None, **fields: Any) -> Control:
    [found] = controls_for({name: Input(name, kind, name.title(), **fields)}, FAMILY, given or {})
    return found


def test_what_the_chat_fills_in_and_what_is_secret_is_not_shown() -> None:
    kinds = {
        "prompt": InputKind.TEXT,
        "system_prompt": InputKind.TEXT,
        "image": InputKind.FILE,
        "images": InputKind.FILES,
        "token": InputKind.SECRET,
        "top_k": InputKind.INTEGER,
    }
    inputs = {name: Input(name, kind, name) for name, kind in kinds.items()}

    assert list(parameters_of(inputs, FAMILY)) == ["top_k"]


@pytest.mark.parametrize(
    ("kind", "fields", "widget"),
    [
        (InputKind.TEXT, {}, "lines"),
        (InputKind.LIST, {}, "lines"),
        (InputKind.CHOICE, {"choices": ("a", "b")}, "choice"),
        (InputKind.CHOICE, {"choices": tuple(map(str, range(600)))}, "lines"),
        (InputKind.BOOLEAN, {"default": True, "has_default": True}, "switch"),
        (InputKind.BOOLEAN, {}, "yes-no"),
        (InputKind.NUMBER, {}, "number"),
    ],
)
def test_each_kind_has_its_control(kind: InputKind, fields: dict[str, Any], widget: str) -> None:
    assert control(kind, **fields).widget == widget


def test_a_seed_has_no_slider() -> None:
    shown = control(InputKind.INTEGER, "seed", minimum=0, maximum=100)

    assert (shown.widget, shown.step) == ("seed", "")


@pytest.mark.parametrize(
    ("kind", "least", "most", "step"),
    [
        (InputKind.NUMBER, 0, 1, "0.01"),
        (InputKind.NUMBER, 0.0, 2, "0.01"),
        (InputKind.INTEGER, 1, 4, "1"),
        (InputKind.INTEGER, 0, 4096, "1"),
        (InputKind.NUMBER, 0, None, ""),
        (InputKind.NUMBER, 1, 1, ""),
        (InputKind.NUMBER, 0, 5e-324, ""),
        (InputKind.NUMBER, 2, 1, ""),
        (InputKind.INTEGER, 0, 10**400, ""),
        (InputKind.NUMBER, -1e308, 1e308, ""),
    ],
)
def test_a_slider_has_stops_that_can_be_aimed_at(kind: InputKind, least: Any, most: Any, step: str) -> None:
    assert control(kind, minimum=least, maximum=most).step == step


@pytest.mark.parametrize(("multiple", "step"), [(0.5, "0.5"), (10**400, ""), (5e-324, ""), (3, "")])
def test_a_slider_stops_at_what_is_allowed(multiple: float, step: str) -> None:
    assert control(InputKind.NUMBER, minimum=0, maximum=2, multiple_of=multiple).step == step


def test_an_admins_word_stands_before_the_authors() -> None:
    fields = {"default": 1, "has_default": True}

    assert control(InputKind.INTEGER, **fields).standing == "1"
    assert control(InputKind.INTEGER, given={"x": 2}, **fields).standing == "2"


def test_what_a_field_could_not_say_is_not_shown_as_if_it_did() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]

    assert text_of(Input("x", InputKind.ANY, "X"), deep) == ""
    assert text_of(Input("x", InputKind.INTEGER, "X"), "many") == ""
    assert text_of(Input("x", InputKind.INTEGER, "X"), None) == ""


def test_a_panel_has_an_end() -> None:
    inputs = {str(number): Input(str(number), InputKind.TEXT, "x") for number in range(1_000)}

    assert len(controls_for(inputs, FAMILY, {})) == FIELDS_MOST
