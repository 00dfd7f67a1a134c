"""What people send."""

from typing import Any

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm

from chat.models import Message, User
from predictions.models import Model

LONGEST_MESSAGE = 32_000  # characters


class MessageForm(forms.Form):
    """A question to a model. `id` is made in the browser, so that sending twice is asking once."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    text = forms.CharField(
        label="Message",
        max_length=LONGEST_MESSAGE,
        strip=True,
        error_messages={"required": "Write a message first."},
    )
    model = forms.ModelChoiceField(
        Model.objects.none(),
        to_field_name="slug",
        error_messages={"invalid_choice": "This model is not available now. Choose another one."},
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:  # those of forms.Form
        super().__init__(*args, **kwargs)
        self.fields["model"].queryset = Model.objects.for_user(user)  # type: ignore[attr-defined]

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")

    def check_id_is_free_for(self, user: User) -> None:
        """Refuse an id that is a message of somebody else's."""
        if Message.objects.filter(pk=self.cleaned_data["id"]).exclude(conversation__owner=user).exists():
            self.add_error("id", "This message could not be sent. Reload the page and send it again.")


class SetupForm(BaseUserCreationForm):
    """The first admin."""

    class Meta:
        model = User
        fields = ("username",)
