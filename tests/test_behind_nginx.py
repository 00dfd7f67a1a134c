"""A site behind nginx with TLS, configured as `deploy/nginx.conf` says: the way most people come."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from predictions import outside
from predictions.providers import pool, stream_transport
from tests.browser import Open, send, set_up, visiting
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.nginx import Nginx
from tests.site import Site
from tests.test_browser import answer_of

# What a browser says of connections that nginx's reload cuts off.
BROKEN = (
    "ERR_CONNECTION",
    "ERR_EMPTY_RESPONSE",
    "ERR_FAILED",
    "ERR_HTTP2",
    "ERR_INCOMPLETE",
    "ERR_NETWORK",
    "WebSocket",
)


@pytest.fixture(scope="module")
def site_environment(site_environment: dict[str, str]) -> dict[str, str]:
    return {**site_environment, "PARLEY_BEHIND_TLS": "true"}


@pytest.fixture(scope="module")
def behind_nginx(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), site.port) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site, behind_nginx: Nginx) -> Any:
    page = browser.new_page(ignore_https_errors=True)
    set_up(page, behind_nginx.url + urlsplit(site.address).path)
    state = page.context.storage_state()
    page.close()
    return state


@pytest.fixture
def open_page(browser: Browser, behind_nginx: Nginx, signed_in: Any) -> Iterator[Open]:
    with visiting(browser, behind_nginx.url, signed_in, harmless=BROKEN) as open_page:
        yield open_page


def test_the_configuration_is_one_that_nginx_takes_without_a_word(behind_nginx: Nginx) -> None:
    said = behind_nginx.complaints()

    assert "test is successful" in said
    assert "warn" not in said


def test_the_proxy_lets_through_what_doctor_looks_for_and_drops_what_visitors_forge(
    behind_nginx: Nginx, site: Site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SECRET_KEY = (site.folder / "data/secret-key").read_text()
    trusting = ssl.create_default_context(cafile=behind_nginx.certificate)
    for transport in (pool, stream_transport):
        monkeypatch.setattr(transport, "trust", lambda: trusting)
    findings = dict(asyncio.run(outside.look(behind_nginx.url, with_webhooks=True)))
    assert len(findings) == 4
    assert not any(findings.values()), findings

    forged = {
        "X-Forwarded-Proto": "http",
        "X_Forwarded_Proto": "http",
        "Daphne-Root-Path": "/x",
        "Forwarded": "proto=http",
    }
    with httpx.Client(verify=trusting, trust_env=False) as visitor:
        probe = visitor.get(f"{behind_nginx.url}/health/stream?probe={outside.probe()}", headers=forged)
        assert '"secure": true' in probe.text
        assert visitor.get(behind_nginx.url, headers={"Host": "evil.example.org"}).status_code == 400
        redirect = visitor.get(f"http://localhost:{behind_nginx.plain_port}/c/1?x=2")
        assert redirect.headers["Location"] == "https://localhost/c/1?x=2"


def test_people_ask_stop_send_files_and_come_back_after_a_reload_of_nginx(
    open_page: Open, host: FakeReplicate, behind_nginx: Nginx
) -> None:
    page = open_page(ignore_https_errors=True)
    cookies = {cookie["name"]: cookie["secure"] for cookie in page.context.cookies()}
    assert {"__Host-sessionid", "__Host-csrftoken", "zone"} <= cookies.keys()
    assert all(cookies.values()), cookies

    first, second = Gate(), Gate()
    host.script(Script(steps=["The first words,", first, " the second ones,", second, " and the last."]))
    send(page, "What is the capital of France?")
    expect(answer_of(page)).to_contain_text("The first words,")
    behind_nginx.reload()
    first.open()
    expect(answer_of(page)).to_contain_text("the second ones,")
    second.open()
    expect(answer_of(page)).to_contain_text("and the last.")

    stopped = Gate()
    host.script(Script(steps=["This goes on", stopped, " and on"]))
    send(page, "Talk for long")
    expect(answer_of(page)).to_contain_text("This goes on")
    page.get_by_role("button", name="Stop").click()
    expect(answer_of(page)).to_contain_text("Stopped")
    stopped.open()

    assert page.evaluate(UPLOAD, 3_000_000) == 201  # bytes: more than nginx lets through by itself


UPLOAD = """async (size) => {
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    const headers = { "X-CSRFToken": token, "X-File-Name": "a%20picture.png" };
    const png = Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10]);
    return (await fetch("/uploads/", { method: "POST", headers, body: new Blob([png, new Uint8Array(size)]) })).status;
}"""
