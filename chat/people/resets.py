"""Links with which somebody chooses a new password, by mail or from the hands of an admin."""

from django.contrib.auth.tokens import default_token_generator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from chat.models import User


def path_for(user: User) -> str:
    """Return the path of such a link: good for a day, and until the password changes or somebody signs in."""
    sealed = urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
    return reverse("people:password_choose", args=sealed)
