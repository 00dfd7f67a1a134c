"""What the links in messages hold: signed, good for a day, and worth nothing for anything else."""

import re
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core import signing
from django.db import transaction

from chat.models import User
from chat.people.models import EVERYBODY

AGE = 24 * 3600  # seconds
SIGN_UP, ADDRESS = "chat.people.sign-up", "chat.people.address"

PLAIN = re.compile(r"[a-z0-9._+-]{1,64}@[a-z0-9.-]{1,190}", re.IGNORECASE | re.ASCII)


def may_sign_up(email: str) -> bool:
    """Whether `email` is at one of the domains whose people may make accounts: at none below them, none like them."""
    # No quotes, comments, routes or letters of other scripts: mail servers read them in different ways.
    return bool(PLAIN.fullmatch(email)) and email.rpartition("@")[2].lower() in settings.SIGNUP_DOMAINS


def is_taken(email: str) -> bool:
    return User.objects.filter(email__iexact=email).exists()


@transaction.atomic
def make_account(username: str, password: str, email: str) -> User | None:
    """Make an account; None if there is one with this address by now."""
    # One after the other: two that open the same link at once would both find the address free.
    Group.objects.select_for_update().filter(name=EVERYBODY).first()
    return None if is_taken(email) else User.objects.create_user(username, email=email, password=password)


def seal(salt: str, **said: Any) -> str:
    return signing.dumps(said, salt=salt)


def unseal(salt: str, token: str) -> dict[str, Any] | None:
    """Return what was sealed; None if it is too old, or was not sealed here for this."""
    try:
        said: dict[str, Any] = signing.loads(token[:2_000], salt=salt, max_age=AGE)
    except signing.BadSignature:
        return None
    return said
