"""What people send."""

import uuid
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import BaseUserCreationForm

from chat.models import User
from predictions.attachments import MOST
from predictions.models import Model, Prediction
from predictions.models.prediction import NOTE_LIMIT
from predictions.parameter_fields import FIELDS_MOST, LONGEST
from predictions.pins import InputRefused, NothingAnswers
from predictions.upload_views import NOT_ALLOWED

NOT_NOTED = {
    "rating": "Nothing was noted: an answer is good, bad or not rated. Press one of the thumbs below it.",
    "reason": "Nothing was noted: choose one of the reasons, or none.",
    "note": f"Nothing was noted: a note is plain text of at most {NOTE_LIMIT} characters. Make it shorter.",
}
PARAMETER = "parameter:"  # begins the names of the fields of the composer's panel


class UploadsField(forms.Field):
    """The ids of the files that go with a message."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[uuid.UUID]:  # what a browser sends
        try:
            keys = [uuid.UUID(key) for key in value or ()]
        except (ValueError, TypeError, AttributeError) as error:
            raise forms.ValidationError("The files were not understood. Remove them, and add them again.") from error
        if len(keys) > MOST:
            raise forms.ValidationError(f"There are {len(keys)} files here, and one message takes {MOST}. Remove some.")
        return keys


class MessageField(forms.CharField):
    """A text, whose line ends count as one character each, though browsers send two."""

    def to_python(self, value: Any) -> str:  # what a browser sends
        return (super().to_python(value) or "").replace("\r\n", "\n")


class MessageForm(forms.Form):
    """A question to a model. `id` is made in the browser, so that sending twice is asking once."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    text = MessageField(
        label="Message",
        max_length=settings.MESSAGE_LIMIT,
        strip=True,
        error_messages={"required": "Write a message first."},
    )
    model = forms.ModelChoiceField(
        Model.objects.none(),
        to_field_name="slug",
        error_messages={"invalid_choice": "This model is not available now. Choose another one."},
    )
    uploads = UploadsField(required=False)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:  # those of forms.Form
        super().__init__(*args, **kwargs)
        self.fields["model"].queryset = Model.objects.for_user(user)  # type: ignore[attr-defined]
        self._user = user

    def clean_uploads(self) -> list[uuid.UUID]:
        uploads: list[uuid.UUID] = self.cleaned_data["uploads"]
        if uploads and not self._user.may_upload:
            raise forms.ValidationError(NOT_ALLOWED)
        return uploads

    def clean(self) -> dict[str, Any]:
        names = [name for name in self.data if name.startswith(PARAMETER)][:FIELDS_MOST]
        texts = {name: str(self.data.get(name)) for name in names}
        for name in [name for name, text in texts.items() if len(text) > LONGEST]:
            self._tell_at(name, f"This is too long: write at most {LONGEST:,} characters.")
        self.cleaned_data["parameters"] = {name.removeprefix(PARAMETER): text for name, text in texts.items()}
        return self.cleaned_data

    @property
    def beside(self) -> dict[str, Any]:
        """What is sent with the question."""
        return {"uploads": self.cleaned_data["uploads"], "parameters": self.cleaned_data["parameters"]}

    def note_refusal(self, error: NothingAnswers) -> None:
        """Tell why no model was asked; where it is for a parameter, at that field, too."""
        self.add_error("model", str(error))
        for name, problem in error.problems.items() if isinstance(error, InputRefused) else ():
            self._tell_at(PARAMETER + name, problem)

    def _tell_at(self, name: str, problem: str) -> None:
        # Fields of the panel are those of a version, and none of this form’s.
        self.errors[name] = self.error_class([problem])


class RatingForm(forms.Form):
    """What somebody thinks of an answer: good, bad or neither; and why, if they care to say."""

    rating = forms.ChoiceField(choices=[("1", "good"), ("-1", "bad"), ("0", "neither")])
    reason = forms.ChoiceField(choices=Prediction.RatingReason, required=False)
    note = forms.CharField(max_length=NOTE_LIMIT, required=False)

    def clean(self) -> dict[str, Any]:
        rating, reason = int(self.cleaned_data.get("rating", 0)), self.cleaned_data.get("reason")
        if reason and reason not in Prediction.REASONS.get(rating, ()):
            self.add_error("reason", "It is no reason for this.")
        return self.cleaned_data

    @property
    def problem(self) -> str:
        """What is wrong with it, for whoever sent it."""
        return next(problem for name, problem in NOT_NOTED.items() if name in self.errors)

    @property
    def rated(self) -> dict[str, Any]:
        """The fields of a prediction as they are from now on; what is taken back has no reason."""
        rating = int(self.cleaned_data["rating"]) or None
        reason, note = (self.cleaned_data["reason"], self.cleaned_data["note"]) if rating else ("", "")
        return {"rating": rating, "rating_reason": reason, "rating_note": note}


class SetupForm(BaseUserCreationForm):
    """The first admin."""

    class Meta:
        model = User
        fields = ("username",)
