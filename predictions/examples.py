"""What hosts show of their models: the example of a run that many of them have. Pure, whatever JSON a host tells."""

import mimetypes
from collections.abc import Mapping
from typing import Any

from predictions.attachments import FILE, kind_of
from predictions.outputs import name_of


def asked_in(facts: Any, prompt: str | None, *, longest: int) -> str:
    """Return what the input `prompt` was in the example of a model's `facts`; "" if it is no text, or too long."""
    asked = given_in(facts).get(prompt) if prompt else None
    return asked.strip() if isinstance(asked, str) and len(asked) <= longest else ""


def given_in(facts: Any) -> Mapping[str, Any]:
    """Return the input of the example of a model's `facts`; nothing if there is none."""
    given = _example(facts).get("input")
    return given if isinstance(given, Mapping) else {}


def made_in(facts: Any) -> str:
    """Say what kind of file came out in the example of a model's `facts`, by its name."""
    made = _example(facts).get("output")
    address = made[0] if isinstance(made, list) and made else made
    if not isinstance(address, str):
        return FILE
    name = name_of(address, 0)
    return kind_of(mimetypes.guess_type(name, strict=False)[0] or "", name)


def _example(facts: Any) -> Mapping[str, Any]:
    example = facts.get("default_example") if isinstance(facts, Mapping) else None
    return example if isinstance(example, Mapping) else {}
