"""How much may be asked, in the admin: one page."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from predictions.models import Limits

IN_A_DAY = "Days begin at 00:00 UTC. What is empty is not limited."


@admin.register(Limits)
class LimitsAdmin(admin.ModelAdmin):
    fieldsets = (
        ("Now", {"fields": ("is_stopped", "stop_words")}),
        (
            "In one day",
            {"fields": ("person_answers", "site_answers", "person_cost", "site_cost"), "description": IN_A_DAY},
        ),
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row at most: show it, or begin it."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = Limits.objects.first()
        if row is not None:
            return HttpResponseRedirect(reverse("admin:predictions_limits_change", args=[row.pk]))
        if not self.has_add_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:predictions_limits_add"))

    def response_add(self, request: HttpRequest, obj: Limits, post_url_continue: Any = None) -> HttpResponse:
        return self.response_change(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Limits) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:index"))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        one = {"title": "Limits", "subtitle": None, "show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **one})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if Limits.objects.exists():
            return self.changelist_view(request)
        return super().add_view(request, form_url, extra_context)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Offer its page alone, from where the row is begun."""
        return {**super().get_model_perms(request), "add": False}

    def has_delete_permission(self, request: HttpRequest, obj: Limits | None = None) -> bool:
        return False
