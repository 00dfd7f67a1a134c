"""What keeps other sites, and hostile words in the page, out: headers, cookies, origins, and text that is no markup."""

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser

from chat.consumers import TabConsumer
from chat.models import User
from config.asgi import application
from predictions import webhooks
from predictions.database import query
from predictions.models import Model, Prediction
from tests.people import signed_in as client_of
from tests.prepared import PROJECT, outside
from tests.site import Site
from tests.test_socket import session_of

EVERYWHERE = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
}


# ---------------------------------------------------------------- headers


def test_each_kind_of_response_has_the_headers(site: Site) -> None:
    pages = ["/accounts/login/", "/", "/admin/login/", "/manifest.webmanifest", "/health/live", "/metrics", "/nowhere/"]
    news = ["/news/", "/news/?frames=[]"]
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        static = re.findall(r'"(/static/[^"]+)"', client.get("/accounts/login/").text)
        found = {address: client.get(address) for address in [*pages, *news, static[0]]}
        found["a form without its token"] = client.post("/accounts/login/", data={"username": "alice"})
        found["a wrong host"] = client.get("/", headers={"Host": "evil.example"})

    assert {answer.status_code for answer in found.values()} == {200, 302, 400, 401, 403, 404}
    for name, answer in found.items():
        own = {"cross-origin-resource-policy": "cross-origin"} if name == static[0] else {}
        said = {header: answer.headers.get(header) for header in EVERYWHERE}
        assert said == EVERYWHERE | own, name
        assert "default-src 'none'" in answer.headers["content-security-policy"], name
        assert "camera=()" in answer.headers["permissions-policy"], name


