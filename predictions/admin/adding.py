"""Add a model: its host is asked first, and what it tells is written down in one piece or not at all."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from predictions import catalogue, references
from predictions.admin.hosts import ask
from predictions.models import Model, Pin, Provider, Version
from predictions.providers import connect, connect_to_replicate
from predictions.providers.base import Description
from predictions.providers.errors import AccountRefused, ProviderError, ProviderRefused
from predictions.providers.replicate import ReplicateCatalogue
from predictions.providers.replicate.catalogue import Collection, ModelFacts
from predictions.references import Reference, ReferenceNotUnderstood

T = TypeVar("T")

REASON = "It was named when the model was added."
FOUND_MOST = 20  # models that a search shows
LISTED_MOST = 60  # models of a collection, collections, or deployments
# A name, or IPv6. The client cannot read each name that begins with xn--.
HOST = re.compile(r"(?!.*xn--)[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
ADDRESS = re.compile(r"[!-~]{1,500}")  # printable ASCII without spaces
NAME_LENGTH = 100  # characters, as of a model's name

NO_ACCOUNT = (
    "No Replicate account is set up here. Add a provider of the kind Replicate with its API token, or have "
    "REPLICATE_API_TOKEN set where Parley runs."
)
MAY_NOT_PIN = "You may not decide which version answers. Paste {path} without a version, and the latest answers."
NOT_THERE = "Replicate knows no {reference}, or does not show it to this account. Check how it is written."
NOTHING_OF_THIS_NAME = "Replicate has nothing of this name. Search for a word instead."
NO_ADDRESS = "Give the address of the server, such as http://127.0.0.1:5000."
MAY_NOT_ADD_PROVIDERS = "You may not add providers. Ask somebody who may to add this server."


class NotAdded(Exception):
    """Nothing was added; the message tells people why."""


@dataclass(frozen=True, slots=True)
class Card:
    """Something that can be added, or is here already as `model`."""

    reference: str
    description: str
    runs: str = ""
    is_official: bool = False
    licence: str = ""  # its address
    model: Model | None = None

    @property
    def name(self) -> str:
        return self.reference.rpartition("/")[2]

    @property
    def owner(self) -> str:
        return self.reference.rpartition("/")[0]

    @property
    def initial(self) -> str:
        return self.name[:1].upper()


def is_reference(text: str) -> bool:
    """Whether `text` names something, and is not words to search for."""
    if any(character.isspace() for character in text):
        return False
    return "/" in text or bool(references.HEXADECIMAL.fullmatch(text) or references.ADDRESS.fullmatch(text))


def replicate() -> Provider | None:
    """Return the account that is looked at, if there is one."""
    return Provider.objects.filter(kind=Provider.Kind.REPLICATE, enabled=True).first()


def web_address(address: object) -> str:
    """Return what a host gave as an address if a link may lead there, else ""."""
    return address if isinstance(address, str) and address.startswith(("https://", "http://")) else ""


# ---------------------------------------------------------------- Replicate


def add(text: str, *, user: Any) -> tuple[Model, bool]:  # user: of whichever model is configured
    """Offer what `text` names at Replicate; return it, and whether it is new. Raise NotAdded.

    A version that is named is pinned with a new model. One that is here already keeps its pins.
    """
    reference = _understand(text)
    if reference.path and reference.version and not user.has_perm("predictions.add_pin"):
        raise NotAdded(MAY_NOT_PIN.format(path=reference.path))
    row = _account()
    absent = NOT_THERE.format(reference=reference)
    found = _look(row, lambda there: _find(there, reference), absent=absent)
    return _take_in(row, reference, found, user)


def _understand(text: str) -> Reference:
    try:
        return references.parse(text)
    except ReferenceNotUnderstood as error:
        raise NotAdded(str(error)) from error


def _account() -> Provider:
    row = replicate()
    if row is None:
        raise NotAdded(NO_ACCOUNT)
    return row


def _without_version(reference: Reference) -> Reference:
    return replace(reference, version="") if reference.path else reference


async def _find(there: ReplicateCatalogue, reference: Reference) -> list[Description]:
    """Describe the model and the version that its host has answer, then the one that is named, then the others."""
    model = _without_version(reference)
    found = [await there.describe(model)]
    if model != reference and reference.version != found[0].identifier:
        named = await there.describe(model, version=reference.version)
        found.append(replace(named, is_latest=False))
    known = {description.identifier for description in found}
    others = await there.versions_of(model, known=(), limit=catalogue.VERSIONS_LISTED)
    return found + [replace(other, is_latest=False) for other in others if other.identifier not in known]


@transaction.atomic
def _take_in(row: Provider, reference: Reference, found: Sequence[Description], user: Any) -> tuple[Model, bool]:
    ref = _without_version(reference)
    is_new = not row.models.filter(ref=str(ref)).exists()
    model = catalogue.offer(row, ref)
    for place, description in enumerate(found):
        catalogue.take_in(model, description, of_model=place == 0)
    if is_new and ref != reference:
        version = Version.objects.get(model=model, identifier=reference.version)
        Pin.objects.create(
            model=model, environment=settings.ENVIRONMENT, version=version, created_by=user, reason=REASON
        )
    return model, is_new


def search(words: str) -> list[Card]:
    """Return Replicate's models that fit `words`; raise NotAdded if it cannot be asked."""
    row = _account()
    return _cards(row, _look(row, lambda there: there.search(words, limit=FOUND_MOST)))


