"""Which hosts there are, which models they run, and in which versions."""

import hashlib
import json
import logging
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import DateTimeField, Expression, F, OuterRef, Q, TextChoices
from django.db.models.functions import Coalesce
from django.utils import timezone

from predictions import encryption, references, schema
from predictions.families import Family, OverrideNotUnderstood, family_of, merged

logger = logging.getLogger(__name__)

# The first of these that is known says when a version came: as its host tells it, else when it was last or first seen.
CAME = ("released_at", "latest_at", "created_at")
PATIENCE = {"cog": timedelta(seconds=30), "replicate": timedelta(minutes=30)}  # with a host that cannot be reached


class Provider(models.Model):
    """A host of models: Replicate, or one Cog server."""

    class Kind(TextChoices):
        COG = "cog", "Cog server"
        REPLICATE = "replicate", "Replicate"

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=Kind)
    base_url = models.URLField(max_length=500)
    concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How many predictions it takes at once; empty means no limit. A Cog server usually has one slot.",
    )
    enabled = models.BooleanField(default=True)
    from_environment = models.BooleanField(default=False, editable=False)  # switched off when no longer named there
    encrypted_token = models.TextField(blank=True, default="", db_default="", editable=False)  # for `base_url` alone

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def patience(self) -> timedelta:
        """How long its questions wait for it when it cannot be reached."""
        return PATIENCE[self.kind]

    @property
    def takes_token(self) -> bool:
        return self.kind == Provider.Kind.REPLICATE

    @property
    def is_replicate_itself(self) -> bool:
        """Whether it is where the environment says that Replicate is."""
        return self.takes_token and self.base_url == settings.REPLICATE_BASE_URL.rstrip("/")

    @property
    def token_of_environment(self) -> str:
        """The environment's token, which wins, where it is for this address; else ""."""
        return settings.REPLICATE_API_TOKEN if self.is_replicate_itself else ""

    @property
    def token(self) -> str:
        """What its host is asked with, "" where there is nothing; raise NotDecrypted."""
        return self.token_of_environment or self.own_token

    @property
    def own_token(self) -> str:
        """The one that was entered in the admin, or ""; raise NotDecrypted."""
        return encryption.decrypt(self.encrypted_token, purpose=self._purpose) if self.encrypted_token else ""

    def keep_token(self, token: str) -> None:
        """Have `token` saved with this row, good for this address alone; raise NotDecrypted where there is no key."""
        self.encrypted_token = encryption.encrypt(token, purpose=self._purpose)

    @property
    def way_in(self) -> tuple[str, str]:
        """What a connection to it is made from; when it changes, another one is needed."""
        return (self.base_url, self.encrypted_token)

    @property
    def _purpose(self) -> str:
        return f"token for {self.base_url}"


