"""Passwords: the same work whether or not there is such a person."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission
from django.db.models import Q
from django.http import HttpRequest

from chat.models import User


class PasswordBackend(ModelBackend):
    """Knows people by username or e-mail address."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        if not username or password is None:
            return None
        user = find(username)
        if user is None:
            User().set_password(password)  # takes as long as a look at a password
            return None
        return user if user.check_password(password) and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return what somebody may do, and what their groups may, in one query instead of two: each page asks."""
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if not hasattr(user_obj, "_perm_cache"):
            theirs = Permission.objects.filter(Q(user=user_obj) | Q(group__user=user_obj)).order_by()
            rows = theirs.values_list("content_type__app_label", "codename")
            user_obj._perm_cache = {f"{app}.{codename}" for app, codename in rows}  # noqa: SLF001 - as Django's does
        return user_obj._perm_cache  # noqa: SLF001


def find(login: str) -> User | None:
    """Return whom `login` names: a username, in any case if there is only one like it, or an e-mail address."""
    named = User.objects.filter(username__iexact=login)
    found = {user.username: user for user in named[:20] if is_same(user.username, login)}
    if login in found:
        return found[login]
    if not found and "@" in login:
        found = {user.username: user for user in having_address(login)}
    return next(iter(found.values())) if len(found) == 1 else None


def having_address(email: str) -> list[User]:
    """Return those whose e-mail address is `email`, in any case."""
    return [user for user in User.objects.filter(email__iexact=email)[:20] if is_same(user.email, email)]


def is_same(one: str, other: str) -> bool:
    """Whether two names that a database takes for the same are: PostgreSQL writes `ı` and `i` large as one letter."""
    return one.lower() == other.lower()
