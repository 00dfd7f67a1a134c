"""What the database keeps only encrypted, with keys that are not in it (`PARLEY_ENCRYPTION_KEY`).

The first key encrypts, all of them decrypt. What is encrypted says what it is for, and is given out for that alone.
"""

import json
from typing import TYPE_CHECKING

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

ENCRYPTED = "gAAAA"  # how all that Fernet makes begins
STANDARD_TO_URL_SAFE = str.maketrans("+/", "-_")  # base64 is written in two ways

BAD_KEY = (
    "PARLEY_ENCRYPTION_KEY, or the file encryption-key in the data folder, holds something that is no key. A key is 32 "
    "random bytes in base64: `openssl rand -base64 32` makes one."
)
OTHER_KEY = (
    "It was encrypted with another key than those of PARLEY_ENCRYPTION_KEY, or of the file encryption-key in the data "
    "folder."
)
OTHER_PURPOSE = "It was entered for another address."


class NotDecrypted(Exception):
    """A secret cannot be read; the text says why."""


@sensitive_variables()
def encrypt(text: str, *, purpose: str) -> str:
    """Return `text` as only a holder of the keys reads it, for `purpose` alone; raise NotDecrypted without a key."""
    return _keys().encrypt(json.dumps([purpose, text]).encode()).decode()


@sensitive_variables()
def decrypt(sealed: str, *, purpose: str) -> str:
    """Return what was encrypted for `purpose`; raise NotDecrypted."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415

    keys = _keys()
    try:
        meant_for, text = json.loads(keys.decrypt(sealed.encode()))
    except (InvalidToken, ValueError, TypeError):
        raise NotDecrypted(OTHER_KEY) from None
    if meant_for != purpose:
        raise NotDecrypted(OTHER_PURPOSE)
    return str(text)


def check_keys() -> str | None:
    """Return what is wrong with the keys, if anything is."""
    try:
        _keys()
    except NotDecrypted as error:
        return str(error)
    return None


def _keys() -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

    try:
        return MultiFernet([Fernet(key.strip().translate(STANDARD_TO_URL_SAFE)) for key in settings.ENCRYPTION_KEYS])
    except ValueError:
        raise NotDecrypted(BAD_KEY) from None
