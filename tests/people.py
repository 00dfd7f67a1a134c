"""People with rights, and their browsers as far as tests without a real one need them."""

from django.contrib.auth.models import Permission
from django.test import Client

from chat.models import User


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def with_rights(user: User, *rights: str) -> User:
    """Let `user` into the admin, with these rights and no others."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return User.objects.get(pk=user.pk)  # Django keeps the rights it has read


def staff(*rights: str) -> Client:
    """Sign bob in, who has these rights and no others."""
    return signed_in(with_rights(User.objects.create_user("bob", password="battery staple"), *rights))