@pytest.mark.django_db
def test_a_page_that_broke_has_the_headers(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("chat.sidebar_views.search", fail)
    client = Client(raise_request_exception=False)
    client.force_login(alice)

    answer = client.get(reverse("chat:message_search"), {"q": "words"})

    assert answer.status_code == 500
    assert {name: answer[name] for name in EVERYWHERE} == EVERYWHERE
    assert "default-src 'none'" in answer["Content-Security-Policy"]


# ---------------------------------------------------------------- behind TLS

BEHIND_TLS = """
import django, json
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import Client
call_command("check", deploy=True, fail_level="WARNING")
client = Client(headers={"Host": "localhost", "X-Forwarded-Proto": "https"})
answer, plain = client.get("/health/live"), Client(headers={"Host": "localhost"})
print(json.dumps({
    "cookies": [[getattr(settings, f"{kind}_COOKIE_{part}") for part in ("NAME", "SECURE", "PATH", "DOMAIN")]
                for kind in ("SESSION", "CSRF")],
    "headers": dict(answer.headers),
    "plain": [plain.get(page).status_code for page in ("/manifest.webmanifest", "/health/live")],
}))
"""


def test_behind_tls_nothing_is_left_for_the_deployment_check_to_say(tmp_path: Path) -> None:
    environment = outside() | {
        "PARLEY_DATA_DIR": str(tmp_path),
        "PARLEY_BEHIND_TLS": "true",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", BEHIND_TLS], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert told["cookies"] == [[f"__Host-{name}", True, "/", None] for name in ("sessionid", "csrftoken")]
    assert told["headers"]["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "upgrade-insecure-requests" in told["headers"]["Content-Security-Policy"]
    assert told["plain"] == [301, 200]


# ---------------------------------------------------------------- whose pages may talk

OWN = "http://localhost:8000"
FOREIGN = [
    *(None, "", "null", "localhost:8000", "//localhost:8000", "http://", "http://[", "http://localhost:8000/"),
    *("https://localhost:8000", "http://localhost", "http://localhost:80", "http://localhost:80001"),
    *("http://evil.example", "http://evil.example:8000", "http://127.0.0.1:8000", "http://[::1]:8000"),
    *("http://localhost.evil.example:8000", "http://evil-localhost:8000", "http://localhost:8000.evil.example"),
    *("http://localhost:8000@evil.example", "http://evil.example#localhost:8000", "http://.localhost:8000"),
    *("HTTP://LOCALHOST:8000", "http://LOCALHOST:8000", "http://lоcalhost:8000", "http://xn--lcalhost-91g:8000"),
    *("http://localhost.:8000", "http://localhost:8000 http://evil.example", "file://", "chrome-extension://localhost"),
    *("https://trusted.example.evil.example", "http://trusted.example", "https://trusted.example:444"),
    *("https://evilteam.example", "https://team.example.evil.example"),
]
TRUSTED = ["https://trusted.example", "https://one.team.example"]


def upgrade(session: str, *origins: str | None, host: str = "localhost:8000") -> WebsocketCommunicator:
    headers = [(b"host", host.encode()), (b"cookie", f"sessionid={session}".encode())]
    headers += [(b"origin", origin.encode()) for origin in origins if origin is not None]
    return WebsocketCommunicator(application, "/socket/", headers)


@pytest.mark.django_db(transaction=True)
async def test_only_pages_of_this_site_get_a_socket(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example", "https://*.team.example"]
    made: list[object] = []
    make = TabConsumer.__init__
    monkeypatch.setattr(TabConsumer, "__init__", lambda self, *a, **b: (made.append(self), make(self, *a, **b))[1])
    session = await query(session_of, alice)
    wrong_host = upgrade(session, "http://evil.example", host="evil.example")
    twice = upgrade(session, OWN, "http://evil.example")
    for refused in (wrong_host, twice, *(upgrade(session, origin) for origin in FOREIGN)):
        assert (await refused.connect())[0] is False, refused.scope["headers"]
    assert made == []

    for origin in (OWN, *TRUSTED):
        tab = upgrade(session, origin)
        assert (await tab.connect())[0], origin
        await tab.disconnect()
    settings.BEHIND_TLS = True
    assert (await upgrade(session, OWN).connect())[0] is False
    tab = upgrade(session, "https://localhost:8000")
    assert (await tab.connect())[0]
    await tab.disconnect()


def test_news_are_for_pages_of_this_site(site: Site) -> None:
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        for origin in filter(None, FOREIGN):
            assert client.get("/news/", headers={"Origin": origin.encode()}).status_code == 403, origin
        assert client.get("/news/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/news/", headers={"Origin": site.url}).status_code == 401


@pytest.mark.django_db
def test_a_form_of_another_site_is_refused_whatever_it_holds(alice: User, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example"]
    client, page = client_of(alice), reverse("chat:theme_choose")

    def post(**headers: str) -> int:
        return client.post(page, headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code

    assert [post(sec_fetch_site=site) for site in ("cross-site", "same-site", "else")] == [403, 403, 403]
    assert [post(sec_fetch_site=site) for site in ("same-origin", "none")] == [302, 302]
    assert post() == 302  # an older browser, which says nothing
    assert post(sec_fetch_site="cross-site", origin="https://trusted.example") == 302
    hook = reverse("webhook", args=[uuid.uuid4(), "token"])
    assert client.post(hook, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 404  # for its signature to judge


@pytest.mark.django_db
def test_webhooks_come_to_the_public_address_whatever_a_request_calls_this_site(
    alice: User, model: Model, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://chat.example.org"
    client, page = client_of(alice), reverse("chat:conversation_create")
    sent = {"id": str(uuid.uuid4()), "text": "Hi", "model": model.slug}

    assert client.post(page, sent, headers={"Host": "evil.example"}).status_code == 400
    assert client.post(page, sent, headers={"X-Forwarded-Host": "evil.example"}).status_code == 302
    assert webhooks.address_for(Prediction.objects.get()).startswith("https://chat.example.org/webhooks/")


def test_no_frame_is_given_the_origin_of_the_page_around_it() -> None:
    sources = [
        path for room in ("chat", "predictions", "static/js", "templates") for path in (PROJECT / room).rglob("*")
    ]
    texts = [path.read_text() for path in sources if path.suffix in {".py", ".js", ".html"}]

    assert len(texts) > 200
    assert not any("allow-same-origin" in text for text in texts)


# ---------------------------------------------------------------- text that is no markup

SINKS = """() => {
    const place = document.createElement("div");
    const frame = document.createElement("iframe");
    const script = document.createElement("script");
    const sinks = {
        innerHTML: () => { place.innerHTML = "<b>x</b>"; },
        outerHTML: () => { place.appendChild(document.createElement("p")).outerHTML = "<b>x</b>"; },
        insertAdjacentHTML: () => place.insertAdjacentHTML("beforeend", "<b>x</b>"),
        parseFromString: () => new DOMParser().parseFromString("<b>x</b>", "text/html"),
        fragment: () => document.createRange().createContextualFragment("<b>x</b>"),
        write: () => document.write("<b>x</b>"),
        srcdoc: () => { frame.srcdoc = "<b>x</b>"; },
        src: () => { script.src = "/static/js/app.js"; },
        text: () => { script.text = "1"; },
        eval: () => window.eval("1"),
        timer: () => setTimeout("1"),
        policy: () => trustedTypes.createPolicy("own", { createHTML: (html) => html }),
        again: () => trustedTypes.createPolicy("parley", { createHTML: (html) => html }),
    };
    const isOpen = (name) => { try { sinks[name](); return true; } catch { return false; } };
    // Not within the test's own call, in which browsers let `eval` be.
    return new Promise((tell) => setTimeout(() => tell(Object.keys(sinks).filter(isOpen))));
}"""


def test_text_becomes_no_markup_but_by_two_policies(browser: Browser, site: Site, signed_in: Any) -> None:
    """That the page itself keeps to this is seen by all tests in a browser, which fail where it breaks a rule."""
    page = browser.new_page(storage_state=signed_in)
    page.goto(site.url)
    page.wait_for_function("!!customElements.get('message-composer')")

    assert page.evaluate(SINKS) == []
    page.close()
