"""Look things up at Replicate: models, versions, deployments, collections, the account."""

from collections.abc import AsyncGenerator, Container, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware

from predictions import references
from predictions.budget import ReadBudget
from predictions.events import clean
from predictions.providers.base import Description
from predictions.providers.errors import AnswerLost, ProviderRefused
from predictions.providers.http import Answer, HostClient
from predictions.providers.replicate.words import raise_for
from predictions.references import Reference

PAGES = 20  # of one list that are read
MODEL_FACTS = ("cover_image_url", "license_url", "github_url", "paper_url", "run_count", "visibility")
EXAMPLE_FACTS = ("input", "output")
TEXT_LENGTH = 2_000  # characters that are kept of a text that somebody wrote there


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its page shows it. `latest` is None where it tells no version."""

    ref: str
    description: str
    is_official: bool
    facts: dict[str, Any]
    latest: Description | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment, and the version that it runs now."""

    ref: str  # owner/name
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of models that Replicate keeps."""

    slug: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Account:
    """Whose token it is: `kind` is `user` or `organization`; `at` is the time as its host tells it."""

    username: str
    kind: str
    at: datetime | None = None


class ReplicateCatalogue:
    """What one account can look up. All raise NotTaken, AnswerLost, or ProviderRefused where there is no such thing."""

    def __init__(self, client: HostClient, reads: ReadBudget) -> None:
        self._client = client
        self._reads = reads

    async def get(self, address: str) -> Answer:
        """Read once, within the account's budget; the answer's status is for the caller to look at."""
        await self._reads.take()
        return await self._client.request("GET", address)

    async def account(self) -> Account:
        answer = await self.get("/account")
        raise_for(answer)
        data = answer.json if isinstance(answer.json, dict) else {}
        return Account(_text(data, "username"), _text(data, "type"), _date(answer))

    async def webhook_secret(self) -> str:
        return _text(await self._read("/webhooks/default/secret"), "key")

    async def search(self, words: str, *, limit: int = 20) -> list[ModelFacts]:
        data = await self._read(f"/search?query={quote(words, safe='')}&limit={min(max(limit, 1), 50)}")
        found = [row.get("model") for row in _rows(data, "models")]
        return [_model_facts(model) for model in found if isinstance(model, dict)]

    async def collections(self) -> list[Collection]:
        return [
            Collection(_text(row, "slug"), _text(row, "name"), _text(row, "description"))
            async for row in self._read_list("/collections")
        ]

    async def collection(self, slug: str) -> list[ModelFacts]:
        data = await self._read(f"/collections/{quote(slug, safe='')}")
        return [_model_facts(row) for row in _rows(data, "models")]

    async def model(self, ref: str) -> ModelFacts:
        return _model_facts(await self._read(f"/models/{ref}"))

    async def versions(self, ref: str, *, known: Container[str] = (), limit: int | None = None) -> list[Description]:
        """Return the model's versions, newest first; none if it tells nobody (some official ones do not).

        The list ends before the first one in `known`, and after `limit`.
        """
        found: list[Description] = []
        try:
            async with aclosing(self._read_list(f"/models/{ref}/versions")) as rows:
                async for row in rows:
                    version = _version(row, is_latest=not found)
                    if version.identifier in known or len(found) == limit:
                        break
                    found.append(version)
        except ProviderRefused:
            return []
        return found

    async def version(self, ref: str, identifier: str) -> Description:
        return _version(await self._read(f"/models/{ref}/versions/{identifier}"), is_latest=False)

    async def deployments(self) -> list[Deployment]:
        return [_deployment(row) async for row in self._read_list("/deployments")]

    async def deployment(self, ref: str) -> Deployment:
        return _deployment(await self._read(f"/deployments/{ref}"))

    async def describe(self, reference: Reference, *, version: str = "", known_as: str = "") -> Description:
        """Describe what answers to `reference`: the version named, else the one that Replicate has answer."""
        if reference.is_deployment:
            deployment = await self.deployment(reference.path)
            return await self._describe(deployment.model, version or deployment.version, is_latest=not version)
        path = reference.path or known_as
        if not path:
            return Description(reference.version, {})  # nothing can be known of it before it has answered
        version = version or reference.version
        return await self._describe(path, version, is_latest=not version)

    async def _describe(self, ref: str, version: str, *, is_latest: bool) -> Description:
        model = await self.model(ref)
        named = model.latest
        if version and (named is None or named.identifier != version):
            named = await self.version(ref, version)
        return Description(
            identifier=named.identifier if named else "",
            openapi_schema=named.openapi_schema if named else {},
            is_official=model.is_official,
            is_latest=is_latest,
            released_at=named.released_at if named else None,
            description=model.description,
            facts=model.facts,
        )

    async def versions_of(self, reference: Reference, *, known: Container[str], limit: int) -> list[Description]:
        """Return the versions of a model that are not in `known`; a deployment or a bare version has no others."""
        if reference.is_deployment or not reference.path:
            return []
        return await self.versions(reference.path, known=known, limit=limit)

    async def page(self, address: str) -> tuple[list[dict[str, Any]], str | None]:
        """Read one page of a list, `{"next": address or null, "results": […]}`: its rows, and where it goes on."""
        data = await self._read(address)
        if not isinstance(data.get("results"), list):
            raise AnswerLost("Replicate answered with something other than a list.")
        following = data.get("next")
        return _rows(data, "results"), following if isinstance(following, str) and following else None

    async def _read(self, path: str) -> dict[str, Any]:
        answer = await self.get(path)
        raise_for(answer)
        if not isinstance(answer.json, dict):
            raise AnswerLost("Replicate answered with something unexpected.")
        return answer.json

    async def _read_list(self, path: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the rows of a list, page by page."""
        for _ in range(PAGES):
            rows, following = await self.page(path)
            for row in rows:
                yield row
            if following is None:
                return
            path = following


