"""What a SAML identity provider does, without a process: it has metadata and a key, reads requests, signs answers."""

import base64
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from onelogin.saml2.utils import OneLogin_Saml2_Utils

ENTITY_ID = "https://login.example.org/saml"
SIGN_IN = "https://login.example.org/saml/sign-in?tenant=team&idp=1"

METADATA = """<?xml version="1.0"?>
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{entity_id}">
  <md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" WantAuthnRequestsSigned="true">
    <md:KeyDescriptor use="signing">
      <ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>
        <ds:X509Certificate>{certificate}</ds:X509Certificate>
      </ds:X509Data></ds:KeyInfo>
    </md:KeyDescriptor>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://elsewhere/"/>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{sign_in}"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>
"""

ASSERTION = """<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"
  ID="{id}" Version="2.0" IssueInstant="{issued}"><saml:Issuer>{issuer}</saml:Issuer>
  <saml:Subject>
    <saml:NameID Format="{format}">{name}</saml:NameID>
    <saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
      <saml:SubjectConfirmationData {confirmation} NotOnOrAfter="{until}"/>
    </saml:SubjectConfirmation>
  </saml:Subject>
  <saml:Conditions NotBefore="{issued}" NotOnOrAfter="{until}">{audience}</saml:Conditions>
  <saml:AuthnStatement AuthnInstant="{issued}"><saml:AuthnContext>
    <saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>
  </saml:AuthnContext></saml:AuthnStatement>
  {attributes}
</saml:Assertion>"""

RESPONSE = """<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="{saml}"
  ID="{id}" Version="2.0" IssueInstant="{issued}" Destination="{destination}"{request}>
  <saml:Issuer>{issuer}</saml:Issuer>
  <samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
  {assertion}
</samlp:Response>"""


@dataclass(frozen=True)
class Asked:
    """What a site asks for, as its request says."""

    id: str
    issuer: str
    address: str  # where the answer is to go

    @classmethod
    def read(cls, location: str) -> "Asked":
        [packed] = parse_qs(urlsplit(location).query)["SAMLRequest"]
        request = ElementTree.fromstring(zlib.decompress(base64.b64decode(packed), -15))
        issuer = request.findtext("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer")
        return cls(request.attrib["ID"], issuer or "", request.attrib["AssertionConsumerServiceURL"])


@dataclass
class Answer:
    """What the provider says of somebody who has signed in there; tests change what they like before it is signed."""

    asked: Asked
    name: str
    attributes: dict[str, list[str]] = field(default_factory=dict)
    format: str = Words.NAMEID_UNSPECIFIED
    issuer: str = ENTITY_ID
    audience: str | None = None
    recipient: str | None = None
    destination: str | None = None
    request: str | None = None  # the id that the answer is to; "" for none
    issued: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(seconds=1))
    until: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(minutes=5))
    id: str = field(default_factory=lambda: f"_{uuid4().hex}")

    def assertion(self) -> str:
        audience = self.asked.issuer if self.audience is None else self.audience
        answers = f'Recipient="{self.recipient or self.asked.address}"{_request(self._id_of_request())}'
        return ASSERTION.format(
            id=self.id,
            issued=_moment(self.issued),
            until=_moment(self.until),
            issuer=self.issuer,
            format=self.format,
            name=self.name,
            confirmation=answers,
            audience=_within("AudienceRestriction", _within("Audience", audience)),
            attributes=_within("AttributeStatement", "".join(map(_attribute, self.attributes.items()))),
        )

    def response(self, assertion: str, *, request: str | None = None) -> str:
        """Put an assertion into an answer, to another request than it says if that is wanted."""
        return RESPONSE.format(
            saml=Words.NS_SAML,
            id=f"_{uuid4().hex}",
            issued=_moment(self.issued),
            destination=self.destination or self.asked.address,
            request=_request(self._id_of_request() if request is None else request),
            issuer=self.issuer,
            assertion=assertion,
        )

    def _id_of_request(self) -> str:
        return self.asked.id if self.request is None else self.request


class SamlProvider:
    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "login.example.org")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        signed = made.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
        self.key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.certificate = signed.public_bytes(Encoding.PEM).decode()

    @property
    def metadata(self) -> str:
        certificate = "".join(self.certificate.splitlines()[1:-1])
        return METADATA.format(entity_id=ENTITY_ID, certificate=certificate, sign_in=escape(SIGN_IN))

    def sign(self, xml: str, algorithm: str = Words.RSA_SHA256, digest: str = Words.SHA256) -> str:
        """Sign the outermost element, which has an id and an issuer."""
        signed = OneLogin_Saml2_Utils.add_sign(
            xml, self.key, self.certificate, sign_algorithm=algorithm, digest_algorithm=digest
        )
        return signed.decode()

    def answer(self, answer: Answer) -> str:
        return answer.response(self.sign(answer.assertion()))


def packed(xml: str | bytes) -> str:
    return base64.b64encode(xml.encode() if isinstance(xml, str) else xml).decode()


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _request(name: str) -> str:
    return f' InResponseTo="{name}"' if name else ""


def _attribute(named: tuple[str, list[str]]) -> str:
    name, values = named
    said = "".join(_within("AttributeValue", value) for value in values)
    return f'<saml:Attribute Name="{name}">{said}</saml:Attribute>'


def _within(element: str, content: str) -> str:
    return f"<saml:{element}>{content}</saml:{element}>" if content else ""
