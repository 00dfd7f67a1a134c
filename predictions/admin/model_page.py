"""What a model's page shows around its form: what answers, what its host tells, what it takes, its versions, a try."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.urls import reverse

from predictions import examples, pins
from predictions.admin import overrides
from predictions.admin.adding import count_of, web_address
from predictions.admin.inputs import rows_of
from predictions.admin.parameters import ModelForm
from predictions.models import Model, Provider, Trial, Version
from predictions.models.comparison import LONGEST_PROMPT
from predictions.references import ReferenceNotUnderstood, parse
from predictions.schema_words import OUTPUTS
from predictions.standing import Standing, standings

VERSIONS_SHOWN = 20
EXAMPLE_LENGTH = 2_000  # characters
EXAMPLE_ASKED = 500  # characters of a host's example that is proposed as a try
FIRST_TRY = "Say hello in one sentence."
UNSAID = "What is left as it is known comes from its family, or from the names of its inputs."
PRICES = "In US dollars, as its host charges; the parts add up. Without any, no costs are told."
PARTS = {"": "Settings", "inputs": "Inputs", "versions": "Versions", "facts": "From its host"}
LINKS = {
    "license_url": "Licence",
    "github_url": "Source",
    "paper_url": "Paper",
    "cover_image_url": "Cover image",
}


class TryForm(forms.Form):
    """What a model is asked to see how it does."""

    try_prompt = forms.CharField(
        max_length=LONGEST_PROMPT, error_messages={"required": "Write what is to be asked first."}
    )


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is known of a model; `address` where it is a link."""

    name: str
    value: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version in the list of a model's."""

    version: Version
    answers_here: bool
    is_pinned: bool
    is_newer: bool


def context_for(model: Model, part: str) -> dict[str, Any]:
    """Return what the templates of a model's page name."""
    standing = standings([model])[model.pk][settings.ENVIRONMENT]
    version = standing.version
    context: dict[str, Any] = {
        "part": part if part in PARTS else "",
        "parts": PARTS.items(),
        "standing": standing,
        "nothing_answers": _why_nothing(model) if version is None else "",
        "environment": settings.ENVIRONMENT,
        "page": reverse("admin:predictions_model_change", args=[model.pk]),
        "pins_page": reverse("admin:predictions_pin_model", args=[model.pk]),
    }
    if not context["part"] and version is not None:
        context["asked"] = TryForm(initial={"try_prompt": _first_try(model, version)})
    if part == "inputs" and version is not None:
        context |= {"rows": rows_of(version.inputs), "output": OUTPUTS[version.output_kind]}
    if part == "versions":
        count = model.versions.count()
        context |= {"versions": _versions(model, standing), "version_count": count, "versions_shown": VERSIONS_SHOWN}
    if part == "facts":
        context |= {"facts": list(_facts(model)), "example": list(_example(model))}
    return context


def fieldsets_of(form: type[ModelForm]) -> Any:
    """Return the parts of a model's form, as Django's admin takes them."""
    roles = [name for name in overrides.ROLE_FIELDS if name in form.base_fields]
    said = [*roles, overrides.CONTEXT, overrides.LAYOUT, overrides.TEMPLATE] if roles else []
    prices = list(overrides.PRICE_FIELDS) if roles else []
    parameters = {"description": "Sent with every question. What is left empty is the model’s own affair."}
    return [
        ("What people see", {"fields": ("name", "icon", "description", "order")}),
        ("Titles", {"fields": ("makes_titles",)}),
        ("Access", {"fields": ("enabled", "groups", "concurrency")}),
        ("How it is asked", {"fields": ("system_prompt", "context_length")}),
        ("Default parameters", {"fields": (*form.asked, "default_input"), **parameters}),
        (
            "What its schema does not say",
            {"fields": (*said, "override"), "classes": ("override",), "description": UNSAID},
        ),
        *([("What it costs", {"fields": prices, "classes": ("override",), "description": PRICES})] if prices else []),
    ]


def trial_context(trial: Trial) -> dict[str, Any]:
    """Return what the template of a try names."""
    sent = trial.prediction.input if trial.prediction else None
    ids = [trial.version.model_id, trial.pk]
    return {
        "trial": trial,
        "sent": json.dumps(sent, indent=2, ensure_ascii=False) if sent is not None else "",
        "trial_page": reverse("admin:predictions_model_trial", args=ids),
        "stop_page": reverse("admin:predictions_model_trial_stop", args=ids),
    }


def _first_try(model: Model, version: Version) -> str:
    """Return a short prompt: that of its host's example, if it has one."""
    prompt = model.family_of(version).prompt if examples.given_in(model.facts) else None  # schemas are long
    return examples.asked_in(model.facts, prompt, longest=EXAMPLE_ASKED) or FIRST_TRY


def _why_nothing(model: Model) -> str:
    try:
        pins.choose(model)
    except pins.NothingAnswers as reason:
        return str(reason)
    return ""


def _versions(model: Model, standing: Standing) -> list[VersionRow]:
    pinned = standing.pin.version if standing.pin else None
    newest = model.versions.defer("openapi_schema").newest_first()
    return [
        VersionRow(
            version=version,
            answers_here=version == standing.version,
            is_pinned=version == pinned,
            is_newer=pinned is not None and version.answers and version.came_at > pinned.came_at,
        )
        for version in newest[:VERSIONS_SHOWN]
    ]


def _facts(model: Model) -> Iterator[Fact]:
    yield Fact("Provider", model.provider.name)
    yield Fact("Reference", model.ref, _page_of(model))
    yield Fact("Short name here", model.slug)
    if model.provider.kind == Provider.Kind.REPLICATE:
        yield Fact("Asked", "by its name alone: an official model" if model.is_official else "by a version")
    facts = model.facts if isinstance(model.facts, dict) else {}
    if runs := count_of(facts.get("run_count")):
        yield Fact("Used", runs)
    if isinstance(facts.get("visibility"), str):
        yield Fact("Visibility", facts["visibility"])
    for name, label in LINKS.items():
        if address := web_address(facts.get(name)):
            yield Fact(label, address, address)


def _page_of(model: Model) -> str:
    if model.provider.kind != Provider.Kind.REPLICATE:
        return ""
    try:
        reference = parse(model.ref)
    except ReferenceNotUnderstood:
        return ""
    return f"https://replicate.com/{reference.path}" if reference.path and not reference.is_deployment else ""


def _example(model: Model) -> Iterator[tuple[str, str]]:
    facts = model.facts if isinstance(model.facts, dict) else {}
    example = facts.get("default_example")
    for name, title in (("input", "It was asked"), ("output", "It answered")):
        value = example.get(name) if isinstance(example, dict) else None
        if value not in (None, "", {}, []):
            yield title, _readable(value)


def _readable(value: Any) -> str:  # any JSON
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        text = "".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= EXAMPLE_LENGTH else text[: EXAMPLE_LENGTH - 1] + "…"
