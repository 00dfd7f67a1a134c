"""Groups and the rights they carry. Everybody is a member of “Everybody”, until an admin takes somebody out of it."""

from django.contrib.auth.models import Group, Permission

from chat.models import User
from chat.people.models import EVERYBODY

OF_EVERYBODY = ("upload_files", "export_conversations")  # until an admin says otherwise


def make_everybody(using: str) -> None:
    """Make the group that all are members of, where there is none yet."""
    group, is_new = Group.objects.using(using).get_or_create(name=EVERYBODY)
    if is_new:
        rights = Permission.objects.using(using).filter(content_type__app_label="people", codename__in=OF_EVERYBODY)
        group.permissions.set(rights)
        group.user_set.set(User.objects.using(using).all())
