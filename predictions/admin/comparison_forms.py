"""The forms around comparisons: which prompts are run on which versions, and how the answers are."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from predictions.comparisons import MOST_TRIALS, MOST_VERSIONS
from predictions.models import Model, SavedPrompt, Trial, Version
from predictions.models.comparison import LONGEST_PROMPT, Prompt, title_of
from predictions.prompts import Turn
from predictions.standing import standings

PROMPTS_OFFERED = 50  # the newest
VERSIONS_OFFERED = 50  # of one model, the newest
MODELS_OFFERED = 200
LABELS = ("First version", "Against", "And against", "And against")

NO_PROMPT = "Choose a prompt, or write one."
NO_PAIR = "Choose at least two versions."
TWICE = "This version is chosen already."
TOO_MANY = "These are {count} answers, and one comparison has at most {most}. Choose fewer prompts or versions."


class SavedPromptForm(forms.ModelForm):
    """A prompt whose last question can be written; what was said before it stays as it is."""

    question = forms.CharField(
        max_length=LONGEST_PROMPT, widget=forms.Textarea(attrs={"rows": 6}), help_text="What the versions are asked."
    )

    class Meta:
        model = SavedPrompt
        fields = ("title", "question")
        help_texts = {"title": "How you find it again. Left empty, it is the first words of the question."}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "title" in self.fields:  # not on the page of somebody who may only look
            self.fields["title"].required = False
        if self.instance.pk:
            self.initial["question"] = self.instance.question

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if question := cleaned.get("question"):
            cleaned["title"] = cleaned.get("title") or title_of(question)
            before = self.instance.as_turns[:-1] if self.instance.pk else []
            self.instance.turns = Prompt.written([*before, Turn("user", question)])
        return cleaned


class ComparisonForm(forms.Form):
    """Saved prompts or a new one, and up to four versions; `model` is whose versions are offered first."""

    prompts = forms.ModelMultipleChoiceField(
        SavedPrompt.objects.none(), required=False, label="Saved prompts", widget=forms.CheckboxSelectMultiple
    )
    written = forms.CharField(
        required=False,
        label="Another prompt",
        max_length=LONGEST_PROMPT,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="It is saved, too, for the next time.",
    )

    def __init__(self, *arguments: Any, model: Model | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        newest = SavedPrompt.objects.values_list("pk", flat=True)[:PROMPTS_OFFERED]
        self.fields["prompts"].queryset = SavedPrompt.objects.filter(pk__in=list(newest))  # type: ignore[attr-defined]
        choices = list(_choices(model))
        for place in range(MOST_VERSIONS):
            is_needed = place < 2
            empty = [] if is_needed else [("", "None")]
            self.fields[f"version_{place}"] = forms.ChoiceField(
                label=LABELS[place], required=is_needed, choices=[*empty, *choices]
            )

    @property
    def version_fields(self) -> list[forms.BoundField]:
        return [self[f"version_{place}"] for place in range(MOST_VERSIONS)]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        keys = [cleaned.get(f"version_{place}") for place in range(MOST_VERSIONS)]
        for place, key in enumerate(keys):
            if key and key in keys[:place]:
                self.add_error(f"version_{place}", TWICE)
        if not self.errors and not cleaned["prompts"] and not cleaned["written"].strip():
            self.add_error("written", NO_PROMPT)
        if not self.errors:
            count = (len(cleaned["prompts"]) + bool(cleaned["written"].strip())) * len(list(filter(None, keys)))
            if count > MOST_TRIALS:
                raise ValidationError(TOO_MANY.format(count=count, most=MOST_TRIALS))
        return cleaned

    def chosen_versions(self) -> list[Version]:
        """The versions in the order in which they were chosen."""
        keys = [self.cleaned_data[f"version_{place}"] for place in range(MOST_VERSIONS)]
        found = Version.objects.select_related("model__provider").in_bulk([int(key) for key in keys if key])
        return [found[int(key)] for key in keys if key]

    def chosen_prompts(self, *, user: Any) -> list[SavedPrompt]:
        """The prompts that were chosen, and the one that was written, which is saved here."""
        prompts: list[SavedPrompt] = list(self.cleaned_data["prompts"])
        if text := self.cleaned_data["written"].strip():
            prompts.append(SavedPrompt.keep([Turn("user", text)], user=user))
        return prompts


class VerdictForm(forms.ModelForm):
    """How an answer is against the first version's."""

    class Meta:
        model = Trial
        fields = ("verdict", "note")


def _choices(model: Model | None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield what can be chosen: the versions of `model`, then what answers here of each other model."""
    others = list(Model.objects.available().exclude(pk=model.pk if model else 0)[:MODELS_OFFERED])
    found = standings([*([model] if model else []), *others])
    here = {key: each[settings.ENVIRONMENT].version for key, each in found.items()}
    if model is not None:
        versions = model.versions.answering().newest_first().defer("openapi_schema")[:VERSIONS_OFFERED]
        yield model.name, [(str(each.pk), _label(each, is_here=each == here[model.pk])) for each in versions]
    answering = [(each, here[each.pk]) for each in others]
    title = "What answers of other models" if model else "What answers"
    yield title, [(str(version.pk), f"{each.name}, {version.short}") for each, version in answering if version]


def _label(version: Version, *, is_here: bool) -> str:
    released = f", {version.released_at:%d %b %Y}" if version.released_at else ""
    return f"{version.short}{released}{' (answers now)' if is_here else ''}"
