"""Pins in the admin: which version answers, and who decided that."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from predictions.models import Pin


class PinForm(forms.ModelForm):
    """A new pin, which takes the place of the one before it."""

    class Meta:
        model = Pin
        fields = (*Pin.PLACE, *Pin.DECISION, "moves_conversations", "reason")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["candidate_share"].required = False

    def clean_candidate_share(self) -> int:
        return self.cleaned_data["candidate_share"] or 0


@admin.register(Pin)
class PinAdmin(admin.ModelAdmin):
    """Pins are history: a new one takes the place of the last, none is changed."""

    list_display = ("model", "environment", "version", "created_at", "created_by", "reason")
    list_select_related = ("model", "version__model", "created_by")
    list_filter = ("environment", "model")
    form = PinForm

    def save_model(self, request: HttpRequest, obj: Pin, form: Any, change: bool) -> None:
        obj.created_by = request.user  # type: ignore[assignment]  # the admin lets in nobody else
        obj.replaces = Pin.objects.newest(obj.model, obj.environment)
        super().save_model(request, obj, form, change)

    def has_change_permission(self, request: HttpRequest, obj: Pin | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Pin | None = None) -> bool:
        return False
