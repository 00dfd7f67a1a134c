"""The models, versions and deployments that the fake offers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OFFICIAL_MODEL = "meta/meta-llama-3-8b-instruct"
VERSIONED_MODEL = "acme/parrot"
DEPLOYMENT = "acme/support"

CHAT_SCHEMA: Mapping[str, Any] = {
    "openapi": "3.0.2",
    "info": {"title": "Cog", "version": "0.1.0"},
    "paths": {},
    "components": {
        "schemas": {
            "Input": {
                "title": "Input",
                "type": "object",
                "required": ["prompt"],
                "properties": {
                    "prompt": {"title": "Prompt", "type": "string", "x-order": 0},
                    "system_prompt": {"title": "System Prompt", "type": "string", "default": "", "x-order": 1},
                    "max_tokens": {"title": "Max Tokens", "type": "integer", "default": 512, "x-order": 2},
                    "temperature": {"title": "Temperature", "type": "number", "default": 0.7, "x-order": 3},
                },
            },
            "Output": {
                "title": "Output",
                "type": "array",
                "items": {"type": "string"},
                "x-cog-array-type": "iterator",
                "x-cog-array-display": "concatenate",
            },
        }
    },
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


@dataclass(slots=True)
class Model:
    """A model; an official one runs by its name alone, and tells nobody its versions but the latest."""

    ref: str
    is_official: bool = False
    versions: list[Version] = field(default_factory=list)  # oldest first

    def add_version(self, schema: Mapping[str, Any] = CHAT_SCHEMA) -> Version:
        number = len(self.versions) + 1
        version_id = hashlib.sha256(f"{self.ref} {number}".encode()).hexdigest()
        created_at = f"2025-{(number - 1) % 12 + 1:02}-01T12:00:00.{number:06}Z"
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
            "description": f"{name}, a model that answers by script",
            "visibility": "public",
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "run_count": 0,
            "cover_image_url": None,
            "default_example": None,
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
        return "hidden" if self.model.is_official else self.version.id


class Catalogue:
    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.deployments: dict[str, Target] = {}

    @classmethod
    def with_examples(cls) -> "Catalogue":
        """One official model, one model with two versions, and one deployment of its older version."""
        catalogue = cls()
        catalogue.add_model(OFFICIAL_MODEL, is_official=True)
        parrot = catalogue.add_model(VERSIONED_MODEL, versions=2)
        catalogue.deployments[DEPLOYMENT] = Target(parrot, parrot.versions[0], DEPLOYMENT)
        return catalogue

    def add_model(
        self,
        ref: str,
        *,
        is_official: bool = False,
        versions: int = 1,
        schema: Mapping[str, Any] = CHAT_SCHEMA,
    ) -> Model:
        model = self.models[ref] = Model(ref, is_official)
        for _ in range(versions):
            model.add_version(schema)
        return model

    def find(self, identifier: str) -> Target | None:
        """Find what `version` of a create names: `owner/name` (official), `owner/name:id` or `id`."""
        ref, _, version_id = identifier.rpartition(":")
        if "/" in identifier and not ref:
            return self.official(identifier)
        candidates = [self.models[ref]] if ref in self.models else [] if ref else self.models.values()
        for model in candidates:
            if not model.is_official and (version := model.version(version_id)):
                return Target(model, version)
        return None

    def official(self, ref: str) -> Target | None:
        model = self.models.get(ref)
        if model is None or not model.is_official:
            return None
        return Target(model, model.versions[-1])
