"""Passkeys: what a browser sends as one may be anything at all."""

import struct
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn import forms
from cryptography.exceptions import InvalidSignature

ODD = (ValueError, LookupError, TypeError, AttributeError, struct.error, InvalidSignature)


class Understood:
    """Refuses in words what django-allauth and its parser only expect to be right."""

    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except ODD as error:
            raise get_adapter().validation_error("incorrect_code") from error


class LoginForm(Understood, forms.LoginWebAuthnForm):
    """Instead of a name and a password."""


class AuthenticateForm(Understood, forms.AuthenticateWebAuthnForm):
    """After a password."""


class ReauthenticateForm(Understood, forms.ReauthenticateWebAuthnForm):
    """Before a change of the account."""


class AddForm(forms.AddWebAuthnForm):
    def clean(self) -> Any:
        try:
            return super().clean()
        except ODD as error:
            raise get_adapter().validation_error("incorrect_code") from error
