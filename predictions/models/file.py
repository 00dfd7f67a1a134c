"""Files that people give to a prediction and that models make, in our own storage."""

import base64
import uuid
from typing import Any, Self

from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from predictions.models.prediction import Prediction

NAME_LENGTH = 120  # characters


def _storage_name(file: "File", name: str) -> str:
    # Names that people or models chose stay in the database: a storage must not have to trust them.
    return f"files/{file.id.hex[:2]}/{file.id.hex}"


class FileQuerySet(models.QuerySet["File"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser of whichever model is configured
        """The files that `user` may see: those of their predictions."""
        return self.filter(prediction__in=Prediction.objects.for_user(user))

    def inputs(self) -> Self:
        return self.filter(role=File.Role.INPUT)

    def outputs(self) -> Self:
        return self.filter(role=File.Role.OUTPUT)


class File(models.Model):
    """One file of a prediction. Its content is there before its row is; without content, `error` says why."""

    class Role(models.TextChoices):
        INPUT = "input"
        OUTPUT = "output"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="files")
    role = models.CharField(max_length=6, choices=Role)
    position = models.PositiveIntegerField()  # 0, 1, 2 … among the files of the same role
    name = models.CharField(max_length=NAME_LENGTH)
    media_type = models.CharField(max_length=100, blank=True)  # as its first bytes tell
    size = models.PositiveBigIntegerField(default=0)  # bytes
    sha256 = models.CharField(max_length=64, blank=True)
    content = models.FileField(upload_to=_storage_name, blank=True)
    error = models.TextField(blank=True)  # for people: why there is no content
    created_at = models.DateTimeField(default=timezone.now)
    # Where the provider has a copy of an input, and until when.
    provider_url = models.TextField(blank=True)
    provider_url_until = models.DateTimeField(null=True, blank=True)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["role", "position"]
        constraints = [
            models.UniqueConstraint(fields=["prediction", "role", "position"], name="file_once_per_position")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """What stands for an input file in its prediction's input until the provider is asked."""
        return f"parley-file:{self.id}"

    def as_data_uri(self) -> str:
        with self.content.open() as content:
            data = base64.b64encode(content.read()).decode()
        return f"data:{self.media_type};base64,{data}"


@receiver(post_delete, sender=File)
def delete_content(instance: File, **_: Any) -> None:
    """Let go of the content once the row is surely gone."""
    if instance.content:
        transaction.on_commit(lambda: instance.content.delete(save=False))