class ModelQuerySet(models.QuerySet["Model"]):
    def available(self) -> Self:
        """Models that can be asked now: switched on, on a provider that is, and with a version it has described."""
        return self.filter(enabled=True, provider__enabled=True, versions__is_described=True).distinct()

    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser of whichever model is configured
        """Those of the available models that `user` may ask: models without groups are for everybody."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_superuser:
            return self.available()
        return self.available().filter(Q(groups=None) | Q(groups__in=user.groups.all()))


class Model(models.Model):
    """What people choose in the picker; its versions do the answering."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="models")
    ref = models.CharField(
        "reference",
        max_length=250,
        help_text="At Replicate owner/name, deployments/owner/name, a version’s id, or the address of its page; "
        "for a Cog server any name.",
    )
    slug = models.SlugField(unique=True, max_length=250)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    icon = models.CharField(max_length=8, blank=True, help_text="An emoji, or up to two letters.")
    order = models.PositiveIntegerField(default=100, help_text="Small numbers come first; the first is the default.")
    enabled = models.BooleanField(default=True)
    groups = models.ManyToManyField(
        Group, blank=True, related_name="models", verbose_name="who may ask it", help_text="None means: everybody."
    )
    concurrency = models.PositiveIntegerField(
        "at once", null=True, blank=True, help_text="How many answers of it may run at once; empty means no limit."
    )
    is_official = models.BooleanField(default=False, help_text="Replicate's official models are asked by name alone.")
    facts = models.JSONField(default=dict, blank=True, editable=False)  # what its host tells: cover, licence, runs …
    system_prompt = models.TextField(blank=True)
    default_input = models.JSONField(default=dict, blank=True)
    context_length = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Tokens of conversation to send along; empty means 8,000, or three quarters of what it can hold.",
    )
    makes_titles = models.BooleanField(
        "makes the titles of conversations",
        default=False,
        help_text="It is asked once for each new conversation, when its first answer is there, and only while nobody "
        "waits. One model at most does it: this one takes the place of any other. Without one, a title is the first "
        "line of the question. Choose a small, quick model.",
    )
    override = models.JSONField(
        "what its schema does not say",
        default=dict,
        blank=True,
        help_text="Which input is the prompt, how a text for it is laid out, its context length, its price. "
        'Written like {"prompt": "text", "price": {"per_run": "0.01"}}; what is not said is known from its family.',
    )

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["order", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "ref"], name="model_once_per_provider"),
            models.UniqueConstraint(
                fields=["makes_titles"], condition=Q(makes_titles=True), name="one_model_makes_titles"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Write the reference as it is kept, whatever was pasted; refuse an override that nobody can read."""
        try:
            Family.from_json(self.override)
        except OverrideNotUnderstood as error:
            raise ValidationError({"override": str(error)}) from error
        if self.provider_id is None or self.provider.kind != Provider.Kind.REPLICATE:
            return
        if self.pk is not None:
            return  # the forms of a model that is there do not have its reference
        try:
            reference = references.parse(self.ref)
        except references.ReferenceNotUnderstood as error:
            raise ValidationError({"ref": str(error)}) from error
        if reference.path and reference.version:
            raise ValidationError({"ref": f"Write {reference.path} here, and then pin the version."})
        self.ref = str(reference)

    def family_of(self, version: "Version") -> Family:
        """Return what is known of `version` beside its schema, the admin's word before all others."""
        try:
            override = Family.from_json(self.override)
        except OverrideNotUnderstood as error:
            logger.warning("The override of %s is not understood: %s", self, error)
            override = Family()
        return merged(family_of(self.ref, version.inputs), override)


class VersionQuerySet(models.QuerySet["Version"]):
    def answering(self) -> Self:
        """Those that can be asked: described by their host, and still there."""
        return self.filter(is_described=True, gone_at=None)

    def newest_first(self) -> Self:
        """By when they came, whichever answers now."""
        return self.alias(came=came()).order_by("-came", "-pk")

    def came_after(self, version: str) -> Self:
        """Those that are newer than the `version` of the query around this one."""
        return self.alias(came=came()).filter(came__gt=came(version))


def came(outer: str = "") -> Expression:
    """When a version came, or the one that the query around this one calls `outer`."""
    moments = [OuterRef(f"{outer}__{name}") if outer else F(name) for name in CAME]
    return Coalesce(*moments, output_field=DateTimeField())


class Version(models.Model):
    """One version of a model, as its host describes it."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="versions")
    identifier = models.CharField(max_length=200, help_text="The host's id, or a digest of the schema if it has none.")
    openapi_schema = models.JSONField(default=dict, blank=True)
    is_described = models.BooleanField(default=True)  # False: named by an admin, and the host was not heard of it yet
    schema_hash = models.CharField(max_length=64, blank=True, editable=False)  # of `openapi_schema`
    latest_at = models.DateTimeField(null=True, blank=True)  # when the host last called it the one that answers
    released_at = models.DateTimeField(null=True, blank=True)  # as the host tells it
    gone_at = models.DateTimeField(null=True, blank=True)  # when the host was found not to have it any more
    gone_because = models.TextField(blank=True)  # in the host's words
    created_at = models.DateTimeField(auto_now_add=True)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = [F("latest_at").desc(nulls_last=True), F("released_at").desc(nulls_last=True), "-pk"]
        constraints = [models.UniqueConstraint(fields=["model", "identifier"], name="version_once_per_model")]

    def __str__(self) -> str:
        return f"{self.model} {self.short}"

    @property
    def short(self) -> str:
        """Its identifier as people read it; "current" where its host names none."""
        return self.identifier[:12] or "current"

    @property
    def came_at(self) -> datetime:
        """When it came, as far as is known."""
        return self.released_at or self.latest_at or self.created_at

    def note_gone(self, reason: str) -> None:
        """Note that its host does not have it any more, once."""
        there = Version.objects.filter(pk=self.pk, gone_at=None)
        if there.update(gone_at=timezone.now(), gone_because=reason):
            logger.warning("%s is gone at its host: %s", self, reason)

    @property
    def answers(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return self.is_described and self.gone_at is None

    @cached_property
    def inputs(self) -> dict[str, schema.Input]:
        """The inputs this version takes, by name, in the order in which its author shows them."""
        return schema.inputs_of(self.openapi_schema)

    @cached_property
    def output_kind(self) -> schema.OutputKind:
        return schema.output_of(self.openapi_schema)

    @property
    def can_stream(self) -> bool:
        """Whether a Cog server says that it streams; Replicate says so in each prediction instead."""
        return schema.streams(self.openapi_schema)

    @property
    def separator(self) -> str:
        """What stands between the parts of an output that is a list of texts."""
        return schema.separator_of(self.openapi_schema)


def schema_digest(openapi_schema: dict[str, Any]) -> str:
    """Name a version whose host names none: the same schema, the same name."""
    canonical = json.dumps(openapi_schema, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
