"""The app, and what it listens to."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save


class PeopleConfig(AppConfig):
    name = "chat.people"
    label = "people"
    verbose_name = "People"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from chat.models import User
        from chat.people import changes, middleware
        from chat.people.models import SignIn
        from predictions.signals import ends_missed

        user_logged_in.connect(middleware.note_sign_in)
        post_save.connect(changes.user_saved, sender=User)
        for sender in (User, SignIn):
            post_delete.connect(changes.gone, sender=sender)
        for through in (User.groups.through, User.user_permissions.through):
            m2m_changed.connect(changes.rights_changed, sender=through)
        post_migrate.connect(make_everybody, sender=self)
        for label in ("auth", "chat"):  # what the admin lists of theirs stands beside invitations
            apps.get_app_config(label).verbose_name = self.verbose_name
        ends_missed.connect(changes.forget_old)


def make_everybody(using: str, **_: Any) -> None:
    from chat.people import groups

    groups.make_everybody(using)
