"""Predictions in the admin."""

from django.contrib import admin
from django.http import HttpRequest

from predictions.admin.read_only import ReadOnlyAdmin
from predictions.models import Prediction


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
