"""Second factors: who has one, what of them is encrypted, and how often a code may be guessed or used."""

from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from chat.people import tries
from chat.people.models import Tries
from predictions import encryption

PURPOSE = "second factor"
SECRETS = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}  # where they are in `data`


def has_second_factor(request: HttpRequest) -> bool:
    """Whether more than a password is asked of whoever signs in as this person, here or by whoever vouches for them."""
    if any(record.get("method") == "socialaccount" for record in get_authentication_records(request, request.user)):
        return True
    return Authenticator.objects.filter(user=request.user).exclude(type=Authenticator.Type.RECOVERY_CODES).exists()


# ---------------------------------------------------------------- what the database has of them


@transaction.atomic
def rotate() -> list[str]:
    """Encrypt all of them with the first key; return what could not be read."""
    rows = Authenticator.objects.select_for_update().filter(type__in=SECRETS)  # none is used or replaced meanwhile
    return [problem for row in rows if (problem := _rotate(row))]


def _rotate(row: Authenticator) -> str | None:
    name = SECRETS[row.type]
    try:
        row.data[name] = encryption.encrypt(_secret_of(row), purpose=PURPOSE)
    except encryption.NotDecrypted as error:
        return f"{row.user}: a second factor cannot be read. {error}"
    row.save(update_fields=["data"])
    return None


def check_keys() -> str | None:
    """Whether they can be read with the keys that are here."""
    count = sum(not _reads(row) for row in Authenticator.objects.filter(type__in=SECRETS).iterator())
    if count == 0:
        return None
    return (
        f"{count} secret{'s' if count > 1 else ''} of second factors cannot be read: encrypted with another key. Bring "
        "the key back (PARLEY_ENCRYPTION_KEY), or remove those factors in the admin."
    )


def _reads(row: Authenticator) -> bool:
    try:
        _secret_of(row)
    except encryption.NotDecrypted:
        return False
    return True


def _secret_of(row: Authenticator) -> str:
    return encryption.decrypt(row.data[SECRETS[row.type]], purpose=PURPOSE)


def in_words(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Have `view` say so where a second factor cannot be read, because its key is not here any more."""

    def told(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except encryption.NotDecrypted:
            return render(request, "people/factor_unreadable.html", status=409)

    return told


# ---------------------------------------------------------------- codes


class Careful:
    """Counts each wrong code, and takes a right one once; a form that the password came before."""

    def clean_code(self) -> str:
        user_id = self.user.pk  # type: ignore[attr-defined]
        claim = tries.take_code(user_id)
        code: str = super().clean_code()  # type: ignore[misc]
        if not tries.is_first_use(user_id, code):
            raise get_adapter().validation_error("incorrect_code")
        Tries.forgive(claim)
        return code


class AuthenticateForm(Careful, forms.AuthenticateForm):
    """At the sign-in."""

    @property
    def has_app(self) -> bool:
        """Whether whoever signs in has an authenticator app."""
        return Authenticator.objects.filter(user=self.user, type=Authenticator.Type.TOTP).exists()


class ReauthenticateForm(Careful, forms.ReauthenticateForm):
    """Before a change of the account."""
