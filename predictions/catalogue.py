"""Keep the catalogue in step with the environment (which hosts) and with the hosts (which versions)."""

import asyncio
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import Error
from django.db.models import QuerySet
from django.utils.text import slugify

from predictions.database import query
from predictions.models import Model, Version
from predictions.models import Provider as ProviderRow
from predictions.providers import Provider
from predictions.providers.base import VersionDescription
from predictions.providers.errors import ProviderError

logger = logging.getLogger(__name__)

NEW_VERSIONS = 3600.0  # seconds between looks for new versions
FIRST_LOOKS = (0.5, 30.0)  # seconds between looks for models that no host has described yet, doubling

KNOWN_MODELS = {  # what a person should read for models that Parley itself brings or proposes
    "smollm2": ("SmolLM2", 10, 1_000),
    "summary": ("Summary", 90, None),
    "meta/meta-llama-3-8b-instruct": ("Llama 3 8B", 20, None),
    "meta/meta-llama-3-70b-instruct": ("Llama 3 70B", 21, None),
}


def sync_with_environment() -> None:
    """Offer the hosts that the environment names; switch off those it named once and names no more."""
    named: dict[ProviderRow, list[str]] = {}
    for name, url in settings.COG_SERVERS.items():
        row = _provider(f"cog-{slugify(name)}", ProviderRow.Kind.COG, url, name=f"Cog: {name}", concurrency=1)
        named[row] = [name]
    if settings.REPLICATE_API_TOKEN:
        row = _provider("replicate", ProviderRow.Kind.REPLICATE, settings.REPLICATE_BASE_URL, name="Replicate")
        named[row] = settings.REPLICATE_MODELS
    for row, refs in named.items():
        for ref in refs:
            _offer(row, ref)
    ProviderRow.objects.filter(from_environment=True).exclude(pk__in=[row.pk for row in named]).update(enabled=False)


def _provider(slug: str, kind: str, base_url: str, *, name: str, concurrency: int | None = None) -> ProviderRow:
    row, _ = ProviderRow.objects.update_or_create(
        slug=slug,
        defaults={"kind": kind, "base_url": base_url.rstrip("/"), "enabled": True, "from_environment": True},
        create_defaults={
            "kind": kind,
            "base_url": base_url.rstrip("/"),
            "from_environment": True,
            "name": name,
            "concurrency": concurrency,
        },
    )
    return row


def _offer(provider: ProviderRow, ref: str) -> None:
    name, order, context_length = KNOWN_MODELS.get(ref, (ref.rpartition("/")[2], 100, None))
    Model.objects.get_or_create(
        provider=provider,
        ref=ref,
        defaults={
            "slug": slugify(ref.replace("/", "-")),
            "name": name,
            "order": order,
            "context_length": context_length,
        },
    )


async def keep_fresh(connect: Callable[[ProviderRow], Provider]) -> None:
    """Ask the hosts for their models' versions, for ever: each hour, and soon where none is known yet."""
    loop = asyncio.get_running_loop()
    pause, longest = FIRST_LOOKS
    next_round = loop.time()
    while True:
        try:
            if loop.time() >= next_round:
                next_round = loop.time() + NEW_VERSIONS
                await look(connect, Model.objects.all())
            else:
                await look(connect, Model.objects.filter(versions=None))
        except Error as error:
            logger.warning("The catalogue cannot be written: %s", error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


async def look(connect: Callable[[ProviderRow], Provider], models: QuerySet[Model]) -> None:
    """Ask the hosts of those of `models` that are switched on, once each."""
    offered = models.filter(enabled=True, provider__enabled=True).select_related("provider")
    for model in await query(list, offered):
        try:
            description = await connect(model.provider).describe(model)
        except ProviderError as error:
            logger.info("%s does not describe %s: %s", model.provider, model.ref, error)
        else:
            await query(take_in, model, description)


def take_in(model: Model, description: VersionDescription) -> None:
    """Note a version that a host has described, and what else it says of the model."""
    Version.objects.get_or_create(
        model=model, identifier=description.identifier, defaults={"openapi_schema": description.openapi_schema}
    )
    if not model.description and description.description:
        model.description = description.description
    model.is_official = description.is_official
    model.save(update_fields=["description", "is_official"])
