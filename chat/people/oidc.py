"""The way to an OpenID Connect provider.

This is the one place beside `predictions/providers/http.py` that asks other hosts for something, because django-allauth
asks through `requests`: the session below goes to the issuer's host and those that the environment names, and nowhere
else, follows no redirect, and takes neither long nor much.
"""

from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter

LARGEST = 1_000_000  # bytes of an answer
PATIENCE = 10  # seconds


class Door(requests.Session):
    """Goes to the issuer, and to the hosts that the environment names beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, and no password, that nobody has named here
        for scheme in ("https://", "http://"):
            self.mount(scheme, Measured())

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", PATIENCE)
        return super().request(method, url, *args, **{**kwargs, "allow_redirects": False})


class Measured(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        issuer, asked = urlsplit(settings.OIDC_ISSUER), urlsplit(request.url or "")
        is_issuer = (asked.scheme, asked.netloc) == (issuer.scheme, issuer.netloc)
        if not is_issuer and not (asked.scheme == "https" and asked.hostname in settings.OIDC_HOSTS):
            raise requests.exceptions.InvalidURL("This host is neither the issuer nor in PARLEY_OIDC_HOSTS.")
        response = super().send(request, *args, **{**kwargs, "stream": True})
        body = response.raw.read(LARGEST + 1, decode_content=True)
        response.close()
        if len(body) > LARGEST:
            raise requests.exceptions.ContentDecodingError("The issuer's answer is too large.")
        response._content = body  # noqa: SLF001 - as reading it whole would have it
        return response
