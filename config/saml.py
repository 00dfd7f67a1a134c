"""A SAML identity provider as its metadata tells of it: a file that whoever runs it hands out."""

import base64
import binascii
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from django.core.exceptions import ImproperlyConfigured

LARGEST = 1_000_000  # bytes of a file
LONGEST = 200  # characters of a name; each account that comes from there keeps it
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
NAMESPACES = {"md": "urn:oasis:names:tc:SAML:2.0:metadata", "ds": "http://www.w3.org/2000/09/xmldsig#"}
ENTITY, ROLE = f"{{{NAMESPACES['md']}}}EntityDescriptor", "md:IDPSSODescriptor"
NOT_INSTALLED = (
    "PARLEY_SAML_METADATA is set, but python3-saml is not installed. docs/people.md says how that is done (SAML);"
    " or unset the variable."
)


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    entity_id: str
    sign_in: str  # where people are sent
    certificates: tuple[str, ...]  # of the keys that it signs with, in base64


def identity_provider(path: Path) -> IdentityProvider:
    """Return what the file says; raise ImproperlyConfigured."""
    if find_spec("onelogin") is None:
        raise ImproperlyConfigured(NOT_INSTALLED)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise _wrong(path, "is larger than the metadata of one identity provider")
    try:
        return _understood(path, ElementTree.fromstring(content))  # noqa: S314 - from whoever runs this Parley
    except ElementTree.ParseError as error:
        raise _wrong(path, f"is not XML: {error}") from error


def _understood(path: Path, root: ElementTree.Element) -> IdentityProvider:
    found = [(entity, role) for entity in root.iter(ENTITY) for role in entity.findall(ROLE, NAMESPACES)]
    if len(found) != 1:
        raise _wrong(path, f"tells of {len(found)} identity providers; it has to be one")
    [(entity, role)] = found
    name = entity.get("entityID", "")
    if not 0 < len(name) <= LONGEST:
        raise _wrong(path, f"has no entityID of at most {LONGEST} characters")
    services = role.findall(f"md:SingleSignOnService[@Binding='{REDIRECT}']", NAMESPACES)
    sign_in = services[0].get("Location", "") if services else ""
    if not _is_safe(sign_in):
        raise _wrong(path, "has no https address to sign in at for the binding HTTP-Redirect")
    return IdentityProvider(name, sign_in, _certificates(path, role))


def _certificates(path: Path, role: ElementTree.Element) -> tuple[str, ...]:
    keys = [key for key in role.findall("md:KeyDescriptor", NAMESPACES) if key.get("use", "signing") == "signing"]
    found = [text for key in keys for text in key.findall("ds:KeyInfo/ds:X509Data/ds:X509Certificate", NAMESPACES)]
    certificates = tuple("".join((text.text or "").split()) for text in found)
    try:
        if not all(base64.b64decode(certificate, validate=True) for certificate in certificates):
            raise _wrong(path, "has an empty certificate")
    except binascii.Error as error:
        raise _wrong(path, "has a certificate that is cut off") from error
    if not certificates:
        raise _wrong(path, "has no certificate of a key that signs")
    return certificates


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


def _wrong(path: Path, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"PARLEY_SAML_METADATA names {path}, which {why}.")
