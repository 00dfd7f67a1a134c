"""What identity providers say about people: in claims of OpenID Connect, in attributes of SAML."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

GROUPS_MOST = 500  # names that are looked at
EMAIL_LONGEST = 254  # characters


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider says about somebody, as far as it counts here."""

    email: str  # "" unless it is theirs for sure
    groups: list[str] | None  # None where the provider is not asked for them
    is_admin: bool | None  # None where that is not the provider's to say


def of_oidc(extra: dict[str, Any]) -> Said:
    told = [extra.get("id_token") or {}, extra.get("userinfo") or {}]
    # An address counts where the same of the two says that it is verified.
    emails = [claims.get("email") for claims in told if claims.get("email_verified") is True]
    path = settings.OIDC_GROUPS_CLAIM
    return _said(next(iter(emails), ""), _at({**told[0], **told[1]}, path), path, settings.OIDC_ADMIN_GROUP)


def of_saml(extra: dict[str, Any]) -> Said:
    """Read what `saml.receive` has kept of an answer."""
    email = next(iter(extra.get("email", [])), "") if settings.SAML_TRUST_EMAIL else ""
    return _said(email, extra.get("groups", []), settings.SAML_GROUPS_ATTRIBUTE, settings.SAML_ADMIN_GROUP)


def _said(email: Any, named: Any, source: str, admin_group: str) -> Said:
    if not source:
        return Said(_address(email), None, None)
    groups = _names(named)
    return Said(_address(email), groups, admin_group in groups if admin_group else None)


def _at(claims: Any, path: str) -> Any:
    """Return the claim at a path such as `realm_access.roles`."""
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims


def _names(named: Any) -> list[str]:
    names: Iterable[Any] = named.split() if isinstance(named, str) else named if isinstance(named, list) else []
    # Some providers write groups as paths: /team/admins.
    return [name.removeprefix("/") for name in list(names)[:GROUPS_MOST] if isinstance(name, str)]


def _address(email: Any) -> str:
    if not isinstance(email, str) or len(email) > EMAIL_LONGEST:
        return ""
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email
