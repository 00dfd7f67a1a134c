"""SAML 2.0: requests to the identity provider, and what is believed of its answers.

python3-saml checks the schema, the signature of the assertion, its issuer and times. Where it is lenient, this is not:
signatures have the one form that SAML allows, and an assertion must be new, in answer to a request, and for this site
alone, each by what is signed. Whether the browser that brings it is the one that asked is for `saml_views` to see.
https://docs.oasis-open.org/security/saml/v2.0/saml-core-2.0-os.pdf, saml-profiles-2.0-os.pdf (4.1.4)
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from lxml.etree import LxmlError
from onelogin.saml2.authn_request import OneLogin_Saml2_Authn_Request
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.metadata import OneLogin_Saml2_Metadata
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from chat.people.claims import GROUPS_MOST
from chat.people.models import Assertion

LARGEST = 256 * 1024  # bytes of an answer, as it is sent
# Characters of what is kept, as many as the columns have that it ends in.
LONGEST = {"uid": 191, "email": 254, "username": 150, "first_name": 150, "last_name": 150, "groups": 150}
AGE = timedelta(minutes=10)  # within which an answer comes
SKEW = timedelta(minutes=5)  # by which clocks may differ

FORM = "application/x-www-form-urlencoded"
DS = f"{{{Words.NS_DS}}}"
C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
ALGORITHMS = {
    *(f"{MORE}{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)),
    *(Words.SHA256, Words.SHA384, Words.SHA512),
    *(f"{Words.NS_DS}enveloped-signature", C14N, f"{C14N}WithComments"),
}

ATTRIBUTE, OID = "urn:oasis:names:tc:SAML:attribute", "urn:oid"
CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
# How providers call what is read here, the surest first.
NAMES = {
    "uid": [f"{ATTRIBUTE}:subject-id", f"{ATTRIBUTE}:pairwise-id"],
    "email": [
        *(f"{OID}:0.9.2342.19200300.100.1.3", f"{OID}:1.2.840.113549.1.9.1"),
        *(f"{CLAIM}/emailaddress", "email", "mail"),
    ],
    "username": [f"{OID}:0.9.2342.19200300.100.1.1", "http://schemas.auth0.com/nickname", "username"],
    "first_name": [f"{OID}:2.5.4.42", f"{CLAIM}/givenname", "givenName", "firstName", "first_name"],
    "last_name": [f"{OID}:2.5.4.4", f"{CLAIM}/surname", "sn", "lastName", "last_name"],
}


class Refused(Exception):
    """This answer is not believed; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, as django-allauth reads it."""

    said: Any  # what `_said` returned, from the database

    def get_attributes(self) -> Any:
        return self.said

    def get_nameid_format(self) -> None:
        return None


# ---------------------------------------------------------------- to the provider


def request_sign_in(request: HttpRequest) -> tuple[str, str]:
    """Make a request; return its id, and the address that takes somebody to the provider with it."""
    made = OneLogin_Saml2_Authn_Request(_settings(request))
    sent = {"SAMLRequest": made.get_request()}
    return made.get_id(), OneLogin_Saml2_Utils.redirect(settings.SAML_PROVIDER.sign_in, sent)


def metadata(request: HttpRequest) -> str:
    """Return what whoever runs the provider wants to know of this site; it does not expire."""
    site = _settings(request).get_sp_data()
    text: str = OneLogin_Saml2_Metadata.builder(site, wsign=True, valid_until="", cache_duration="")
    return text


def _settings(request: HttpRequest) -> OneLogin_Saml2_Settings:
    provider = settings.SAML_PROVIDER
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "security": {
                "wantAssertionsSigned": True,
                "rejectDeprecatedAlgorithm": True,
                "requestedAuthnContext": False,  # how people show who they are is the provider's business
                "wantNameId": False,
                "wantAttributeStatement": False,
                "allowRepeatAttributeName": True,
                "allowSingleLabelDomains": True,
            },
            "sp": {"entityId": settings.SAML_ENTITY_ID, "assertionConsumerService": {"url": _address(request)}},
            "idp": {
                "entityId": provider.entity_id,
                "singleSignOnService": {"url": escape(provider.sign_in)},  # it is put into XML as it is
                "x509certMulti": {"signing": list(provider.certificates)},
            },
        }
    )


def _address(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("saml_receive"))


# ---------------------------------------------------------------- from the provider


def receive(request: HttpRequest) -> str:
    """Keep what the provider says in an answer; return the token that it is taken with. Raise Refused."""
    response = _parsed(request)
    for signature in response.document.iter(f"{DS}Signature"):
        _check_form(signature)
    path = {"https": "on" if request.is_secure() else "off", "http_host": request.get_host()}
    if not response.is_valid({**path, "script_name": reverse("saml_receive")}):
        raise Refused(response.get_error())
    try:
        asked = _check_aim(response, _address(request))
        said = _said(response)
    except (OneLogin_Saml2_ValidationError, ValueError) as error:
        raise Refused(str(error)) from error
    token = Assertion.keep(response.get_assertion_id(), asked, said)
    if token is None:
        raise Refused("It was used before.")
    return token


def _parsed(request: HttpRequest) -> OneLogin_Saml2_Response:
    length = request.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= LARGEST):
        raise Refused("It is too long, or does not say how long it is.")
    if request.content_type != FORM:
        raise Refused("It is not a form.")
    try:
        response = OneLogin_Saml2_Response(_settings(request), request.POST.get("SAMLResponse", ""))
    except (OneLogin_Saml2_Error, LxmlError, ValueError) as error:
        raise Refused(f"It cannot be read: {error}") from error
    if response.document.tag != f"{{{Words.NS_SAMLP}}}Response":
        raise Refused("It is no answer.")
    return response


def _check_form(signature: Any) -> None:
    """Refuse what SAML allows in no signature (core, 5.4): files that it names would be opened before it is checked."""
    signed, reference = signature.find(f"{DS}SignedInfo"), signature.find(f"{DS}SignedInfo/{DS}Reference")
    has_form = (
        _parts(signature) in (["SignedInfo", "SignatureValue"], ["SignedInfo", "SignatureValue", "KeyInfo"])
        and _parts(signed) == ["CanonicalizationMethod", "SignatureMethod", "Reference"]
        and _parts(reference) == ["Transforms", "DigestMethod", "DigestValue"]
    )
    if not has_form or reference.get("URI") != f"#{signature.getparent().get('ID')}":
        raise Refused("Its signature has not the form that SAML allows.")
    steps = [*signed[:2], *reference[0], reference[1]]
    if len(steps) > 5 or any(step.get("Algorithm") not in ALGORITHMS for step in steps):
        raise Refused("Its signature is made in a way that SAML does not allow, or that is not safe any more.")


def _parts(element: Any) -> list[str]:
    return [] if element is None else [part.tag.removeprefix(DS) for part in element]


def _check_aim(response: OneLogin_Saml2_Response, address: str) -> str:
    """Refuse what is not for this site, at this address, in answer to a request, now; return that request's id."""
    assertion = response.document.find("saml:Assertion", Words.NSMAP)
    if assertion.findtext("saml:Issuer", "", Words.NSMAP) != settings.SAML_PROVIDER.entity_id:
        raise Refused("It is not by the provider.")
    restrictions = assertion.findall("saml:Conditions/saml:AudienceRestriction", Words.NSMAP)
    audiences = [{audience.text for audience in restriction} for restriction in restrictions]
    if not audiences or any(settings.SAML_ENTITY_ID not in names for names in audiences):
        raise Refused("It is not for this site.")
    confirmations = assertion.findall("saml:Subject/saml:SubjectConfirmation", Words.NSMAP)
    bound = [c.find("saml:SubjectConfirmationData", Words.NSMAP) for c in confirmations]
    if len(bound) != 1 or bound[0].get("Recipient") != address or bound[0].get("NotOnOrAfter") is None:
        raise Refused("It is not for one address, this one, and for a time.")
    if response.document.get("Destination") not in {None, address}:
        raise Refused("It was sent to another address.")
    asked: str = bound[0].get("InResponseTo", "")
    if not 0 < len(asked) <= 100:
        raise Refused("It answers no request.")
    issued = datetime.fromisoformat(assertion.get("IssueInstant"))
    if not -SKEW <= timezone.now() - issued.replace(tzinfo=issued.tzinfo or UTC) <= AGE:
        raise Refused("It was made long ago, or will be: look at the clocks.")
    return asked


