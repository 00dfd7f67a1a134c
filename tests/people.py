"""People with rights, and their browsers as far as tests without a real one need them."""

import base64
import hashlib
import hmac
import struct
import time

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import Permission
from django.test import Client
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from chat.models import User


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def with_rights(user: User, *rights: str) -> User:
    """Let `user` into the admin, with these rights and no others."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return User.objects.get(pk=user.pk)  # Django keeps the rights it has read


def staff(*rights: str) -> Client:
    """Sign bob in, who has these rights and no others."""
    return signed_in(with_rights(User.objects.create_user("bob", password="battery staple"), *rights))


def code_of(secret: str, later: int = 0) -> str:
    """Return what an app shows that has `secret`, `later` half minutes from now (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30 + later), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF) % 1_000_000:06}"


def give_passkey(user: User) -> Authenticator:
    """Have a passkey noted as `user`'s whose other half nobody has."""
    key = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    made = AttestedCredentialData.create(b"\0" * 16, b"passkey", key)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    seen = AuthenticatorData.create(hashlib.sha256(b"testserver").digest(), flags, 0, made)
    response = {
        "clientDataJSON": CollectedClientData.create("webauthn.create", b"challenge", "https://testserver").b64,
        "attestationObject": websafe_encode(AttestationObject.create("none", seen, {})),
    }
    credential = {"type": "public-key", "id": websafe_encode(b"passkey"), "rawId": websafe_encode(b"passkey")}
    about = {"name": "Key", "credential": {**credential, "response": response, "clientExtensionResults": {}}}
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=about)
