"""How often somebody may try: rising waits for an account and for an address, but not for its owner's own browser."""

from datetime import timedelta

from allauth.core.internal.cryptokit import normalize_user_code
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from chat.people import browsers
from chat.people.models import Claim, Patience, Tries

ACCOUNT = Patience(free=5, longest=timedelta(minutes=15))
ADDRESS = Patience(free=30, longest=timedelta(minutes=5))
SENDER = Patience(free=100, longest=timedelta(minutes=5))  # messages that one address asks for
MAIL = Patience(free=3, longest=timedelta(hours=1))  # messages to one address; nobody's mailbox is to be flooded


class TooSoon(ValidationError):
    """Nothing may be tried for a while."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait
        super().__init__(f"There were too many attempts. Try again in {in_words(wait)}.", code="too_soon")


def in_words(wait: timedelta) -> str:
    seconds = int(wait.total_seconds()) + 1
    if seconds > 90:
        return f"{-(-seconds // 60)} minutes"
    return f"{seconds} seconds" if seconds > 1 else "a second"


class Attempt:
    """A try to sign in as `login`, counted as a failure until it `succeeded`; raises TooSoon."""

    def __init__(self, request: HttpRequest, login: str) -> None:
        known = browsers.known_browser(request, login)
        self._account = Claim(f"account {known or ''} {login.casefold()}", ACCOUNT)
        # Whoever sits in the same office as somebody who guesses still gets in with a browser that is known.
        self._address = None if known else Claim(f"address {browsers.address_of(request)}", ADDRESS)
        take(self._account, *filter(None, [self._address]))

    def succeeded(self) -> None:
        Tries.forgive(self._account)
        if self._address is not None:
            Tries.give_back(self._address)


def take(*claims: Claim) -> None:
    """Count a try; raise TooSoon."""
    wait = Tries.take(claims)
    if wait > timedelta():
        raise TooSoon(wait)


def take_code(user_id: int) -> Claim:
    """Count a try to guess a code of somebody whose password is known already; raise TooSoon."""
    claim = Claim(f"code {user_id}", ACCOUNT)
    take(claim)
    return claim


def is_first_use(user_id: int, code: str) -> bool:
    """Note that a code was used; whether it had not been before. What django-allauth notes of it one process knows."""
    used = Claim(f"used code {user_id} {normalize_user_code(code)}", ACCOUNT)
    return Tries.objects.get_or_create(digest=used.digest)[1]


def take_mail(request: HttpRequest, email: str) -> None:
    """Count a message that a stranger has sent to `email`; raise TooSoon."""
    take(
        Claim(f"mail {email.casefold()}", MAIL),
        Claim(f"mail from {browsers.address_of(request)}", SENDER),
    )
