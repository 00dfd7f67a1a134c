"""A question with its files and its parameters, as a prediction of the version that is to answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from predictions import files, validation
from predictions.attachments import NotTaken, Rooms, rooms_of
from predictions.models import File, Prediction, Upload
from predictions.parameter_fields import parameters_of
from predictions.pins import Choice, InputRefused, NothingAnswers
from predictions.prompts import Turn


def ask(
    choice: Choice,
    turns: Sequence[Turn],
    *,
    user: Any,  # a User of whichever model is configured
    sources: Sequence[File | Upload] = (),
    values: Mapping[str, Any] | None = None,
) -> Prediction:
    """Write a prediction down that asks `choice` with the files of `sources` and the parameters `values`.

    Raises NothingAnswers where the version takes no such files, InputRefused where it would refuse a value. Call it in
    a transaction.
    """
    model = choice.version.model.name
    rooms = rooms_of(choice.version.inputs, choice.family)
    given = files.pass_on(sources)
    try:
        placed = rooms.place(given, model)
    except NotTaken as error:
        raise NothingAnswers(str(error)) from error
    built = choice.input_for(turns, **{**(values or {}), **placed})
    _check_nothing_is_missing(choice, rooms, built)
    prediction = choice.ask(built, user=user)
    files.attach(prediction, given, sources)
    return prediction


def read_parameters(choice: Choice, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that somebody has typed, by name; raise InputRefused. What is no parameter is left out."""
    asked = parameters_of(choice.version.inputs, choice.family)
    values, faults = validation.read_all(asked, texts)
    faults |= validation.problems({name: asked[name] for name in values}, values)
    if faults:
        raise InputRefused(faults)
    return values


def parameters_in(prediction: Prediction, choice: Choice) -> dict[str, Any]:
    """Return what a prediction was asked with beside its question, as far as `choice` takes it, too."""
    asked = parameters_of(choice.version.inputs, choice.family)
    return {name: value for name, value in prediction.input.items() if name in asked}


def _check_nothing_is_missing(choice: Choice, rooms: Rooms, built: Mapping[str, Any]) -> None:
    for room in rooms.all:
        if choice.version.inputs[room.input].is_required and room.input not in built:
            raise NothingAnswers(f"{choice.version.model.name} needs {room}. Add it to the message, then send again.")
