"""The form of a model's page: what it is asked with by default has a field for each input of the version that answers,
and so has what its schema does not say (`overrides`).

What the form cannot show in a field of its own, and what that version does not know, stands in boxes of JSON.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.utils.html import escape

from predictions import families, validation
from predictions.admin import overrides
from predictions.admin.icons import is_icon
from predictions.admin.inputs import limits_of, written
from predictions.families import Family
from predictions.models import Model, Version
from predictions.parameter_fields import (
    CHOICES_MOST,
    LONGEST,
    MANY_LINES,
    NUMBERS,
    choice_text,
    text_of,
    with_fields,
)
from predictions.schema import Input, InputKind

ANY_OBJECT = Input(name="", title="", kind=InputKind.OBJECT)
OWN_FIELD = "“{name}” has a field of its own above. Set it in one of both places."
NO_ICON = "An icon is an emoji, or up to two letters."
CODE = {"rows": 1, "class": "parameter parameter--code", "spellcheck": "false"}


class ModelForm(forms.ModelForm):
    """A model as people see it and as it is asked."""

    asked: ClassVar[Mapping[str, Input]] = {}  # by the name of the field
    inputs: ClassVar[Mapping[str, Input]] = {}  # all of the version, by their own names
    known: ClassVar[Family] = Family()  # what holds where the override says nothing
    version: ClassVar[Version | None] = None  # the one that answers here

    default_input = forms.CharField(
        label="Parameters in JSON",
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea(attrs=CODE),
        help_text="Further ones, which are sent as they stand here, such as {&quot;top_k&quot;: 40}.",
    )
    override = forms.CharField(
        label="Further ones in JSON",
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea(attrs=CODE),
        help_text="What the fields above cannot say, such as {&quot;prompt&quot;: &quot;text&quot;} "
        "for a version that comes without a schema.",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        given = self.instance.default_input
        rest = dict(given) if isinstance(given, dict) else {}
        for field, asked in self.asked.items():
            if asked.name in rest and (text := text_of(asked, rest[asked.name])):
                self.initial[field] = text
                del rest[asked.name]
        self.initial["default_input"] = _in_json(rest)
        said, unsaid = overrides.initial_of(self.instance.override, self.known)
        self.initial.update(said, override=_in_json(unsaid))

    def _get_validation_exclusions(self) -> set[str]:
        """Leave out that one model alone makes titles: saving takes that from the other."""
        return {*super()._get_validation_exclusions(), "makes_titles"}  # type: ignore[misc]  # the stubs leave it out

    def clean_icon(self) -> str:
        icon: str = self.cleaned_data["icon"]
        if icon and not is_icon(icon):
            raise forms.ValidationError(NO_ICON)
        return icon

    def clean_default_input(self) -> dict[str, Any]:
        return _object(self.cleaned_data["default_input"])

    def clean_override(self) -> dict[str, Any]:
        return _object(self.cleaned_data["override"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._clean_parameters(cleaned)
        self._clean_override(cleaned)
        return cleaned

    def _clean_parameters(self, cleaned: dict[str, Any]) -> None:
        fields = {asked.name: field for field, asked in self.asked.items()}
        texts = {name: cleaned.get(field) or "" for name, field in fields.items()}
        values, faults = validation.read_all({name: self.asked[field] for name, field in fields.items()}, texts)
        rest = cleaned.get("default_input", {})
        for name in values.keys() & rest.keys():
            self.add_error("default_input", OWN_FIELD.format(name=name))
        given = {**rest, **values}
        for name, sentence in {**self._problems(given), **faults}.items():
            if name in fields and name not in rest:
                self.add_error(fields[name], sentence)
            else:
                self.add_error("default_input", f"“{name}”: {sentence}")
        if "default_input" in cleaned:
            cleaned["default_input"] = given

    def _clean_override(self, cleaned: dict[str, Any]) -> None:
        said = overrides.read(cleaned)
        rest = cleaned.get("override", {})
        for name in said.override.keys() & rest.keys():
            self.add_error("override", OWN_FIELD.format(name=name))
        for field, sentence in said.faults.items():
            self.add_error(field, sentence)
        if "override" in cleaned:
            cleaned["override"] = {**rest, **said.override}

    def _problems(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Look only at what is given: the rest comes with each question."""
        return validation.problems({name: self.inputs[name] for name in given if name in self.inputs}, given)


def form_for(model: Model, version: Version | None) -> type[ModelForm]:
    """Make the form of a model that `version` answers for."""
    inputs = version.inputs if version else {}
    known = families.family_of(model.ref, inputs)
    shown = with_fields(inputs, known)
    asked_by_field = {f"parameter_{place}": asked for place, asked in enumerate(shown.values())}
    settled = {"asked": asked_by_field, "inputs": inputs, "known": known, "version": version}
    fields = {name: _field(asked) for name, asked in asked_by_field.items()}
    return type("ModelForm", (ModelForm,), {**settled, **fields, **overrides.fields_for(known, inputs, model.override)})


def _object(text: str) -> dict[str, Any]:
    """Read an object in JSON, {} if there is none; raise ValidationError."""
    if not text.strip():
        return {}
    try:
        value: dict[str, Any] = validation.read(ANY_OBJECT, text)
    except validation.NotUnderstood as sentence:
        raise forms.ValidationError(str(sentence)) from sentence
    return value


def _in_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


def _field(asked: Input) -> forms.Field:
    options: dict[str, Any] = {"label": asked.name, "required": False, "help_text": escape(_help(asked))}
    own = f"The model’s own ({written(asked.default)})" if asked.has_default else "Not set"
    if asked.kind == InputKind.BOOLEAN:
        return forms.ChoiceField(choices=[("", own), ("true", "Yes"), ("false", "No")], **options)
    if asked.kind == InputKind.CHOICE and len(asked.choices) <= CHOICES_MOST:
        offered = [(text, text) for text in map(choice_text, asked.choices)]
        return forms.ChoiceField(choices=[("", own), *offered], **options)
    return forms.CharField(max_length=LONGEST, strip=False, widget=_widget(asked), **options)


def _widget(asked: Input) -> forms.Widget:
    attributes = {"placeholder": written(asked.default) if asked.has_default else "", "autocomplete": "off"}
    if asked.kind in MANY_LINES:
        return forms.Textarea(attrs={**attributes, "rows": 1, "class": "parameter"})
    numeric = {"inputmode": "decimal"} if asked.kind in NUMBERS else {}
    return forms.TextInput(attrs={**attributes, **numeric})


def _help(asked: Input) -> str:
    limits = limits_of(asked)
    sentences = [asked.description.strip()[:1_000], f"Takes {limits}." if limits else ""]
    return " ".join(filter(None, [*sentences, "Deprecated." if asked.is_deprecated else ""]))
