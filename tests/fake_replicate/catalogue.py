"""The models, versions, collections and deployments that the fake offers, and the account they are offered to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .schemas import CHAT_SCHEMA

OFFICIAL_MODEL = "meta/meta-llama-3-8b-instruct"
VERSIONED_MODEL = "acme/parrot"
DEPLOYMENT = "acme/support"
COLLECTION = "language-models"


@dataclass(frozen=True, slots=True)
class Account:
    username: str = "acme"
    type: Literal["organization", "user"] = "organization"
    name: str = "Acme"

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "username": self.username,
            "name": self.name,
            "github_url": f"https://github.com/{self.username}",
            "avatar_url": f"https://github.com/{self.username}.png",
        }


@dataclass(frozen=True, slots=True)
class Version:
    id: str  # 64 hexadecimal digits
    openapi_schema: Mapping[str, Any]
    created_at: str
    cog_version: str = "0.16.7"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "created_at": self.created_at,
            "cog_version": self.cog_version,
            "openapi_schema": self.openapi_schema,
        }


@dataclass(slots=True, kw_only=True)
class Model:
    """A model; an official one runs by its name alone, and most of these tell nobody their versions but the latest."""

    ref: str
    is_official: bool = False
    lists_versions: bool = True
    description: str | None = None
    visibility: Literal["public", "private"] = "public"  # private: of this account
    license_url: str | None = None
    cover_image_url: str | None = None
    run_count: int = 0
    default_example: Mapping[str, Any] | None = None  # a prediction
    readme: str | None = None
    versions: list[Version] = field(default_factory=list)  # oldest first
    _made: int = field(default=0, init=False)  # versions, with those that were removed

    def add_version(self, schema: Mapping[str, Any] = CHAT_SCHEMA) -> Version:
        self._made += 1
        version_id = hashlib.sha256(f"{self.ref} {self._made}".encode()).hexdigest()
        created_at = f"2025-{(self._made - 1) % 12 + 1:02}-01T12:00:00.{self._made:06}Z"
        self.versions.append(Version(version_id, schema, created_at))
        return self.versions[-1]

    def version(self, version_id: str) -> Version | None:
        return next((version for version in self.versions if version.id == version_id), None)

    def as_json(self) -> dict[str, Any]:
        owner, name = self.ref.split("/")
        return {
            "url": f"https://replicate.com/{self.ref}",
            "owner": owner,
            "name": name,
            "description": self.description,
            "visibility": self.visibility,
            "github_url": None,
            "paper_url": None,
            "license_url": self.license_url,
            "run_count": self.run_count,
            "cover_image_url": self.cover_image_url,
            "default_example": self.default_example,
            "latest_version": self.versions[-1].as_json() if self.versions else None,
            "is_official": self.is_official,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """What a create asks for, once it is found."""

    model: Model
    version: Version
    deployment: str | None = None

    @property
    def version_answered(self) -> str:
        return self.version.id if self.model.lists_versions else "hidden"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version that the account has running for itself."""

    ref: str
    model: Model
    version: Version
    release: int  # the first is 1

    @property
    def target(self) -> Target:
        return Target(self.model, self.version, self.ref)

    def as_json(self, account: Account) -> dict[str, Any]:
        owner, name = self.ref.split("/")
        return {
            "owner": owner,
            "name": name,
            "current_release": {
                "number": self.release,
                "model": self.model.ref,
                "version": self.version.id,
                "created_at": "2025-02-15T16:32:57.018467Z",
                "created_by": account.as_json(),
                "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    slug: str
    name: str
    description: str
    full_description: str | None = None
    models: Sequence[Model] = ()

    def as_listed(self) -> dict[str, Any]:
        return {"name": self.name, "slug": self.slug, "description": self.description}

    def as_found(self) -> dict[str, Any]:
        return self.as_listed() | {"models": [model.ref for model in self.models]}

    def as_json(self) -> dict[str, Any]:
        models = [model.as_json() for model in self.models]
        return self.as_listed() | {"full_description": self.full_description, "models": models}


class Catalogue:
    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.deployments: dict[str, Deployment] = {}
        self.collections: dict[str, Collection] = {}

    @classmethod
    def with_examples(cls) -> "Catalogue":
        """One official model, one model with two versions, one deployment of its older version, one collection."""
        catalogue = cls()
        llama = catalogue.add_model(OFFICIAL_MODEL, is_official=True, description="A model that answers by script")
        parrot = catalogue.add_model(VERSIONED_MODEL, versions=2, description="A model that answers by script")
        catalogue.add_deployment(DEPLOYMENT, parrot, parrot.versions[0])
        catalogue.add_collection(
            COLLECTION, name="Language models", description="Models that write", models=[llama, parrot]
        )
        return catalogue

    def add_model(
        self,
        ref: str,
        *,
        is_official: bool = False,
        lists_versions: bool | None = None,  # None: unless it is official
        versions: int = 1,
        schema: Mapping[str, Any] = CHAT_SCHEMA,
        **facts: Any,  # the other fields of Model
    ) -> Model:
        if lists_versions is None:
            lists_versions = not is_official
        model = Model(ref=ref, is_official=is_official, lists_versions=lists_versions, **facts)
        for _ in range(versions):
            model.add_version(schema)
        self.models[ref] = model
        return model

    def add_deployment(self, ref: str, model: Model, version: Version) -> Deployment:
        """Deploy the version; where something is deployed already, as its next release."""
        release = self.deployments[ref].release + 1 if ref in self.deployments else 1
        deployment = self.deployments[ref] = Deployment(ref, model, version, release)
        return deployment

    def add_collection(self, slug: str, **facts: Any) -> Collection:
        collection = self.collections[slug] = Collection(slug=slug, **facts)
        return collection

    def remove_version(self, ref: str, version_id: str) -> None:
        """Let a version vanish, as when its owner deletes it."""
        model = self.models[ref]
        model.versions = [version for version in model.versions if version.id != version_id]

    def find(self, identifier: str) -> Target | None:
        """Find what `version` of a create names: `owner/name` (official), `owner/name:id` or `id`."""
        ref, _, version_id = identifier.rpartition(":")
        if "/" in identifier and not ref:
            return self.official(identifier)
        candidates = [self.models[ref]] if ref in self.models else [] if ref else self.models.values()
        for model in candidates:
            if model.lists_versions and (version := model.version(version_id)):
                return Target(model, version)
        return None

    def official(self, ref: str) -> Target | None:
        model = self.models.get(ref)
        if model is None or not model.is_official or not model.versions:
            return None
        return Target(model, model.versions[-1])

    def public(self) -> list[Model]:
        """The newest first."""
        return [model for model in reversed(self.models.values()) if model.visibility == "public"]

    def search(self, query: str) -> list[Model]:
        """Find the public models that have all words in their name or description (a guess at a better search)."""
        words = query.lower().split()
        return [model for model in self.public() if all(word in _words_of(model) for word in words)]

    def search_collections(self, query: str) -> list[Collection]:
        words = query.lower().split()
        return [
            collection
            for collection in self.collections.values()
            if all(word in f"{collection.name} {collection.description}".lower() for word in words)
        ]


def _words_of(model: Model) -> str:
    return f"{model.ref} {model.description or ''}".lower()
