"""To the OpenID Connect provider, and back."""

import logging
from collections.abc import Callable

from allauth.socialaccount.providers.openid_connect import views
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_GET
from requests import RequestException

from chat.people import vouching

logger = logging.getLogger(__name__)

BROKEN = (RequestException, ValueError, KeyError, TypeError, AttributeError)  # nobody there, or another language


@login_not_required
@require_GET
def begin(request: HttpRequest, provider_id: str = vouching.OIDC) -> HttpResponseBase:
    """Send somebody to the issuer; only for links of this site, so that no other signs anybody in."""
    if elsewhere := vouching.turn_away(request):
        return elsewhere
    asked = QueryDict(mutable=True)
    asked["process"] = "login"
    if back := request.GET.get("next", ""):
        asked["next"] = back
    request.GET = asked  # type: ignore[assignment] # as django-allauth reads it
    return _guarded(views.login, request)


@login_not_required
@require_GET
def finish(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    return _guarded(views.callback, request)


@login_not_required
@require_GET
def cancelled(request: HttpRequest) -> HttpResponse:
    return redirect("login")


def _guarded(view: Callable[..., HttpResponseBase], request: HttpRequest) -> HttpResponseBase:
    try:
        return view(request, vouching.OIDC)
    except BROKEN as error:
        logger.warning("The issuer cannot be asked, or is not understood: %s", type(error).__name__)
        return vouching.failed(request, settings.OIDC_NAME, status=502)