def _rows(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = data.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _date(answer: Answer) -> datetime | None:
    try:
        at = parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return at if is_aware(at) else None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return clean(value)[:TEXT_LENGTH] if isinstance(value, str) else ""


def _moment(data: Mapping[str, Any], name: str) -> datetime | None:
    try:
        moment = parse_datetime(_text(data, name))
    except ValueError:
        return None
    return moment if moment is not None and is_aware(moment) else None


def _model_facts(data: Mapping[str, Any]) -> ModelFacts:
    latest = data.get("latest_version")
    facts = {name: data[name] for name in MODEL_FACTS if data.get(name) is not None}
    example = data.get("default_example")
    if isinstance(example, dict):
        facts["default_example"] = {name: example.get(name) for name in EXAMPLE_FACTS}
    return ModelFacts(
        ref=f"{_text(data, 'owner')}/{_text(data, 'name')}",
        description=_text(data, "description"),
        # A model that tells no version can be asked by its name alone.
        is_official=bool(data.get("is_official")) or not latest,
        facts=facts,
        latest=_version(latest, is_latest=True) if isinstance(latest, dict) else None,
    )


def _version(data: Mapping[str, Any], *, is_latest: bool) -> Description:
    document = data.get("openapi_schema")
    return Description(
        identifier=_text(data, "id"),
        openapi_schema=document if isinstance(document, dict) else {},
        is_latest=is_latest,
        released_at=_moment(data, "created_at"),
    )


def _deployment(data: Mapping[str, Any]) -> Deployment:
    release = data.get("current_release")
    release = release if isinstance(release, dict) else {}
    return Deployment(
        ref=f"{_text(data, 'owner')}/{_text(data, 'name')}",
        model=_text(release, "model"),
        version=_text(release, "version"),
    )


def reference_of(ref: str) -> Reference:
    """Read a catalogue's reference; raise ProviderRefused if Replicate could not know such a thing."""
    try:
        return references.parse(ref)
    except references.ReferenceNotUnderstood as error:
        raise ProviderRefused(str(error)) from error
