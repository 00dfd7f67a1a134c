"""The forms with which an admin decides which version answers."""

from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from predictions import comparisons
from predictions.models import Model, Pin, Version
from predictions.standing import answering

LATEST = "latest"  # stands in addresses for whichever version is the latest
VERSIONS_LISTED = 100  # in a list to choose from, the newest
NOTHING_WOULD_ANSWER = (
    "This version is gone at its host, so nothing would answer. Choose a fallback that is still there, or let the"
    " latest version answer as the last resort."
)


class DecisionForm(forms.ModelForm):
    """A new pin of the version in `instance`; it takes over what the pin `now` says beside the version."""

    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)  # the pin that the page showed

    class Meta:
        model = Pin
        fields = (
            *("fallback", "falls_back_to_latest", "candidate", "candidate_share", "candidate_group"),
            *("moves_conversations", "reason"),
        )
        labels = {
            "fallback": "Fallback",
            "falls_back_to_latest": "The latest version answers as the last resort",
            "candidate": "Candidate",
            "candidate_share": "Share of new conversations, in percent",
            "candidate_group": "Group that tries the candidate",
            "moves_conversations": "Open conversations move to this decision, too",
            "reason": "Why",
        }
        help_texts = {"reason": "People read this in the history when they look for what changed."}
        widgets = {"reason": forms.TextInput}

    def __init__(self, *arguments: Any, now: Pin | None, latest: Version | None, **options: Any) -> None:
        draft = options["instance"]
        options["initial"] = {**_taken_over(now, draft.version or latest), "reason": _evidence(draft)}
        super().__init__(*arguments, **options)
        self.latest = latest
        self.fields["candidate_share"].required = False
        listed = [each for pin in (now,) if pin for each in (pin.version, pin.fallback, pin.candidate) if each]
        choices = list(_choices(self.instance.model, listed))
        for name in ("fallback", "candidate"):
            field = self.fields[name]
            field.queryset = self.instance.model.versions.defer("openapi_schema")  # type: ignore[attr-defined]
            field.choices = [("", "None"), *choices]  # type: ignore[attr-defined]
        self.fields["candidate_group"].empty_label = "None"  # type: ignore[attr-defined]
        if self.instance.version is None:
            del self.fields["fallback"], self.fields["falls_back_to_latest"]

    def clean_candidate_share(self) -> int:
        return self.cleaned_data["candidate_share"] or 0

    def clean(self) -> dict[str, Any]:
        super().clean()
        candidate = self.cleaned_data.get("candidate")
        if candidate is not None and candidate == self.instance.version:
            self.add_error("candidate", "This version answers everybody then: choose another one, or none.")
        if candidate is not None and not self._is_tried():
            self.add_error("candidate_share", "Say how many percent it answers, or choose a group.")
        return self.cleaned_data

    def _is_tried(self) -> bool:
        return bool(self.cleaned_data.get("candidate_share") or self.cleaned_data.get("candidate_group"))

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        version = self.instance.version
        if version is not None and version.gone_at and answering(self.instance, lambda: self.latest)[0] is None:
            self.add_error("fallback", ValidationError(NOTHING_WOULD_ANSWER))

    def renewed(self, *, now: Pin | None, latest: Version | None) -> "DecisionForm":
        """Return the form as it was filled in, for a page that shows the pin `now`."""
        filled = self.data.copy() if isinstance(self.data, QueryDict) else QueryDict(mutable=True)
        filled["seen"] = str(now.pk) if now else ""
        return DecisionForm(filled, instance=self.instance, now=now, latest=latest)


def _evidence(draft: Pin) -> str:
    """Say what a comparison found, as the reason that is proposed."""
    if draft.comparison is None:
        return ""
    trials = comparisons.trials_of(draft.comparison).filter(version=draft.version)
    told = next((tally.in_words for tally in comparisons.tallies(trials)), "")
    return f"{draft.comparison}: {told}." if told else f"Seen in {str(draft.comparison).lower()}."


class DiffForm(forms.Form):
    """Any two versions of a model."""

    def __init__(self, *arguments: Any, model: Model, versions: Iterable[Version], **options: Any) -> None:
        super().__init__(*arguments, **options)
        choices = list(_choices(model, versions))
        self.fields["from"] = forms.ChoiceField(label="From", choices=choices)
        self.fields["to"] = forms.ChoiceField(label="To", choices=choices)


class RollbackForm(forms.Form):
    """A decision that has been made before, once more."""

    seen = forms.IntegerField(required=False)
    reason = forms.CharField(max_length=500, required=False)


def _taken_over(now: Pin | None, version: Version | None) -> dict[str, Any]:
    """What goes on as it is: but what will answer neither stands in for itself, nor is it tried out."""
    if now is None:
        return {"seen": None}
    taken: dict[str, Any] = {"seen": now.pk, "falls_back_to_latest": now.falls_back_to_latest}
    if now.fallback_id and now.fallback != version:
        taken["fallback"] = now.fallback_id
    if now.candidate_id and now.candidate != version:
        taken["candidate"] = now.candidate_id
        taken["candidate_share"], taken["candidate_group"] = now.candidate_share, now.candidate_group_id
    return taken


def _choices(model: Model, listed: Iterable[Version]) -> Iterator[tuple[int, str]]:
    newest = model.versions.filter(is_described=True).defer("openapi_schema")[:VERSIONS_LISTED]
    for version in dict.fromkeys([*newest, *listed]):
        yield version.pk, _label(version)


def _label(version: Version) -> str:
    parts = [version.short, f"{version.released_at:%d %b %Y}" if version.released_at else ""]
    return " · ".join([part for part in parts if part] + (["gone"] if version.gone_at else []))
