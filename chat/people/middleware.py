"""Every session is noted, idles only so long, and ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from chat.models import User
from chat.people import browsers
from chat.people.models import SignIn

BEGAN, SEEN = "began", "seen"  # seconds since 1970, in the session
STRANGER = 3600  # seconds that a session lasts in which nobody is signed in yet
NOTE = timedelta(minutes=5)  # between two notes that somebody was here


def note_sign_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Begin a session's time; for Django's `user_logged_in`."""
    if request is None or not hasattr(request, "session"):
        return
    request.session[BEGAN] = timezone.now().timestamp()
    _note(request, user)
    request.has_signed_in = True  # type: ignore[attr-defined]


class WatchSessions:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        _shorten_unless_signed_in(request)
        if hasattr(request, "has_signed_in") and isinstance(request.user, User):
            browsers.remember(request, response, request.user)
        before = getattr(request, "session_key", None)
        if before and request.session.session_key not in {None, before} and isinstance(request.user, User):
            _note(request, request.user)  # the same session under another key
        return response

    def process_view(self, request: HttpRequest, view: Callable[..., HttpResponse], *_: Any) -> None:
        # What strangers may see is told without a look at the session: the database may be away.
        if getattr(view, "login_required", True) and settings.SESSION_COOKIE_NAME in request.COOKIES:
            request.session_key = _look(request)  # type: ignore[attr-defined]


def _shorten_unless_signed_in(request: HttpRequest) -> None:
    """Have what strangers leave behind on their way in swept soon: anybody may begin to sign in, and often."""
    session = request.session
    if session.modified and not session.is_empty() and not isinstance(request.user, User):
        session.set_expiry(STRANGER)


def _look(request: HttpRequest) -> str | None:
    """Note that somebody is here; end a session that has lasted too long. Return its key."""
    if not isinstance(request.user, User):
        return None
    now = timezone.now()
    began, seen = _moment(request, BEGAN), _moment(request, SEEN)
    if began is not None and now - began >= settings.SESSION_LIMIT:
        logout(request)
        return None
    if began is None:
        request.session[BEGAN] = now.timestamp()
    if seen is None or now - seen >= min(NOTE, settings.SESSION_IDLE / 10):
        try:
            _note(request, request.user)
        except UpdateError:  # ended elsewhere at this very moment
            logout(request)
            return None
    return request.session.session_key


def _note(request: HttpRequest, user: User) -> None:
    now = timezone.now()
    began = _moment(request, BEGAN) or now
    left = min(settings.SESSION_IDLE, began + settings.SESSION_LIMIT - now)
    request.session[SEEN] = now.timestamp()
    request.session.set_expiry(max(1, int(left.total_seconds())))
    request.session.save()
    noted = {"user": user, "browser": browsers.name_of(request), "began_at": began, "seen_at": now}
    SignIn.objects.update_or_create(session_id=request.session.session_key, defaults=noted)


def _moment(request: HttpRequest, name: str) -> datetime | None:
    noted = request.session.get(name)
    return datetime.fromtimestamp(noted, UTC) if isinstance(noted, float) else None
