"""Providers, models, versions, pins and predictions in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from predictions.models import Model, Pin, Prediction, Provider, Version


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    list_display = ("name", "kind", "base_url", "concurrency", "enabled", "state")
    list_select_related = ("condition",)

    @admin.display(description="how it is")
    def state(self, provider: Provider) -> str:
        """Its trouble, and since when; it ends by itself with the first question that the host takes."""
        condition = getattr(provider, "condition", None)
        if condition is None or not condition.trouble:
            return "well"
        since = timezone.localtime(condition.trouble_since)
        return f"{condition.trouble} (since {since:%d %b, %H:%M})"


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):
    list_display = ("name", "ref", "provider", "order", "enabled")
    list_editable = ("order", "enabled")
    list_filter = ("provider", "enabled")
    list_select_related = ("provider",)
    search_fields = ("name", "ref")
    readonly_fields = ("is_official",)
    prepopulated_fields = {"slug": ("name",)}


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that Parley alone writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    list_display = ("model", "identifier", "created_at")
    list_select_related = ("model",)
    list_filter = ("model",)


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


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    """How predictions went; what was asked and answered is their owners' alone."""

    list_display = ("created_at", "model", "status", "user", "completed_at", "attempts")
    list_select_related = ("model", "user")
    list_filter = ("status", "model")
    date_hierarchy = "created_at"
    fields = (
        *("id", "model", "version", "asked_for", "answered_model", "answered_version", "user"),
        *("status", "error", "metrics", "output_end", "file_count", "edition"),
        *("created_at", "asked_at", "started_at", "first_output_at", "completed_at", "cancel_requested_at"),
        *("attempts", "provider_id", "worker", "leased_until"),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Prediction | None = None) -> bool:
        return False
