"""How people name a model at Replicate: in words, or by the address of a page they have open. Pure."""

import re
from dataclasses import dataclass, replace

NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}")  # dots alone would lead elsewhere in an address
VERSION = re.compile(r"[0-9a-f]{64}")
HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{7,}")  # from the seven digits on to which people shorten a hash
ADDRESS = re.compile(
    r"(?:https?://)?(?:(?P<api>api\.)|www\.)?replicate\.com(?P<path>/[^?#]*)?(?:[?#].*)?", re.IGNORECASE
)
# First parts of Replicate's own pages, which nobody can have as a name.
PAGES = frozenset(
    {"account", "blog", "changelog", "collections", "deployments", "docs", "explore", "p", "predictions", "trainings"}
)
EXAMPLES = (
    "A reference looks like owner/name, owner/name:version or deployments/owner/name,"
    " or is the address of a model's page at replicate.com."
)
NO_MODEL = f"Replicate has no model at this address. {EXAMPLES}"
OTHER_SITE = f"Only addresses at replicate.com are understood. {EXAMPLES}"


class ReferenceNotUnderstood(ValueError):
    """A text that names no model at Replicate; the message tells people why and what would."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, one version of a model, a version by its hash alone, or a deployment."""

    owner: str = ""  # "" for a bare version
    name: str = ""
    version: str = ""  # 64 hexadecimal digits, or ""
    is_deployment: bool = False

    @property
    def path(self) -> str:
        return f"{self.owner}/{self.name}" if self.owner else ""

    def __str__(self) -> str:
        if self.is_deployment:
            return f"deployments/{self.path}"
        return ":".join(part for part in (self.path, self.version) if part)


def parse(text: str) -> Reference:
    """Understand what somebody typed or pasted; raise ReferenceNotUnderstood."""
    text = text.strip()
    if not text:
        raise ReferenceNotUnderstood(f"No model is named. {EXAMPLES}")
    if address := ADDRESS.fullmatch(text):
        parts = (address["path"] or "").strip("/").split("/")
        return _from_api(parts) if address["api"] else _from_page(parts)
    if "://" in text:
        raise ReferenceNotUnderstood(OTHER_SITE)
    return _from_words(text.strip("/").split("/"))


def _from_api(parts: list[str]) -> Reference:
    match parts:
        case ["v1", "models", *page]:
            return _from_page(page)
        case ["v1", "deployments", *_]:
            return _from_page(parts[1:])
        case _:
            raise ReferenceNotUnderstood(NO_MODEL)


def _from_page(parts: list[str]) -> Reference:
    """Read the beginning of an address; what follows is a tab of the page, or what one can ask the API about it."""
    match parts:
        case ["deployments", owner, name, *_]:
            return _deployment(owner, name)
        case [owner, name, "versions", version, *_]:
            return _model(owner, name, version)
        case [owner, name, *_]:
            return _from_words([owner, name])
        case _:
            raise ReferenceNotUnderstood(NO_MODEL)


def _from_words(parts: list[str]) -> Reference:
    match parts:
        case ["deployments", owner, name]:
            return _deployment(owner, name)
        case [site, _, _, *_] if "." in site:
            raise ReferenceNotUnderstood(OTHER_SITE)
        case [owner, name] if ":" in name:
            return _model(owner, *name.split(":", 1))
        case [owner, name]:
            return _model(owner, name)
        case [word] if HEXADECIMAL.fullmatch(word):
            return Reference(version=_version(word))
        case [_]:
            raise ReferenceNotUnderstood(f"The owner of the model is missing. {EXAMPLES}")
        case _:
            raise ReferenceNotUnderstood(f"These are {len(parts)} parts where two are wanted. {EXAMPLES}")


def _deployment(owner: str, name: str) -> Reference:
    return Reference(_name(owner), _name(name), is_deployment=True)


def _model(owner: str, name: str, version: str | None = None) -> Reference:
    if owner.lower() in PAGES or ADDRESS.fullmatch(owner):
        raise ReferenceNotUnderstood(NO_MODEL)
    model = Reference(_name(owner), _name(name))
    if version is None:
        return model
    if version.lower() == "latest":
        raise ReferenceNotUnderstood(f"Replicate takes the latest version when none is named: write {model.path}.")
    return replace(model, version=_version(version))


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ReferenceNotUnderstood(
            "The names of owners and models have at most 100 characters: letters, digits, hyphens, underscores and"
            f" dots. {EXAMPLES}"
        )
    return text


def _version(text: str) -> str:
    version = text.lower()
    if not VERSION.fullmatch(version):
        raise ReferenceNotUnderstood(f"A version is written with all of its 64 hexadecimal digits. {EXAMPLES}")
    return version


def version_in(reference: str) -> str:
    """Return the exact version that a reference as it is sent names; "" if it names none."""
    last = reference.rpartition(":")[2]
    return last if VERSION.fullmatch(last) else ""
