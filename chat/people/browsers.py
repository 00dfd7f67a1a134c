"""Where a request comes from: which address, which browser, and whether its owner has signed in from there before."""

import ipaddress
import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from chat.models import User

COOKIE = "browser"
SALT = "chat.people.browser"
AGE = 365 * 24 * 3600  # seconds for which a browser is known
NAMES_KEPT = 8  # of the people who have signed in from one browser lately

# In this order: most browsers call themselves by the names of others, too.
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
SYSTEMS = {"Windows": "Windows", "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Mac OS": "macOS"}
SYSTEMS |= {"CrOS": "ChromeOS", "Linux": "Linux"}


def address_of(request: HttpRequest) -> str:
    """Return whose requests count together: an IPv4 address, or the network of an IPv6 one.

    What proxies tell of it is read before (`config/forwarded.py`).
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    prefix = 64 if address.version == 6 else 32  # a household has a /64, and whoever is in it any address of that
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False).network_address)


def name_of(request: HttpRequest) -> str:
    """Say in words which browser asks."""
    said = request.headers.get("User-Agent", "")[:400]
    browser = next((name for mark, name in BROWSERS.items() if mark in said), "")
    system = next((name for mark, name in SYSTEMS.items() if mark in said), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown browser"


def known_browser(request: HttpRequest, login: str) -> str | None:
    """Return the name of this browser if whoever is called `login` has signed in here before."""
    kept = _kept(request)
    return kept["id"] if kept and _mark(kept["id"], login) in kept["names"] else None


def remember(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Have this browser known as one from which `user` signs in."""
    kept = _kept(request) or {"id": secrets.token_urlsafe(12), "names": []}
    names = [_mark(kept["id"], name) for name in (user.get_username(), user.email) if name]
    others = [name for name in kept["names"] if name not in names]
    told = signing.dumps({"id": kept["id"], "names": (names + others)[:NAMES_KEPT]}, salt=SALT)
    response.set_cookie(
        COOKIE,
        told,
        max_age=AGE,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
        path="/accounts/",
    )


def _kept(request: HttpRequest) -> dict[str, Any] | None:
    try:
        kept = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=AGE)
    except signing.BadSignature:
        return None
    return kept if isinstance(kept, dict) else None


def _mark(browser: str, login: str) -> str:
    # Who uses a browser is nobody's business who finds its cookie.
    return salted_hmac(SALT, f"{browser} {login.casefold()}", algorithm="sha256").hexdigest()[:16]
