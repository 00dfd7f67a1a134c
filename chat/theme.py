"""Light, dark, or as the system prefers: what each browser has chosen, in a cookie, so that the first paint has it."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE = "theme"
THEMES = ("light", "dark")  # without the cookie: as the system prefers
KEPT = 365 * 24 * 3600  # seconds


def chosen(request: HttpRequest) -> dict[str, str]:
    """Tell templates the `theme` of this browser: one of THEMES, or "" for what the system prefers."""
    theme = request.COOKIES.get(COOKIE, "")
    return {"theme": theme if theme in THEMES else ""}


@require_POST
def theme_choose(request: HttpRequest) -> HttpResponse:
    """Have this browser show all pages in `theme` from now on, and go back to the page `next`."""
    response = redirect(_page_before(request))
    theme = request.POST.get("theme")
    if theme in THEMES:
        response.set_cookie(COOKIE, theme, KEPT, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    else:
        response.delete_cookie(COOKIE, samesite="Lax")
    return response


def _page_before(request: HttpRequest) -> str:
    page = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    return page if is_ours else reverse("chat:home")
