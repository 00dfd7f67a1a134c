"""Who decided when and why which version of a model answers."""

import hashlib
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import IntegrityError, models, transaction

from predictions.models.catalogue import Model, Version

VERSIONS = ("version", "fallback", "candidate")  # that a pin names


class PinChanged(Exception):
    """Somebody else has pinned another version in the meantime."""


class PinQuerySet(models.QuerySet["Pin"]):
    def here(self) -> Self:
        """Those of this instance's environment."""
        return self.filter(environment=settings.ENVIRONMENT)

    def current(self) -> Self:
        """Those that count, and not what came before them."""
        return self.filter(replaced_by=None)

    def newest(self, model: Model, environment: str) -> "Pin | None":
        """The pin that counts for `model` in `environment`."""
        return self.current().filter(model=model, environment=environment).with_versions().first()

    def with_versions(self, *prefixes: str) -> Self:
        """Fetch their versions along, and those of what `prefixes` lead to, but not their long documents."""
        paths = [f"{prefix}{name}" for prefix in ("", *prefixes) for name in VERSIONS]
        return self.select_related(*paths).defer(*(f"{path}__openapi_schema" for path in paths))

    def create(self, **fields: Any) -> "Pin":
        """Have a new pin take the place of the newest, or of the one in `replaces`; raise PinChanged if it cannot."""
        fields.setdefault("replaces", self.newest(fields["model"], fields["environment"]))
        try:
            with transaction.atomic():
                return super().create(**fields)
        except IntegrityError as error:
            raise PinChanged from error


class Pin(models.Model):
    """A decision which version of a model answers in an environment. Pins are history: a new one replaces the last.

    Each replaces exactly one, and is replaced by one at most: of two that decide at once, one has to look again.
    """

    class Environment(models.TextChoices):
        PRODUCTION = "production"
        STAGING = "staging"
        DEVELOPMENT = "development"

    # Where it counts; and what is decided, which a pin that restores an earlier one takes over.
    PLACE = ("model", "environment")
    DECISION = (
        *("version", "fallback", "falls_back_to_latest"),
        *("candidate", "candidate_share", "candidate_group"),
    )

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="pins")
    environment = models.CharField(max_length=20, choices=Environment)
    version = models.ForeignKey(
        Version,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="pins",
        help_text="Empty means: whichever is the latest.",
    )
    fallback = models.ForeignKey(
        Version,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Answers while the pinned version is gone or disabled at its host; each answer says so.",
    )
    falls_back_to_latest = models.BooleanField(
        default=False, help_text="While the pinned version is gone, and its fallback too, the latest one answers."
    )
    candidate = models.ForeignKey(
        Version,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="A version that is tried out with a part of the new conversations.",
    )
    candidate_share = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(100)], help_text="Percent of the new conversations it answers."
    )
    candidate_group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Whose new conversations it answers, whatever the share.",
    )
    moves_conversations = models.BooleanField(
        default=False,
        help_text="Conversations that have begun go on with this pin’s version; otherwise they keep theirs.",
    )
    replaces = models.OneToOneField(
        "self", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="replaced_by"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )
    reason = models.CharField(max_length=500, blank=True)
    comparison = models.ForeignKey(
        "Comparison", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="pins"
    )  # that was looked at before

    objects = PinQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["model", "environment", "-id"], name="pin_newest")]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "environment"], condition=models.Q(replaces=None), name="pin_first_once"
            ),
            models.CheckConstraint(condition=models.Q(candidate_share__lte=100), name="pin_share_is_percent"),
        ]

    def __str__(self) -> str:
        return f"{self.model} in {self.environment}: {self.version.short if self.version else 'latest'}"

    def clean(self) -> None:
        for name in ("version", "fallback", "candidate"):
            version = getattr(self, name)
            if version is not None and version.model_id != self.model_id:
                raise ValidationError({name: "This is a version of another model."})
        if self.fallback is not None and self.fallback == self.version:
            raise ValidationError({"fallback": "A version cannot stand in for itself."})
        if self.candidate is None and (self.candidate_share or self.candidate_group):
            raise ValidationError({"candidate": "Choose the version that is to be tried out."})

    def repeat(self, **told: Any) -> "Pin":  # the other fields of a pin
        """Write down a new pin that decides what this one does; raise PinChanged."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in (*self.PLACE, *self.DECISION)}
        create: Any = Pin.objects.create  # mypy's plugin takes the dictionary for the value of `id`
        pin: Pin = create(**{**fields, **told})
        return pin

    def restore(self, *, by: Any, reason: str, **place: "Pin | None") -> "Pin":  # by: a User of whichever model
        """Decide anew as this pin did, for conversations that have begun, too: there is trouble.

        `replaces` may name the pin that was seen to count; raises PinChanged if another one does.
        """
        return self.repeat(created_by=by, reason=reason, moves_conversations=True, **place)

    def tries_candidate(self, user: Any, conversation: UUID | None) -> bool:  # a User or AnonymousUser
        """Whether a new conversation is one of those that the candidate answers; always the same for the same one."""
        if self.candidate is None or not self.candidate.answers:
            return False
        if self.candidate_group_id and user is not None and user.groups.filter(pk=self.candidate_group_id).exists():
            return True
        return conversation is not None and _percentile(self.model_id, conversation) < self.candidate_share


def _percentile(model_id: int, conversation: UUID) -> int:
    """Return a number from 0 to 99 that any two models share out differently."""
    digest = hashlib.blake2b(f"{model_id} {conversation}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 100
