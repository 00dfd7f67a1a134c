"""Predictions in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from predictions.admin.read_only import ReadOnlyAdmin
from predictions.models import Prediction


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    """How predictions went; what was asked and answered is their owners' alone."""

    list_display = ("created_at", "model", "answered", "status", "rating", "rating_reason", "user")
    list_select_related = ("model", "user")
    list_filter = ("status", "rating", "rating_reason", "is_substituted", "model")
    date_hierarchy = "created_at"
    fields = (
        *("id", "model", "version", "asked_for", "answered_model", "answered_version", "is_substituted", "user"),
        *("status", "error", "metrics", "output_end", "file_count", "edition", "is_background"),
        *("rating", "rating_reason", "rating_note"),
        *("created_at", "asked_at", "started_at", "first_output_at", "completed_at", "cancel_requested_at"),
        *("attempts", "provider_id", "worker", "leased_until"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prediction]:
        return super().get_queryset(request).defer("input", "output", "logs", "urls")  # long, and never shown here

    @admin.display(description="answered by")
    def answered(self, prediction: Prediction) -> str:
        """The version that its host named, marked where another one was to answer."""
        if not prediction.is_substituted:
            return format_html("<code>{}</code>", prediction.answered_version[:12] or "–")
        badge = '<code>{}</code> <span class="badge badge--danger">not the one asked for</span>'
        return format_html(badge, prediction.answered_version[:12])

    def has_delete_permission(self, request: HttpRequest, obj: Prediction | None = None) -> bool:
        return False
