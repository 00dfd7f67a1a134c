"""Files that people give to a prediction and that models make, in our own storage."""

import base64
import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from predictions.models.prediction import Prediction
from predictions.schema import FILE_REFERENCE

NAME_LENGTH = 120  # characters
KEPT_BY_HOSTS = timedelta(hours=1)  # Replicate deletes what a model made about an hour after the end
FIRST_RETRY = timedelta(seconds=30)  # after a copy that failed; each further pause is as long as all before it
RETRY_LEASE = timedelta(minutes=10)  # in which one worker alone tries; a copy takes five minutes at most


def storage_name(file: models.Model, name: str) -> str:
    # Names that people or models chose stay in the database: a storage must not have to trust them.
    return f"files/{file.pk.hex[:2]}/{file.pk.hex}"


class FileQuerySet(models.QuerySet["File"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser of whichever model is configured
        """The files that `user` may see: those of their predictions."""
        return self.filter(prediction__in=Prediction.objects.for_user(user))

    def inputs(self) -> Self:
        return self.filter(role=File.Role.INPUT)

    def outputs(self) -> Self:
        return self.filter(role=File.Role.OUTPUT)

    def retried(self) -> Self:
        """Those that could not be copied and will be tried again."""
        return self.exclude(retry_at=None)

    def claim_retries(self, at: datetime, *, limit: int) -> list["File"]:
        """Take up to `limit` files that are to be tried again now; no other worker gets the same."""
        due = self.filter(retry_at__lte=at).select_related("prediction__model__provider").order_by("retry_at")
        return [file for file in due[:limit] if file.claim_retry(at)]


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
    content = models.FileField(upload_to=storage_name, blank=True)
    error = models.TextField(blank=True)  # for people: why there is no content
    created_at = models.DateTimeField(default=timezone.now)
    # Where the provider has it, and until when: an input that was sent, an output still to be copied. Never shown.
    provider_url = models.TextField(blank=True)
    provider_url_until = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)  # when an output that could not be copied is tried again

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["role", "position"]
        constraints = [
            models.UniqueConstraint(fields=["prediction", "role", "position"], name="file_once_per_position")
        ]
        indexes = [models.Index(fields=["retry_at"], name="file_retried", condition=Q(retry_at__isnull=False))]

    def __str__(self) -> str:
        return self.name

    @property
    def reference(self) -> str:
        """What stands for an input file in its prediction's input until the provider is asked."""
        return f"{FILE_REFERENCE}{self.id}"

    def as_data_uri(self) -> str:
        with self.content.open() as content:
            data = base64.b64encode(content.read()).decode()
        return f"data:{self.media_type};base64,{data}"

    # ------------------------------------------------------------ trying again

    def expect(self, address: str, *, at: datetime) -> None:
        """Plan the first retry of a copy that failed at `at`; the row is not saved."""
        self.provider_url, self.provider_url_until = address, at + KEPT_BY_HOSTS
        self.retry_at = at + FIRST_RETRY

    def claim_retry(self, at: datetime) -> bool:
        """Take the retry for this process; False if another one has it."""
        lease = at + RETRY_LEASE
        taken = self._planned().update(retry_at=lease)
        self.retry_at = lease
        return bool(taken)

    def note_retry_failed(self, error: str, *, at: datetime) -> bool:
        """Note that a claimed retry failed and plan the next one; False if the host will have deleted the file."""
        assert self.provider_url_until is not None  # noqa: S101 - `expect` has set it
        began = self.provider_url_until - KEPT_BY_HOSTS
        next_at = at + max(FIRST_RETRY, at - began)
        is_worth_it = next_at < self.provider_url_until
        if is_worth_it:
            self._planned().update(error=error, retry_at=next_at)
        else:
            self.note_retried(error=error)
        return is_worth_it

    def note_retried(self, **outcome: Any) -> bool:
        """End the retries with the fields in `outcome`; False if the claim ran out, or the row has gone."""
        return bool(self._planned().update(provider_url="", provider_url_until=None, retry_at=None, **outcome))

    def _planned(self) -> FileQuerySet:
        return File.objects.filter(pk=self.pk, retry_at=self.retry_at)
