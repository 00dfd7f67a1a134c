"""The process: Django with allauth.idp.oidc, and two pages that tests steer it with."""

import os
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.core.management import call_command

FOLDER = Path(os.environ.get("PROVIDER_FOLDER", "."))
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

if not settings.configured:
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["localhost"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "provider.sqlite3"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "allauth.idp.oidc",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        SESSION_COOKIE_NAME="provider",
        IDP_OIDC_ADAPTER=f"{__name__}.Vouching",
        IDP_OIDC_PRIVATE_KEY=KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )
    django.setup()

from allauth.account.models import EmailAddress  # noqa: E402
from allauth.idp.oidc.adapter import DefaultOIDCAdapter  # noqa: E402
from allauth.idp.oidc.models import Client  # noqa: E402
from django.contrib.auth import login  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from tests.identity_provider import CLIENT_ID, CLIENT_SECRET  # noqa: E402


class Vouching(DefaultOIDCAdapter):
    def get_claims(self, purpose: str, user: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        claims = super().get_claims(purpose, user, *args, **kwargs)
        return {**claims, "groups": list(user.groups.values_list("name", flat=True))}


def become(request: HttpRequest) -> HttpResponse:
    """Sign this browser in as `name`, with `email`, which is `verified` or not, in `groups`."""
    said = request.GET
    user, _ = User.objects.get_or_create(username=said["name"])
    EmailAddress.objects.filter(user=user).delete()
    if email := said.get("email"):
        EmailAddress.objects.create(user=user, email=email, verified="verified" in said, primary=True)
    user.groups.set([Group.objects.get_or_create(name=name)[0] for name in said.get("groups", "").split(",") if name])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("You are that now.")


def expect(request: HttpRequest) -> HttpResponse:
    client, _ = Client.objects.get_or_create(id=CLIENT_ID, defaults={"name": "Parley", "skip_consent": True})
    client.set_secret(CLIENT_SECRET)
    client.redirect_uris = f"{request.GET['site']}/accounts/oidc/login/callback/"
    client.scopes = client.default_scopes = "openid\nprofile\nemail"
    client.save()
    return HttpResponse("It is known.")


urlpatterns = [
    path("become/", become),
    path("expect/", expect),
    path("accounts/", include("allauth.account.urls")),
    path("", include(("allauth.idp.urls", "idp"))),
]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    call_command("migrate", verbosity=0)
    with make_server("127.0.0.1", 0, get_wsgi_application(), Server, Quiet) as server:
        print(f"listening: http://localhost:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