# ---------------------------------------------------------------- what is said


def _said(response: OneLogin_Saml2_Response) -> dict[str, list[str]]:
    """Return what is read here of what the assertion says about somebody, within bounds."""
    attributes = response.get_attributes()
    name, kind = response.get_nameid() or "", response.get_nameid_format()
    said = {ours: _texts(attributes, theirs)[:1] for ours, theirs in NAMES.items()}
    if not said["uid"] and kind == Words.NAMEID_TRANSIENT:
        raise Refused("It calls people something else each time: have the provider send a persistent NameID.")
    said["uid"] = said["uid"] or [name]
    if not 0 < len(said["uid"][0]) <= LONGEST["uid"]:
        raise Refused("It does not say who it is, or at too great length.")
    if kind == Words.NAMEID_EMAIL_ADDRESS:
        said["email"] = said["email"] or [name]
    if kind not in {Words.NAMEID_PERSISTENT, Words.NAMEID_TRANSIENT}:
        said["username"] = said["username"] or [name.partition("@")[0]]
    said["groups"] = _texts(attributes, [settings.SAML_GROUPS_ATTRIBUTE])[:GROUPS_MOST]
    return {ours: [text for text in texts if len(text) <= LONGEST[ours]] for ours, texts in said.items()}


def _texts(attributes: dict[str, list[Any]], names: list[str]) -> list[str]:
    """Return the values of the first of the attributes that has any."""
    found = ([value for value in attributes.get(name, []) if isinstance(value, str)] for name in names)
    return next(filter(None, found), [])
