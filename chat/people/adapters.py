"""How django-allauth fits in: our words, our waits, our addresses."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from chat.models import User
from chat.people import browsers, second_factors
from chat.people.tries import Attempt
from predictions import encryption


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "incorrect_password": "This password is not right. Try again.",
        "incorrect_code": "This code is not right. Try again.",
        "enter_current_password": "This is not your password. Try again.",
    }

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return whose name and password these are; raise TooSoon."""
        attempt = Attempt(request, credentials.get("username", ""))
        user = authenticate(request, username=credentials.get("username"), password=credentials.get("password"))
        if user is None:
            return None
        attempt.succeeded()
        assert isinstance(user, User)  # noqa: S101 - there are no others
        return user

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False  # accounts are made by invitations, by links to an address, and by whoever vouches for people

    def get_client_ip(self, request: HttpRequest) -> str:
        return browsers.address_of(request)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("people:account")

    def add_message(self, request: HttpRequest, level: int, *args: Any, **kwargs: Any) -> None:
        """Say only what went wrong: the page that follows shows what went right."""
        if level >= messages.ERROR and (words := kwargs.get("message")):
            messages.add_message(request, level, words)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        return render(request, "people/switched_off.html", status=403)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if settings.EMAIL_URL:
            super().send_mail(template_prefix, email, context)

    def format_email_subject(self, subject: str) -> str:
        return f"[Parley] {subject}"


class MFAAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This was not right. Try again.",
    }

    def encrypt(self, text: str) -> str:
        """Return a secret of a second factor as the database has it."""
        return encryption.encrypt(text, purpose=second_factors.PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        """Return it as it was; raise NotDecrypted, which `second_factors.in_words` tells people."""
        return encryption.decrypt(encrypted_text, purpose=second_factors.PURPOSE)

    def get_totp_label(self, user: Any) -> str:
        return user.get_username()

    def generate_authenticator_name(self, user: Any, type: Any) -> str:  # noqa: A002 - as django-allauth names it
        """Suggest what a passkey is called: after the browser that makes it."""
        return browsers.name_of(context.request)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Parley"}
