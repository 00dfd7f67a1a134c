"""Signing in where somebody else vouches for people, by OpenID Connect or SAML, and for the groups that they are in."""

import logging
from typing import Any

from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from chat.models import User
from chat.people import claims, ranks
from chat.people.backend import having_address
from chat.people.claims import Said
from chat.people.models import EVERYBODY

logger = logging.getLogger(__name__)

OIDC = "oidc"  # what accounts that come by OpenID Connect have; those of SAML have the provider's name


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True  # whom the provider lets in is its business

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """Suggest a username without an @, or somebody could be called as another one's address is."""
        name = str(data.get("username") or "").partition("@")[0]
        user: User = super().populate_user(request, sociallogin, {**data, "username": name})
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find whose account it is, and bring what the provider says about them up to date."""
        said = said_by(sociallogin)
        owner = None if sociallogin.is_existing else self._owner_of(request, said.email)
        email = "" if owner is not None and _is_of_another(owner, sociallogin) else said.email
        sociallogin.email_addresses = [EmailAddress(email=email, verified=True, primary=True)] if email else []
        if owner is not None and email:
            sociallogin.connect(request, owner)
        if sociallogin.is_existing:
            apply(said, sociallogin.user)
        else:
            sociallogin.user.email = email

    def _owner_of(self, request: HttpRequest, email: str) -> User | None:
        """Return whose account has this address, which an admin or its owner has shown to be theirs."""
        owners = having_address(email) if email else []
        if len(owners) > 1:
            logger.warning("Two accounts have the same address: nobody can sign in as either through the provider.")
            raise ImmediateHttpResponse(render(request, "people/vouching_failed.html", {"is_double": True}, status=409))
        return owners[0] if owners else None

    @transaction.atomic  # of two that come at once as the same, one makes the account, and the other leaves none
    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        apply(said_by(sociallogin), user)
        return user

    def on_authentication_error(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if error := kwargs.get("exception"):
            logger.warning("Signing in at the issuer failed: %s", type(error).__name__)
        raise ImmediateHttpResponse(failed(request, settings.OIDC_NAME))

    def get_requests_session(self) -> Any:  # naming the type would bring it along
        from chat.people.oidc import Door  # noqa: PLC0415 - SAML asks nobody

        return Door()


def _is_of_another(owner: User, sociallogin: SocialLogin) -> bool:
    """Whether the provider has vouched for the owner as somebody else: it gives addresses of leavers to others."""
    is_other = SocialAccount.objects.filter(user=owner, provider=sociallogin.account.provider).exists()
    if is_other:
        logger.warning("Somebody has an address that was another person's at the provider: they get a new account.")
    return is_other


def turn_away(request: HttpRequest) -> HttpResponse | None:
    """Refuse to send somebody to a provider who is signed in, or whom another site's link would sign in."""
    if request.user.is_authenticated:
        return redirect("chat:home")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return redirect("login")
    return None


def failed(request: HttpRequest, name: str, *, status: int = 403) -> HttpResponse:
    return render(request, "people/vouching_failed.html", {"name": name}, status=status)


def said_by(sociallogin: SocialLogin) -> Said:
    account = sociallogin.account
    return claims.of_oidc(account.extra_data) if account.provider == OIDC else claims.of_saml(account.extra_data)


@transaction.atomic
def apply(said: Said, user: User) -> None:
    """Have somebody be in the groups that the provider names, of those that there are here, and in no others."""
    if said.groups is None:
        return
    kept = list(user.groups.filter(name=EVERYBODY))
    user.groups.set([*Group.objects.filter(name__in=said.groups).exclude(name=EVERYBODY), *kept])
    if said.is_admin is not None:
        _rank(user, is_admin=said.is_admin)


def _rank(user: User, *, is_admin: bool) -> None:
    if user.is_superuser == is_admin:  # who may merely enter the administration is decided here
        return
    if not is_admin and ranks.is_last_admin(user, hold=True):
        logger.warning("The provider says that the last admin is none: nothing was changed.")
        return
    user.is_staff = user.is_superuser = is_admin
    user.save(update_fields=["is_staff", "is_superuser"])
