"""Keep the catalogue in step with the environment (which hosts) and with the hosts (which versions)."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.text import slugify

from predictions import references
from predictions.database import query
from predictions.events import clean
from predictions.models import Condition, Model, Pin, Version
from predictions.models import Provider as ProviderRow
from predictions.models.catalogue import schema_digest
from predictions.models.condition import SECRET_PAUSE
from predictions.models.pin import VERSIONS
from predictions.providers import Provider
from predictions.providers.base import Description
from predictions.providers.errors import AccountRefused, ProviderError, ProviderRefused
from predictions.references import Reference, ReferenceNotUnderstood

logger = logging.getLogger(__name__)

NEW_VERSIONS = 3600.0  # seconds between looks for new versions
FIRST_LOOKS = (0.5, 30.0)  # seconds between looks for models that no host has described yet, doubling
VERSIONS_LISTED = 50  # new ones of a model that are taken in at one look, the newest
SECRET_CHECK = 5.0  # seconds between looks whether a webhook's secret is wanted
FROM_ENVIRONMENT = "PARLEY_REPLICATE_MODELS names this version."

KNOWN_MODELS = {  # what a person should read for models that Parley itself brings or proposes
    "smollm2": ("SmolLM2", 10, 1_000),
    "summary": ("Summary", 90, None),
    "meta/meta-llama-3-8b-instruct": ("Llama 3 8B", 20, None),
    "meta/meta-llama-3-70b-instruct": ("Llama 3 70B", 21, None),
}


def sync_with_environment() -> None:
    """Offer the hosts that the environment names; switch off those it named once and names no more."""
    named = []
    for name, url in settings.COG_SERVERS.items():
        row = _provider(f"cog-{slugify(name)}", ProviderRow.Kind.COG, url, name=f"Cog: {name}", concurrency=1)
        offer_as(row, name)
        named.append(row.pk)
    if settings.REPLICATE_API_TOKEN:
        row = _provider("replicate", ProviderRow.Kind.REPLICATE, settings.REPLICATE_BASE_URL, name="Replicate")
        for text in settings.REPLICATE_MODELS:
            offer(row, _understand(text))
        named.append(row.pk)
    forgotten = ProviderRow.objects.filter(from_environment=True).exclude(pk__in=named)
    forgotten.filter(encrypted_token="").update(enabled=False)
    forgotten.exclude(encrypted_token="").update(from_environment=False)  # an admin gave it a token of its own


def _understand(text: str) -> Reference:
    try:
        return references.parse(text)
    except ReferenceNotUnderstood as error:
        raise ImproperlyConfigured(f"PARLEY_REPLICATE_MODELS: {text!r} is not understood. {error}") from error


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


@transaction.atomic
def offer(provider: ProviderRow, reference: Reference) -> Model:
    """Offer what `reference` names at Replicate; a version that it names is pinned, once."""
    if not reference.path:
        model = offer_as(provider, str(reference), name=f"Version {reference.version[:12]}")
        _note_version(model, reference.version)
        return model
    model = offer_as(provider, str(replace(reference, version="")))
    if reference.version:
        version = _note_version(model, reference.version)
        _pin_from_environment(model, version)
    return model


def offer_as(provider: ProviderRow, ref: str, name: str = "") -> Model:
    """Offer what `provider` knows as `ref`, under `name` where no better one is known."""
    known_name, order, context_length = KNOWN_MODELS.get(ref, (name or ref.rpartition("/")[2], 100, None))
    slug = slugify(ref.replace("/", "-")) or provider.slug
    if Model.objects.filter(slug=slug).exclude(provider=provider, ref=ref).exists():
        slug += "-" + hashlib.sha256(f"{provider.slug} {ref}".encode()).hexdigest()[:6]
    model, _ = Model.objects.get_or_create(
        provider=provider,
        ref=ref,
        defaults={"slug": slug, "name": known_name, "order": order, "context_length": context_length},
    )
    return model


def _note_version(model: Model, identifier: str) -> Version:
    version, _ = Version.objects.get_or_create(model=model, identifier=identifier, defaults={"is_described": False})
    return version


def _pin_from_environment(model: Model, version: Version) -> None:
    # Once for each change of the variable: what an admin decides afterwards stays.
    here = Pin.objects.filter(model=model, environment=settings.ENVIRONMENT, reason=FROM_ENVIRONMENT)
    newest = here.first()
    if newest is None or newest.version != version:
        Pin.objects.create(model=model, environment=settings.ENVIRONMENT, version=version, reason=FROM_ENVIRONMENT)


async def keep_fresh(connect: Callable[[ProviderRow], Provider]) -> None:
    """Ask the hosts for their models' versions, for ever: each hour, and soon where one is not described yet."""
    loop = asyncio.get_running_loop()
    pause, longest = FIRST_LOOKS
    next_round = loop.time()
    while True:
        try:
            if loop.time() >= next_round:
                next_round = loop.time() + NEW_VERSIONS
                await look(connect, Model.objects.all())
            else:
                await look(connect, Model.objects.filter(Q(versions=None) | Q(versions__is_described=False)).distinct())
        except Error as error:
            logger.warning("The catalogue cannot be written: %s", error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


async def look(connect: Callable[[ProviderRow], Provider], models: QuerySet[Model]) -> None:
    """Ask the hosts of those of `models` that are switched on: for the latest version, new ones, and those in use."""
    offered = models.filter(enabled=True, provider__enabled=True).select_related("provider")
    for model in await query(list, offered):
        try:
            await _look_at(connect(model.provider), model)
        except ProviderError as error:
            logger.info("%s does not describe %s: %s", model.provider, model.ref, error)


async def _look_at(provider: Provider, model: Model) -> None:
    known_as = await query(name_it_answered_under, model)
    known = set(await query(list, model.versions.filter(is_described=True).values_list("identifier", flat=True)))
    latest = await provider.describe(model, known_as=known_as)
    await query(take_in, model, latest)
    if latest.identifier not in known or len(known) < 2:  # otherwise nothing is newer
        for found in await provider.versions(model, known=known - {latest.identifier}, limit=VERSIONS_LISTED):
            await query(take_in, model, replace(found, is_latest=False), of_model=False)
    for version in await query(in_use, model, besides=latest.identifier):
        try:
            described = await provider.describe(model, version=version.identifier, known_as=known_as)
        except AccountRefused:
            raise
        except ProviderRefused as error:
            if version.is_described:
                await query(version.note_gone, str(error))
        else:
            await query(take_in, model, replace(described, is_latest=False), of_model=False)


def in_use(model: Model, *, besides: str) -> list[Version]:
    """The versions that somebody named and the host has not described yet, and those that a pin needs."""
    pinned = {key for keys in model.pins.current().values_list(*VERSIONS) for key in keys if key}
    needed = model.versions.filter(Q(is_described=False) | Q(pk__in=pinned)).exclude(identifier=besides)
    return list(needed.defer("openapi_schema"))


def name_it_answered_under(model: Model) -> str:
    """`owner/name` as the newest answer told it, for a model that is only known by a version's id."""
    answers = model.predictions.exclude(answered_model="").order_by("-created_at")
    return answers.values_list("answered_model", flat=True).first() or ""


def take_in(model: Model, description: Description, *, of_model: bool = True) -> None:
    """Note a version that a host has described, and what else it says of the model where that was asked for."""
    described: dict[str, object] = {
        "openapi_schema": _storable(description.openapi_schema),
        "schema_hash": schema_digest(description.openapi_schema),
        "is_described": True,
        "gone_at": None,
        "gone_because": "",
    }
    if description.released_at:
        described["released_at"] = description.released_at
    if description.is_latest:
        described["latest_at"] = timezone.now()
    Version.objects.update_or_create(model=model, identifier=description.identifier, defaults=described)
    if not of_model:
        return
    if not model.description and description.description:
        model.description = description.description
    model.is_official = description.is_official
    model.facts = _storable(description.facts)
    model.save(update_fields=["description", "is_official", "facts"])


def _storable(document: dict[str, Any]) -> dict[str, Any]:
    """Replace in a host's JSON what no database stores."""
    text = json.dumps(document, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    storable: dict[str, Any] = json.loads(clean(text))
    return storable


async def keep_secrets(connect: Callable[[ProviderRow], Provider]) -> None:
    """Know what webhooks are signed with, for ever: ask at first, and again when a delivery does not fit."""
    while True:
        try:
            for row in await query(list, providers_whose_secret_is_wanted()):
                if secret := await connect(row).webhook_secret():
                    await query(Condition.note_secret, row, secret)
        except (ProviderError, Error) as error:
            logger.warning("The secret of the webhooks cannot be read: %s", error)
        await asyncio.sleep(SECRET_CHECK)


def providers_whose_secret_is_wanted() -> QuerySet[ProviderRow]:
    if not settings.PUBLIC_URL:
        return ProviderRow.objects.none()
    read_at = F("condition__secrets_read_at")
    doubted = Q(condition__secrets_doubted_at__gt=read_at) & Q(
        condition__secrets_read_at__lt=timezone.now() - SECRET_PAUSE
    )
    unknown = Q(condition=None) | Q(condition__secrets_read_at=None)
    return ProviderRow.objects.filter(unknown | doubted, kind=ProviderRow.Kind.REPLICATE, enabled=True)
