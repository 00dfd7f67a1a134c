"""To the SAML identity provider, and back.

The answer comes as a form that another site's page sends: browsers send no session with it. So `receive` keeps what is
signed, and gives the browser a token; `finish`, where that comes by itself, sees whether its session has asked.
Both must be the same browser: the one that asked, or somebody could have another person's answer sent in; the one that
brought the answer, or somebody could pick up what another person brought.
"""

import logging

from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from chat.people import saml, vouching
from chat.people.models import Assertion

logger = logging.getLogger(__name__)

REASON_LONGEST = 300  # characters in the log; strangers may have written some of them


@login_not_required
@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Send somebody to the provider, and note in their session with which request."""
    if elsewhere := vouching.turn_away(request):
        return elsewhere
    asked, address = saml.request_sign_in(request)
    provider = get_adapter().get_provider(request, "saml")
    back = get_next_redirect_url(request)
    provider.stash_redirect_state(request, AuthProcess.LOGIN, next_url=back, state_id=asked)
    return redirect(address)


@csrf_exempt
@login_not_required
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    try:
        token = saml.receive(request)
    except saml.Refused as refusal:
        return _failed(request, str(refusal))
    return redirect("saml_finish", token)


@login_not_required
@require_GET
def finish(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in whom the provider has vouched for, if it was this browser that asked."""
    assertion = Assertion.take(token)
    if assertion is None:
        return _failed(request, "It was taken already, or there is none.")
    provider = get_adapter().get_provider(request, "saml")
    try:
        state = provider.unstash_redirect_state(request, assertion.request)
    except PermissionDenied:
        return _failed(request, "Another browser asked for it, or this one long ago.")
    login = provider.sociallogin_from_response(request, saml.Answer(assertion.said))
    login.state = state
    response: HttpResponse = complete_social_login(request, login)
    return response


@login_not_required
@require_GET
def metadata(request: HttpRequest) -> HttpResponse:
    return HttpResponse(saml.metadata(request), content_type="application/samlmetadata+xml")


def _failed(request: HttpRequest, reason: str) -> HttpResponse:
    logger.warning("An answer of the SAML identity provider is refused: %s", reason[:REASON_LONGEST])
    return vouching.failed(request, settings.SAML_NAME)
