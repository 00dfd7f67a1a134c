"""What every response says to keep other sites out, and which pages may talk to this one."""

import re
from collections.abc import Callable
from typing import Any

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.utils.http import is_same_domain
from django.views.debug import SafeExceptionReporterFilter

SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
OWN = {"same-origin", "none"}  # what `Sec-Fetch-Site` says of a page of ours, or of nobody's
# What no page needs, a model's words in one least of all.
UNUSED = (
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "idle-detection"),
    *("magnetometer", "microphone", "midi", "payment", "serial", "usb", "xr-spatial-tracking"),
)
ALWAYS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # A link in an answer must not tell its host's name server that somebody has read it.
    "X-DNS-Prefetch-Control": "off",
}
# They are nobody's secret, and the frame that diagrams are drawn in has no origin that they could be the same as.
OF_STATIC_FILES = {"Cross-Origin-Resource-Policy": "cross-origin"}
# Django's own scripts write into the page as they like.
WITHOUT_TYPES = {"require-trusted-types-for": None, "trusted-types": None}


def closed_doors(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Have every response say what browsers keep from other sites."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        headers = {**ALWAYS, **(OF_STATIC_FILES if request.path.startswith(settings.STATIC_URL) else {})}
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


class ReportFilter(SafeExceptionReporterFilter):
    """Django's, which leaves secrets out of the pages of PARLEY_DEBUG; it also knows addresses that have passwords."""

    hidden_settings = re.compile(f"{SafeExceptionReporterFilter.hidden_settings.pattern}|_URL|DSN", re.IGNORECASE)


class PolicyMiddleware(CSPMiddleware):
    """The site's policy; that of Django's own pages lacks the rule that their scripts break."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if match is not None and match.app_name == "admin":
            parts.replace = {**(parts.replace or {}), **WITHOUT_TYPES}
        return parts


def own_forms(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse what changes something and comes from another site's page, as the browser itself says.

    A neighbour under the same domain counts as another site. Whatever checks a signature instead is `csrf_exempt`.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    def process_view(request: HttpRequest, view: Any, _: Any, __: Any) -> None:
        if request.method in SAFE or getattr(view, "csrf_exempt", False):
            return
        is_own = request.headers.get("Sec-Fetch-Site", "same-origin") in OWN
        if not is_own and not _is_trusted(request.headers.get("Origin", "")):
            raise PermissionDenied

    middleware.process_view = process_view  # type: ignore[attr-defined]  # where Django looks for it
    return middleware


def is_own_origin(scope: dict[str, Any]) -> bool:
    """Whether the page behind a request, which is not a form, is one of this site, or of `CSRF_TRUSTED_ORIGINS`.

    The same as Django asks of forms: scheme, host and port are those of the request.
    """
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    if len(origins) != 1 or len(hosts) != 1:
        return False
    domain, _ = split_domain_port(hosts[0])
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    is_secure = settings.BEHIND_TLS or scope.get("scheme") in {"https", "wss"}
    return origins[0] == f"{'https' if is_secure else 'http'}://{hosts[0]}" or _is_trusted(origins[0])


def _is_trusted(origin: str) -> bool:
    scheme, _, place = origin.partition("://")
    known = (trusted.partition("://") for trusted in settings.CSRF_TRUSTED_ORIGINS)
    return any(scheme == its and is_same_domain(place, pattern.lstrip("*")) for its, _, pattern in known)
