"""Which hosts there are, which models they run, in which versions, and which version answers."""

import hashlib
import json
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import TextChoices


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

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ModelQuerySet(models.QuerySet["Model"]):
    def available(self) -> Self:
        """Models that people can ask now: switched on, on a provider that is, and with a known version."""
        return self.filter(enabled=True, provider__enabled=True, versions__isnull=False).distinct()


class Model(models.Model):
    """What people choose in the picker; its versions do the answering."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="models")
    ref = models.CharField("reference", max_length=200, help_text="owner/name at Replicate; a Cog server's own name.")
    slug = models.SlugField(unique=True, max_length=200)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    order = models.PositiveIntegerField(default=100, help_text="Small numbers come first; the first is the default.")
    enabled = models.BooleanField(default=True)
    is_official = models.BooleanField(default=False, help_text="Replicate's official models are asked by name alone.")
    system_prompt = models.TextField(blank=True)
    default_input = models.JSONField(default=dict, blank=True)
    context_length = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens of conversation to send along; empty means 8,000."
    )

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["order", "name"]
        constraints = [models.UniqueConstraint(fields=["provider", "ref"], name="model_once_per_provider")]

    def __str__(self) -> str:
        return self.name


class Version(models.Model):
    """One version of a model, as its host describes it."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="versions")
    identifier = models.CharField(max_length=200, help_text="The host's id, or a digest of the schema if it has none.")
    openapi_schema = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["model", "identifier"], name="version_once_per_model")]

    def __str__(self) -> str:
        return f"{self.model} {self.identifier[:12]}"

    @property
    def input_properties(self) -> dict[str, Any]:
        """The inputs this version takes, by name: JSON schemas as Cog writes them."""
        properties = self._component("Input").get("properties", {})
        return properties if isinstance(properties, dict) else {}

    @property
    def can_stream(self) -> bool:
        """Whether a Cog server says that it streams; Replicate says so in each prediction instead."""
        path = self.openapi_schema.get("paths", {}).get("/predictions", {})
        return bool(path.get("post", {}).get("x-cog-streaming"))

    @property
    def separator(self) -> str:
        """What stands between the parts of an output that is a list of texts."""
        output = self._component("Output")
        concatenates = output.get("x-cog-array-display") == "concatenate" or not output
        return "" if concatenates else "\n"

    def _component(self, name: str) -> dict[str, Any]:
        component = self.openapi_schema.get("components", {}).get("schemas", {}).get(name, {})
        return component if isinstance(component, dict) else {}


def schema_digest(openapi_schema: dict[str, Any]) -> str:
    """Name a version whose host names none: the same schema, the same name."""
    canonical = json.dumps(openapi_schema, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Pin(models.Model):
    """Who decided when and why that a version answers in an environment; the newest one counts."""

    class Environment(models.TextChoices):
        PRODUCTION = "production"
        STAGING = "staging"
        DEVELOPMENT = "development"

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="pins")
    environment = models.CharField(max_length=20, choices=Environment)
    version = models.ForeignKey(
        Version, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty means: the latest."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["model", "environment", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.model} in {self.environment}: {self.version or 'latest'}"

    def clean(self) -> None:
        if self.version is not None and self.version.model_id != self.model_id:
            raise ValidationError({"version": "This is a version of another model."})
