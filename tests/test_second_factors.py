"""Second factors: encrypted at rest, each code good once, and an answer in words when their key is gone."""

import base64
import os
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from chat.models import User
from tests.people import code_of, give_passkey, signed_in
from tests.test_encryption import dump

pytestmark = pytest.mark.django_db

ENTER = "/accounts/factors/code/"


@pytest.fixture
def secret(alice: User) -> str:
    made: str = generate_totp_secret()
    TOTP.activate(alice, made)
    RecoveryCodes.activate(alice)
    return made


def codes_of(user: User) -> list[str]:
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def after_password() -> Client:
    client = Client()
    answer = client.post("/accounts/login/", {"username": "alice", "password": "correct horse"})
    assert answer["Location"] == ENTER
    return client


def is_in_with(code: str) -> bool:
    client = after_password()
    client.post(ENTER, {"code": code})
    return client.get("/").status_code == 200


def test_a_dump_of_the_database_has_no_codes_in_it(alice: User, secret: str) -> None:
    codes, dumped = codes_of(alice), dump()

    assert "second factor" not in dumped
    assert not [text for text in (secret, *codes) if text in dumped]


def test_a_code_is_good_once_whichever_process_is_asked(secret: str) -> None:
    code = code_of(secret)
    assert is_in_with(code)
    cache.clear()  # another process has seen nothing

    assert not is_in_with(code)
    assert not is_in_with(f"{code[:3]} {code[3:]}")
    assert is_in_with(code_of(secret, later=1))


def test_a_key_asks_who_holds_it_after_a_password_too(alice: User) -> None:
    give_passkey(alice)  # or what it says then would do for signing in without one

    page = after_password().get(ENTER).content.decode()
    assert '"userVerification": "required"' in page
    assert "Use your passkey, or type" in page


def test_keys_are_rotated_and_codes_stay_good(alice: User, secret: str, settings: Any) -> None:
    codes, old, new = codes_of(alice), settings.ENCRYPTION_KEYS, base64.b64encode(os.urandom(32)).decode()
    settings.ENCRYPTION_KEYS = [new, *old]
    call_command("rotate_keys", stdout=StringIO())
    settings.ENCRYPTION_KEYS = [new]

    assert codes_of(alice) == codes
    assert is_in_with(code_of(secret))


def test_without_the_key_it_is_said_in_words_and_nobody_comes_in(alice: User, secret: str, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [base64.b64encode(os.urandom(32)).decode()]
    client = after_password()
    answer = client.post(ENTER, {"code": code_of(secret)})

    assert answer.status_code == 409
    assert "Your second factor cannot be read" in answer.content.decode()
    assert client.get("/").status_code == 302
    assert signed_in(alice).get(reverse("mfa_index")).status_code == 200
    out = StringIO()
    with pytest.raises(CommandError, match="remove those factors"):
        call_command("rotate_keys", stdout=out)
    assert "alice: a second factor cannot be read." in out.getvalue()
    with pytest.raises(CommandError, match="to look at"):
        call_command("doctor", stdout=out)
    assert "✗ keys: 2 secrets of second factors cannot be read" in out.getvalue()
