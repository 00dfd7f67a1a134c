"""Files that people have picked for a question that is not sent yet; and when the content of files may go."""

import uuid
from collections.abc import Sequence
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from predictions.models.file import NAME_LENGTH, File, storage_name

MOST_UNSENT = 50  # of one person; where there are more, the oldest go


class UploadQuerySet(models.QuerySet["Upload"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser of whichever model is configured
        """The uploads that `user` may send."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(owner=user)

    def claim(self, user: Any, keys: Sequence[uuid.UUID]) -> list["Upload"]:  # user: as for `for_user`
        """Return those with `keys` in that order, locked; there are fewer where some are gone. In a transaction."""
        found = {upload.pk: upload for upload in self.for_user(user).select_for_update().filter(pk__in=keys)}
        return [found[key] for key in dict.fromkeys(keys) if key in found]


class Upload(models.Model):
    """One file that waits for its question. Its content becomes that of a File when the question is sent."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    name = models.CharField(max_length=NAME_LENGTH)
    media_type = models.CharField(max_length=100, blank=True)  # as its first bytes tell
    size = models.PositiveBigIntegerField(default=0)  # bytes
    sha256 = models.CharField(max_length=64, blank=True)
    content = models.FileField(upload_to=storage_name)
    created_at = models.DateTimeField(default=timezone.now)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="upload_of_owner"),
            models.Index(fields=["created_at"], name="upload_age"),
        ]

    def __str__(self) -> str:
        return self.name


@receiver(post_delete, sender=File)
@receiver(post_delete, sender=Upload)
def delete_content(instance: File | Upload, **_: Any) -> None:
    """Let go of the content once the row is surely gone, and every other row that has the same."""
    if instance.content:
        transaction.on_commit(lambda: _delete_unless_shared(instance))


def _delete_unless_shared(file: File | Upload) -> None:
    if not any(kind.objects.filter(content=file.content.name).exists() for kind in (File, Upload)):
        file.content.delete(save=False)
