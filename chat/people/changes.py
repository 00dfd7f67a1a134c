"""What follows when people, their rights or their sessions change."""

from collections.abc import Collection
from typing import Any

from allauth.account.models import EmailAddress
from allauth.core import context
from django.contrib.auth.models import Group
from django.db import transaction

from chat.models import User
from chat.people.models import EVERYBODY, Assertion, Invitation, SignIn, Tries
from chat.people.presence import tell_change

OF_EACH_SIGN_IN = {"last_login"}


def user_saved(
    instance: User, created: bool = False, update_fields: Collection[str] | None = None, raw: bool = False, **_: Any
) -> None:
    if raw or (update_fields is not None and set(update_fields) <= OF_EACH_SIGN_IN):
        return
    if created:
        instance.groups.add(*Group.objects.filter(name=EVERYBODY))
        return
    if not instance.is_active:
        SignIn.end_all(instance)
        Invitation.objects.filter(created_by=instance).open().revoke()  # they could have kept one for themselves
    elif getattr(instance, "_password", None) is not None:  # a new one, not the old one written anew
        transaction.on_commit(lambda: SignIn.end_all(instance, but=_session_of(instance)))
    # An address that is theirs no more must not open the account.
    EmailAddress.objects.filter(user=instance).exclude(email__iexact=instance.email).delete()
    tell_change()


def _session_of(user: User) -> str | None:
    """Return the session in which `user` does this to themselves."""
    request = context.request
    return request.session.session_key if request is not None and request.user == user else None


def gone(**_: Any) -> None:
    tell_change()


def rights_changed(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        tell_change()


def forget_old(**_: Any) -> None:
    Tries.forget_old()
    Assertion.forget_old()
