"""The admin site: the same way in as everywhere else, for whoever may enter."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator

from chat.models import User
from chat.people.second_factors import has_second_factor

PEOPLE = {"people", "chat", "auth"}


class AdminSite(admin.AdminSite):
    site_header = site_title = "Parley"
    index_title = "Administration"
    enable_nav_sidebar = False  # the sidebar is Parley’s own

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List people, their groups and their invitations together, whichever app they come from."""
        apps = super().get_app_list(request)
        people = [app for app in apps if app["app_label"] in PEOPLE]
        listed = [app for app in apps if app not in people]
        if people:
            models = sorted((model for app in people for model in app["models"]), key=lambda model: model["name"])
            url = reverse("admin:app_list", args=["people"])
            listed.append({**people[0], "name": "People", "app_label": "people", "app_url": url, "models": models})
        wanted = "people" if app_label in PEOPLE else app_label
        return [app for app in listed if wanted in {None, app["app_label"]}]

    def has_permission(self, request: HttpRequest) -> bool:
        return _enters(request) and not _lacks_second_factor(request)

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send whoever has no way in to the site's own page, or say that there is none."""
        back = request.GET.get("next") or reverse("admin:index")
        if not request.user.is_authenticated:
            return redirect_to_login(back)
        if self.has_permission(request):
            return redirect("admin:index")
        if _enters(request):
            return redirect("mfa_index")
        raise PermissionDenied

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return redirect("account_change_password")


def _enters(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.enters_admin


def _lacks_second_factor(request: HttpRequest) -> bool:
    return settings.SECOND_FACTOR == "admins" and not has_second_factor(request)
