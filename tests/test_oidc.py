"""Signing in at a real OpenID Connect provider, and what it says about people."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.http import HttpRequest

from chat.models import User
from chat.people import claims, vouching
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider
from tests.site import Site, Tables
from tests.visitor import Visitor
from tests.waiting import WAIT_LIMIT


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("provider")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def site(issuer: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    environment = {
        "PARLEY_OIDC_ISSUER": issuer.url,
        "PARLEY_OIDC_CLIENT_ID": CLIENT_ID,
        "PARLEY_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "PARLEY_OIDC_NAME": "Example Login",
        "PARLEY_OIDC_GROUPS_CLAIM": "groups",
        "PARLEY_OIDC_ADMIN_GROUP": "keepers",
    }
    with Site(tmp_path_factory.mktemp("site"), environment) as site:
        issuer.expect(site.url)
        with Visitor(site.url) as ada:
            ada.set_up(site.address)
        yield site


@pytest.fixture
def tables(site: Site) -> Tables:
    return Tables(site)


def come(site: Site, issuer: IdentityProvider, **said: str) -> httpx.Response:
    """Sign in at the issuer as somebody, then here; return where that ended."""
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=WAIT_LIMIT) as browser:
        browser.get(f"{issuer.url}/become/", params=said).raise_for_status()
        page = browser.get(f"{site.url}/accounts/login/")
        assert "Continue with Example Login" in page.text
        return browser.get(f"{site.url}/accounts/oidc/login/", params={"next": "/search/"})


def test_somebody_new_comes_in_and_their_groups_follow_the_issuer(
    site: Site, issuer: IdentityProvider, tables: Tables
) -> None:
    tables.run("INSERT INTO auth_group (name) VALUES ('team'), ('others'), ('keepers')")
    said = {
        "name": "newcomer",
        "email": "newcomer@example.org",
        "verified": "",
        "groups": "team,keepers,Everybody,unknown",
    }
    page = come(site, issuer, **said)

    assert (page.status_code, page.url.path) == (200, "/search/")
    assert tables.groups_of("newcomer") == {"Everybody", "team", "keepers"}
    row = "SELECT email, is_staff, is_superuser, password FROM chat_user WHERE username = 'newcomer'"
    assert tables.run(row)[0][:3] == ("newcomer@example.org", 1, 1)
    assert tables.run(row)[0][3].startswith("!")
    assert tables.run("SELECT count(*) FROM socialaccount_socialtoken") == [(0,)]

    tables.run("UPDATE chat_user SET is_staff = 1, is_superuser = 0 WHERE username = 'newcomer'")
    come(site, issuer, **{**said, "groups": "others"})
    assert tables.run(row)[0][1:3] == (1, 0), "who merely enters the administration was let in here"

    come(site, issuer, **said)
    come(site, issuer, **{**said, "groups": "others"})
    assert tables.groups_of("newcomer") == {"Everybody", "others"}
    assert tables.run(row)[0][:3] == ("newcomer@example.org", 0, 0)
    assert tables.run("SELECT count(*) FROM chat_user WHERE username LIKE 'newcomer%'") == [(1,)]


def test_an_account_that_is_here_is_theirs_only_if_the_issuer_has_verified_the_address(
    site: Site, issuer: IdentityProvider, tables: Tables
) -> None:
    tables.run("UPDATE chat_user SET email = 'ada@example.org' WHERE username = 'ada'")
    come(site, issuer, name="stranger", email="ada@example.org")
    links = "SELECT u.username, u.email FROM socialaccount_socialaccount s JOIN chat_user u ON u.id = s.user_id"
    assert ("stranger", "") in tables.run(links)

    come(site, issuer, name="ada-at-work", email="Ada@example.org", verified="")
    assert ("ada", "ada@example.org") in tables.run(links)
    assert tables.run("SELECT count(*) FROM chat_user WHERE username = 'ada-at-work'") == [(0,)]
    come(site, issuer, name="ada-the-next@work.example", email="ada@example.org", verified="")
    assert ("ada-the-next", "") in tables.run(links), "an address that was given to somebody else is not the account"
    # The last admin stays one, whatever the issuer says.
    assert tables.run("SELECT is_superuser FROM chat_user WHERE username = 'ada'") == [(1,)]


def test_an_address_counts_where_it_is_said_to_be_verified(settings: Any) -> None:
    settings.OIDC_GROUPS_CLAIM = ""
    token, other = {"email": "alice@example.org", "email_verified": True}, {"email": "bob@example.org"}

    assert claims.of_oidc({"id_token": token, "userinfo": other}).email == "alice@example.org"
    assert claims.of_oidc({"id_token": {"email_verified": True}, "userinfo": other}).email == ""


def test_letters_that_a_database_takes_for_others_are_those_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    mike = User(email="mike@example.org")
    monkeypatch.setattr(User.objects, "filter", lambda **_: [mike])  # as PostgreSQL finds all of these
    adapter = vouching.SocialAccountAdapter()

    owners = [adapter._owner_of(HttpRequest(), f"{name}@example.org") for name in ("mike", "MIKE", "m\u0131ke")]
    assert owners == [mike, mike, None]


def test_who_is_disabled_here_does_not_come_in(site: Site, issuer: IdentityProvider, tables: Tables) -> None:
    come(site, issuer, name="leaver")
    tables.run("UPDATE chat_user SET is_active = 0 WHERE username = 'leaver'")

    page = come(site, issuer, name="leaver")
    assert page.status_code == 403
    assert "switched off" in page.text


def test_a_return_that_nobody_asked_for_and_a_link_of_another_site_do_nothing(site: Site) -> None:
    with httpx.Client(base_url=site.url, trust_env=False, timeout=WAIT_LIMIT) as browser:
        page = browser.get("/accounts/oidc/login/callback/", params={"code": "x", "state": "y"})
        assert (page.status_code, "That did not work" in page.text) == (403, True)
        elsewhere = browser.get("/accounts/oidc/login/", headers={"Sec-Fetch-Site": "cross-site"})
        assert elsewhere.headers["Location"] == "/accounts/login/"


def test_an_issuer_that_is_away_is_told_in_words(site: Site, issuer: IdentityProvider, tmp_path: Path) -> None:
    environment = {"PARLEY_OIDC_ISSUER": "http://localhost:1", "PARLEY_OIDC_CLIENT_ID": "x"}
    with Site(tmp_path, {**environment, "PARLEY_LOCAL_PASSWORDS": "false"}) as other:
        with Visitor(other.url) as ada:
            ada.set_up(other.address)
        with httpx.Client(base_url=other.url, trust_env=False, timeout=WAIT_LIMIT) as browser:
            assert browser.get("/accounts/oidc/login/").status_code == 502
            page = browser.get("/accounts/login/").text
            assert ("Password" in page, "Continue with single sign-on" in page) == (False, True)
        with Visitor(other.url) as stranger:
            stranger.http.get("/accounts/login/")
            sent = {"username": "ada", "password": "a long enough phrase", "csrfmiddlewaretoken": "a" * 32}
            stranger.http.cookies["csrftoken"] = "a" * 32
            assert stranger.http.post("/accounts/login/", data=sent).status_code == 404
            assert stranger.http.get("/accounts/factors/passkeys/login/").status_code == 404
    assert json.dumps(CLIENT_SECRET) not in (tmp_path / "serve.log").read_text()
