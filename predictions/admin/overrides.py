"""What a model's schema does not say, as fields of its form: roles of inputs, layout, length, price.

`fields_for` makes the fields, `initial_of` splits an override into what they show and what stays JSON, and
`read` puts the two together again. A family that is known says what holds where a field is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from predictions.families import (
    LONGEST_CONTEXT,
    LONGEST_TEMPLATE,
    ROLES,
    TEMPLATES,
    UNTOUCHED,
    Family,
    OverrideNotUnderstood,
)
from predictions.prices import LONGEST_AMOUNT, WORDS, Price, PriceNotUnderstood
from predictions.schema import Input

OFFERED_MOST = 200  # inputs in a list
NONE, INPUT, OWN = "none", "input:", "own"  # what the lists send beside "" and the names of layouts
TITLES = {
    "prompt": "the prompt",
    "messages": "messages",
    "system_prompt": "the system prompt",
    "images": "images",
    "audio": "audio",
    "max_tokens": "the answer’s length",
    "temperature": "the temperature",
    "top_p": "top p",
    "stop": "stop words",
    "seed": "the seed",
}
LAYOUT, TEMPLATE, CONTEXT = "override_layout", "override_template", "override_context_length"
ROLE_FIELDS = {f"override_{role}": role for role in ROLES}
PRICE_FIELDS = {f"override_{part}": part for part in WORDS}
NO_TEMPLATE = "Write how a text is laid out, with {prompt} where the question belongs."
TEMPLATE_HELP = (
    "{prompt} stands for the question, with what was said before it, and {system_prompt} for the system prompt. "
    "It counts where “As written below” is chosen."
)
CONTEXT_HELP = "Its context length. How many of them are sent along is said above, or follows from this."


@dataclass(frozen=True, slots=True)
class Said:
    """What an admin has said: `override` as JSON keeps it, and sentences by the field that they belong to."""

    override: dict[str, Any]
    faults: dict[str, str]


def fields_for(known: Family, inputs: Mapping[str, Input], override: object) -> dict[str, forms.Field]:
    """Return the fields by name; `known` is what holds where nothing is said."""
    said = override if isinstance(override, dict) else {}
    roles = {field: _role_field(role, known, inputs, said.get(role)) for field, role in ROLE_FIELDS.items()}
    return {**roles, **_layout_fields(known), CONTEXT: _context_field(known), **_price_fields(known.price)}


def initial_of(override: object, known: Family) -> tuple[dict[str, str], Any]:
    """Return what the fields show, and the rest of `override`, which they cannot say."""
    start = {TEMPLATE: known.prompt_template or UNTOUCHED}
    if not isinstance(override, dict):
        return start, override
    shown, rest = start, dict(override)
    for name, value in override.items():
        if fields := _shown(name, value):
            shown |= fields
            del rest[name]
    return shown, rest


def read(cleaned: Mapping[str, Any]) -> Said:
    """Read what the fields were sent."""
    said = Said({}, {})
    for field, role in ROLE_FIELDS.items():
        if chosen := cleaned.get(field):
            said.override[role] = "" if chosen == NONE else chosen.removeprefix(INPUT)
    _read_layout(cleaned, said)
    if cleaned.get(CONTEXT):
        said.override["context_length"] = cleaned[CONTEXT]
    _read_price(cleaned, said)
    return said


# ---------------------------------------------------------------- the fields


def _role_field(role: str, known: Family, inputs: Mapping[str, Input], said: object) -> forms.Field:
    fitting = [name for name, asked in inputs.items() if asked.kind in ROLES[role].kinds][:OFFERED_MOST]
    offered = [(INPUT + name, name) for name in fitting]
    if isinstance(said, str) and said and said not in fitting:
        why = "of another kind" if said in inputs else "not an input of this version"
        offered.append((INPUT + said, f"{said} ({why})"))
    own = f"Known: {getattr(known, role) or 'none'}"
    choices = [("", own), (NONE, "None, it has no such input"), *offered]
    return forms.ChoiceField(label=f"Input for {TITLES[role]}", required=False, choices=choices)


def _layout_fields(known: Family) -> dict[str, forms.Field]:
    own = f"Known: {_name_of(known.prompt_template)}"
    layouts = [("", own), (NONE, "The prompt is sent as it is"), *((name, name) for name in TEMPLATES)]
    return {
        LAYOUT: forms.ChoiceField(
            label="Layout of the prompt",
            required=False,
            choices=[*layouts, (OWN, "As written below")],
            help_text="For models that continue a bare text. Others lay it out by themselves.",
        ),
        TEMPLATE: forms.CharField(
            label="Layout in words",
            required=False,
            strip=False,
            max_length=LONGEST_TEMPLATE,
            widget=forms.Textarea(
                attrs={"rows": 3, "class": "parameter parameter--code", "spellcheck": "false", "autocomplete": "off"}
            ),
            help_text=TEMPLATE_HELP,
        ),
    }


def _context_field(known: Family) -> forms.Field:
    length = f"Known: {known.context_length:,}" if known.context_length else "Not known"
    return forms.IntegerField(
        label="Tokens that it can hold",
        required=False,
        min_value=1,
        max_value=LONGEST_CONTEXT,
        localize=False,
        widget=forms.NumberInput(attrs={"placeholder": length, "class": "vIntegerField"}),
        help_text=CONTEXT_HELP,
    )


def _price_fields(known: Price | None) -> dict[str, forms.Field]:
    parts = known.to_json() if known else {}
    return {
        field: forms.CharField(
            label=WORDS[part][:1].upper() + WORDS[part][1:],
            required=False,
            max_length=LONGEST_AMOUNT,
            widget=forms.TextInput(
                attrs={
                    "placeholder": f"Known: {parts[part]}" if part in parts else "Not known",
                    "inputmode": "decimal",
                    "autocomplete": "off",
                    "class": "vIntegerField",
                }
            ),
        )
        for field, part in PRICE_FIELDS.items()
    }


def _name_of(template: str | None) -> str:
    if not template:
        return "sent as it is"
    return next((name for name, each in TEMPLATES.items() if each == template), "a layout of its own")


# ---------------------------------------------------------------- from JSON, and back


def _shown(name: str, value: object) -> dict[str, str]:
    """Return a member of an override as the fields show it; {} if they cannot."""
    try:
        family = Family.from_json({name: value})
    except OverrideNotUnderstood:
        return {}
    match name:
        case _ if value is None:
            return {}
        case "prompt_template":
            return _shown_layout(str(value))
        case "context_length":
            return {CONTEXT: str(value)}
        case "price":
            parts = family.price.to_json() if family.price else {}
            return {f"override_{part}": amount for part, amount in parts.items()}
        case _ if name in ROLES:
            return {f"override_{name}": INPUT + str(value) if value else NONE}
        case _:
            return {}


def _shown_layout(template: str) -> dict[str, str]:
    if not template:
        return {LAYOUT: NONE}
    name = next((name for name, each in TEMPLATES.items() if each == template), OWN)
    return {LAYOUT: name, TEMPLATE: template}


def _read_layout(cleaned: Mapping[str, Any], said: Said) -> None:
    match cleaned.get(LAYOUT, ""):
        case "":
            return
        case "none":
            said.override["prompt_template"] = ""
        case "own":
            if TEMPLATE in cleaned:  # or it has a fault already
                _read_template(cleaned[TEMPLATE].replace("\r\n", "\n"), said)
        case name:
            said.override["prompt_template"] = TEMPLATES[name]


def _read_template(text: str, said: Said) -> None:
    if not text.strip():
        said.faults[TEMPLATE] = NO_TEMPLATE
        return
    try:
        Family.from_json({"prompt_template": text})
    except OverrideNotUnderstood as error:
        said.faults[TEMPLATE] = _sentence(error, "prompt_template")
        return
    said.override["prompt_template"] = text


def _read_price(cleaned: Mapping[str, Any], said: Said) -> None:
    parts: dict[str, str] = {}
    for field, part in PRICE_FIELDS.items():
        if not (written := cleaned.get(field)):
            continue
        try:
            parts |= Price.from_json({part: written}).to_json()
        except PriceNotUnderstood as error:
            said.faults[field] = _sentence(error, part)
    if parts:
        said.override["price"] = parts


def _sentence(error: ValueError, name: str) -> str:
    sentence = str(error).removeprefix(f"{name}: ")
    return sentence[:1].upper() + sentence[1:]