def models_of(collection: str) -> list[Card]:
    row = _account()
    return _cards(row, _look(row, lambda there: there.collection(collection)))


def collections() -> list[Collection]:
    return _look(_account(), lambda there: there.collections())[:LISTED_MOST]


def deployments() -> list[Card]:
    row = _account()
    found = _look(row, lambda there: there.deployments())[:LISTED_MOST]
    here = _here(row, [f"deployments/{each.ref}" for each in found])
    return [
        Card(
            reference=f"deployments/{each.ref}",
            description=f"Runs {each.model}, version {each.version[:12]}.",
            model=here.get(f"deployments/{each.ref}"),
        )
        for each in found
    ]


def _look(
    row: Provider, look: Callable[[ReplicateCatalogue], Awaitable[T]], *, absent: str = NOTHING_OF_THIS_NAME
) -> T:
    """Return what `look` finds in Replicate's catalogue; raise NotAdded, with the text `absent` where it has none."""
    try:
        return ask(row, connect_to_replicate, lambda there: look(there.catalogue))
    except AccountRefused as error:
        raise NotAdded(str(error)) from error
    except ProviderRefused as error:
        raise NotAdded(absent) from error
    except ProviderError as error:
        raise NotAdded(str(error)) from error


def _cards(row: Provider, found: Sequence[ModelFacts]) -> list[Card]:
    shown = found[:LISTED_MOST]
    here = _here(row, [facts.ref for facts in shown])
    return [_card(facts, here.get(facts.ref)) for facts in shown]


def _here(row: Provider, refs: list[str]) -> dict[str, Model]:
    return {model.ref: model for model in row.models.filter(ref__in=refs)}


def _card(facts: ModelFacts, model: Model | None) -> Card:
    return Card(
        reference=facts.ref,
        description=facts.description,
        runs=count_of(facts.facts.get("run_count")),
        is_official=facts.is_official,
        licence=web_address(facts.facts.get("license_url")),
        model=model,
    )


def count_of(runs: object) -> str:
    """Write a host's count for people: 1,234 as it is, more in thousands or millions."""
    if not isinstance(runs, int) or isinstance(runs, bool) or not 0 < runs < 10**15:
        return ""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if runs >= size:
            return f"{runs / size:.1f}".removesuffix(".0") + f" {word} runs"
    return f"{runs:,} run{'' if runs == 1 else 's'}"


# ---------------------------------------------------------------- Cog servers


def cog_servers_without_model() -> list[Provider]:
    return list(Provider.objects.filter(kind=Provider.Kind.COG, enabled=True, models=None))


def add_cog(address: str, name: str, *, user: Any) -> tuple[Model, bool]:  # user: of whichever model is configured
    """Offer the model of the Cog server at `address`; return it, and whether it is new. Raise NotAdded."""
    base_url = server_address(address)
    row = Provider.objects.filter(kind=Provider.Kind.COG, base_url=base_url).first()
    if row is None:
        row = _new_server(base_url, name, user)
    elif model := row.models.first():
        return model, False
    name = row.name.removeprefix("Cog: ")
    try:
        described = ask(row, connect, lambda there: there.describe(Model(provider=row, ref=name)))
    except ProviderError as error:
        raise NotAdded(str(error)) from error
    return _take_in_cog(row, name, described), True


def server_address(text: str) -> str:
    """Return the address of a server as it is kept; raise NotAdded if it is none."""
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in {"http", "https"} and bool(HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError as error:
        raise NotAdded(NO_ADDRESS) from error
    if not is_good or not ADDRESS.fullmatch(address) or parts.username is not None or parts.query or parts.fragment:
        raise NotAdded(NO_ADDRESS)
    return address


def _new_server(base_url: str, name: str, user: Any) -> Provider:
    if not user.has_perm("predictions.add_provider"):
        raise NotAdded(MAY_NOT_ADD_PROVIDERS)
    name = " ".join(name.split()) or urlsplit(base_url).netloc
    slug = f"cog-{slugify(name)[:30]}-{hashlib.sha256(base_url.encode()).hexdigest()[:6]}"
    fields = {"name": f"Cog: {name}"[:NAME_LENGTH], "kind": Provider.Kind.COG, "base_url": base_url}
    return Provider(slug=slug, concurrency=1, **fields)


@transaction.atomic
def _take_in_cog(row: Provider, name: str, described: Description) -> Model:
    if row.pk is None:
        row, _ = Provider.objects.get_or_create(
            slug=row.slug,
            defaults={"name": row.name, "kind": row.kind, "base_url": row.base_url, "concurrency": row.concurrency},
        )
    model = catalogue.offer_as(row, name, name=name)
    catalogue.take_in(model, described)
    return model
