"""Signing in at a SAML identity provider: what it says about people, and what is not believed."""

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from playwright.sync_api import Browser, Route, expect

import config.saml
from chat.people import claims
from chat.people.models import Assertion
from config.saml import identity_provider
from predictions.signals import ends_missed
from tests.identity_provider.saml import ENTITY_ID, SIGN_IN, Answer, Asked, SamlProvider, packed
from tests.site import PROJECT, Site, Tables, outside
from tests.visitor import Visitor
from tests.waiting import WAIT_LIMIT

OURS = "https://chat.example.org/parley"
BEGIN, RECEIVE = "/accounts/saml/login/", "/accounts/saml/acs/"
FROM_THE_PROVIDER = {"Origin": "https://login.example.org", "Sec-Fetch-Site": "cross-site"}
SAID = {"email": ["newcomer@example.org"], "groups": ["team", "/keepers", "Everybody", "unknown"]}


@pytest.fixture(scope="module")
def provider() -> SamlProvider:
    return SamlProvider()


@pytest.fixture(scope="module")
def site(provider: SamlProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "provider.xml").write_text(provider.metadata)
    environment = {
        "PARLEY_SAML_METADATA": str(folder / "provider.xml"),
        "PARLEY_SAML_ENTITY_ID": OURS,
        "PARLEY_SAML_NAME": "Example Login",
        "PARLEY_SAML_TRUST_EMAIL": "true",
        "PARLEY_SAML_GROUPS_ATTRIBUTE": "groups",
        "PARLEY_SAML_ADMIN_GROUP": "keepers",
    }
    with Site(folder, environment) as site:
        with Visitor(site.url) as ada:
            ada.set_up(site.address)
        Tables(site).run("INSERT INTO auth_group (name) VALUES ('team'), ('others'), ('keepers')")
        yield site


@pytest.fixture
def tables(site: Site) -> Tables:
    return Tables(site)


@pytest.fixture
def browser_of_somebody(site: Site) -> Iterator[httpx.Client]:
    with new_browser(site) as http:
        yield http


def new_browser(site: Site) -> httpx.Client:
    # There is no TLS here, and reading certificates for it takes longer than all else.
    return httpx.Client(base_url=site.url, trust_env=False, timeout=WAIT_LIMIT, verify=False)


def ask(http: httpx.Client, back: str = "/search/") -> Asked:
    """Begin to sign in; return what the provider is asked."""
    sent = http.get(BEGIN, params={"next": back})
    assert sent.headers["Location"].startswith(f"{SIGN_IN}&SAMLRequest=")
    return Asked.read(sent.headers["Location"])


def bring(site: Site, xml: str | bytes, **fields: str) -> httpx.Response:
    """Send an answer as browsers do for the provider's page: without the cookies of this site."""
    with new_browser(site) as http:
        return http.post(RECEIVE, data={"SAMLResponse": packed(xml), **fields}, headers=FROM_THE_PROVIDER)


def come(site: Site, provider: SamlProvider, name: str, said: Any = None, **changes: Any) -> httpx.Response:
    """Sign in at the provider as somebody, then here; return where that ended."""
    with new_browser(site) as http:
        assert "Continue with Example Login" in http.get("/accounts/login/").text
        brought = bring(site, provider.answer(Answer(ask(http), name, said or {}, **changes)))
        assert brought.status_code == 302, brought.text
        return http.get(brought.headers["Location"], follow_redirects=True)


# ---------------------------------------------------------------- what is said


def test_somebody_new_comes_in_and_their_groups_follow_the_provider(
    site: Site, provider: SamlProvider, tables: Tables
) -> None:
    page = come(site, provider, "newcomer", SAID)

    assert (page.status_code, page.url.path) == (200, "/search/")
    assert tables.groups_of("newcomer") == {"Everybody", "team", "keepers"}
    row = "SELECT email, is_staff, is_superuser, substr(password, 1, 1) FROM chat_user WHERE username = 'newcomer'"
    assert tables.run(row) == [("newcomer@example.org", 1, 1, "!")]
    assert tables.run("SELECT said FROM people_assertion WHERE said IS NOT NULL") == []

    come(site, provider, "newcomer", {**SAID, "groups": ["others"]})
    assert tables.groups_of("newcomer") == {"Everybody", "others"}
    assert tables.run(row) == [("newcomer@example.org", 0, 0, "!")]
    assert tables.run("SELECT count(*) FROM chat_user WHERE username LIKE 'newcomer%'") == [(1,)]


def test_an_account_that_is_here_is_theirs_by_its_address_and_by_nothing_else(
    site: Site, provider: SamlProvider, tables: Tables
) -> None:
    tables.run("UPDATE chat_user SET email = 'ada@example.org' WHERE username = 'ada'")
    links = "SELECT s.uid, u.username FROM socialaccount_socialaccount s JOIN chat_user u ON u.id = s.user_id"
    come(site, provider, "ada", {"email": ["somebody@example.org"]})
    [namesake] = [name for uid, name in tables.run(links) if uid == "ada"]
    assert namesake != "ada"

    come(site, provider, "a-1", {"mail": ["Ada@example.org"]}, format=Words.NAMEID_PERSISTENT)
    assert ("a-1", "ada") in tables.run(links)
    # The last admin stays one, whatever the provider says.
    assert tables.run("SELECT is_superuser FROM chat_user WHERE username = 'ada'") == [(1,)]


def test_a_name_is_read_whole_whatever_stands_within_it(site: Site, provider: SamlProvider, tables: Tables) -> None:
    with new_browser(site) as http:
        xml = provider.answer(Answer(ask(http), "bob.stranger"))
        brought = bring(site, xml.replace(">bob.stranger<", ">bob<!-- -->.stranger<"))
        http.get(brought.headers["Location"])

    assert tables.run("SELECT username FROM chat_user WHERE username LIKE 'bob%'") == [("bob.stranger",)]


def test_addresses_count_only_where_the_admin_trusts_the_provider_with_them(settings: Any) -> None:
    said = {"email": ["ada@example.org"], "groups": ["team"]}
    assert claims.of_saml(said) == claims.Said(email="", groups=None, is_admin=None)

    settings.SAML_TRUST_EMAIL, settings.SAML_GROUPS_ATTRIBUTE = True, "groups"
    assert claims.of_saml(said) == claims.Said(email="ada@example.org", groups=["team"], is_admin=None)
    assert claims.of_saml({"email": ["ada@example.org\nBcc: all@example.org"]}).email == ""


def test_who_is_disabled_here_does_not_come_in(site: Site, provider: SamlProvider, tables: Tables) -> None:
    come(site, provider, "leaver")
    tables.run("UPDATE chat_user SET is_active = 0 WHERE username = 'leaver'")

    page = come(site, provider, "leaver")
    assert (page.status_code, "switched off" in page.text) == (403, True)


# ---------------------------------------------------------------- what is not believed

Forge = Callable[[SamlProvider, Answer], str]
ANOTHER = SamlProvider()  # with the same name, and a key of its own
NOW = datetime.now(UTC)
BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">{}]>'.format(
    "".join(f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi", strict=True))
)
SIGNATURE = f'<ds:Signature xmlns:ds="{Words.NS_DS}"'


def changed(**changes: Any) -> Forge:
    return lambda provider, answer: provider.answer(replace(answer, **changes))


def edited(old: str, new: str) -> Forge:
    """Change what has been signed, or what stands beside it."""

    def forge(provider: SamlProvider, answer: Answer) -> str:
        xml = provider.answer(answer)
        assert old in xml
        return xml.replace(old, new)

    return forge


def before(prolog: str, name: str = "mallory") -> Forge:
    return lambda provider, answer: prolog + provider.answer(answer).replace("mallory", name)


def signed_outside(provider: SamlProvider, answer: Answer) -> str:
    return provider.sign(answer.response(answer.assertion()))


def beside_another(provider: SamlProvider, answer: Answer) -> str:
    """Put an assertion that nobody signed before the one that is signed."""
    return answer.response(replace(answer, name="ada", id="_other").assertion() + provider.sign(answer.assertion()))


def hidden_away(provider: SamlProvider, answer: Answer) -> str:
    """Have the signature in another assertion of the same id, and what it is of where nobody looks."""
    signed = provider.sign(answer.assertion())
    at = signed.index("<ds:Signature"), signed.index("</ds:Signature>") + len("</ds:Signature>")
    signature, bare = signed[at[0] : at[1]], signed[: at[0]] + signed[at[1] :]
    forged = answer.response(
        replace(answer, name="ada").assertion().replace("</saml:Issuer>", f"</saml:Issuer>{signature}")
    )
    return forged.replace("<samlp:Status>", f"<samlp:Extensions>{bare}</samlp:Extensions><samlp:Status>")


def within_the_signature(provider: SamlProvider, answer: Answer) -> str:
    """Have what is signed in the signature itself, within another assertion."""
    signed = provider.sign(answer.assertion())
    at = signed.index("<ds:Signature"), signed.index("</ds:Signature>")
    bare = signed[: at[0]] + signed[at[1] + len("</ds:Signature>") :]
    signature = f"{signed[at[0] : at[1]]}<ds:Object>{bare}</ds:Object></ds:Signature>"
    forged = replace(answer, name="ada", id="_other").assertion()
    return answer.response(forged.replace("</saml:Issuer>", f"</saml:Issuer>{signature}"))


def naming_a_file(provider: SamlProvider, answer: Answer) -> str:
    """Have the signature be of a file, too, which checking it would read."""
    signed = provider.sign(answer.assertion())
    reference = signed[signed.index("<ds:Reference") : signed.index("</ds:Reference>") + len("</ds:Reference>")]
    return answer.response(
        signed.replace(reference, reference + reference.replace(f"#{answer.id}", "file:///etc/hosts"))
    )


def with_a_program(provider: SamlProvider, answer: Answer) -> str:
    step = '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/></ds:Transforms>'
    return provider.answer(answer).replace("</ds:Transforms>", step)


SHA1 = {"algorithm": Words.RSA_SHA1, "digest": Words.SHA1}
SIGNED, FORM, WAY = (
    "Signature validation failed",
    "has not the form that SAML allows",
    "in a way that SAML does not allow",
)
REFUSED: dict[str, tuple[Forge, str]] = {
    "changed after it was signed": (edited(">mallory<", ">ada<"), SIGNED),
    "for another site": (changed(audience="https://other.example.org"), "not a valid audience"),
    "for any site": (changed(audience=""), "not for this site"),
    "for another address": (changed(recipient="https://other.example.org/acs/"), "SubjectConfirmation was not found"),
    "for an address that holds this one": (
        lambda provider, answer: provider.answer(
            replace(answer, recipient=f"https://x.example?{answer.asked.address}")
        ),
        "not for one address, this one",
    ),
    "sent to another address": (changed(destination="https://other.example.org/acs/"), "received at"),
    "sent to a longer address": (
        lambda provider, answer: provider.answer(replace(answer, destination=f"{answer.asked.address}more/")),
        "sent to another address",
    ),
    "expired": (changed(until=NOW - timedelta(minutes=6), issued=NOW - timedelta(minutes=9)), "expired"),
    "made long ago": (changed(issued=NOW - timedelta(minutes=20)), "made long ago"),
    "not signed": (lambda provider, answer: answer.response(answer.assertion()), "not signed"),
    "signed only outside": (signed_outside, "not signed"),
    "signed by another key": (lambda provider, answer: ANOTHER.answer(answer), SIGNED),
    "signed with SHA-1": (lambda provider, answer: answer.response(provider.sign(answer.assertion(), **SHA1)), WAY),
    "wrapped: beside another": (beside_another, "must contain 1 assertion"),
    "wrapped: hidden away": (hidden_away, "must contain 1 assertion"),
    "wrapped: within the signature": (within_the_signature, FORM),
    "with a signature of a file": (naming_a_file, FORM),
    "with a signature that runs a program": (with_a_program, WAY),
    "not asked for": (changed(request=""), "answers no request"),
    "bound to another request than it says": (
        lambda provider, answer: answer.response(provider.sign(answer.assertion()), request="_another"),
        "SubjectConfirmation was not found",
    ),
    "with a type of its own": (before("<!DOCTYPE samlp:Response>"), "DTDForbidden"),
    "with a file in it": (before('<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/hosts">]>', "&f;"), "cannot be read"),
    "with a bomb in it": (before(BOMB, "&i;"), "cannot be read"),
    "by another provider": (changed(issuer="https://other.example.org"), "Invalid issuer"),
    "with passing names": (changed(format=Words.NAMEID_TRANSIENT), "something else each time"),
    "with no name": (changed(name=""), "does not say who it is"),
    "with an endless name": (changed(name="m" * 192), "does not say who it is"),
    "a refusal": (edited("status:Success", "status:Responder"), "was Responder"),
    "encrypted": (edited("saml:Assertion", "saml:EncryptedAssertion"), "No private key"),
    "a signature alone": (lambda provider, answer: f"{SIGNATURE}/>", "no answer"),
    "not XML": (lambda provider, answer: "\udce4 <b>".encode("latin-1", "replace").decode(), "cannot be read"),
    "empty": (lambda provider, answer: "", "cannot be read"),
    "too long": (lambda provider, answer: provider.answer(answer) + " " * 250_000, "too long"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_believed_is_refused_in_words_and_changes_nothing(
    kind: str, site: Site, provider: SamlProvider, tables: Tables, browser_of_somebody: httpx.Client
) -> None:
    forge, reason = REFUSED[kind]
    everything = "SELECT (SELECT count(*) FROM chat_user), (SELECT count(*) FROM people_assertion)"
    asked, there_before = ask(browser_of_somebody), tables.run(everything)
    log = site.folder / "serve.log"
    told_before = len(log.read_text())
    answer = bring(site, forge(provider, Answer(asked, "mallory")))

    assert (answer.status_code, "That did not work" in answer.text) == (403, True)
    assert not answer.cookies
    assert tables.run(everything) == there_before
    said = log.read_text()[told_before:]
    assert reason in said, said
    assert "Traceback" not in said


def test_an_answer_is_good_once(
    site: Site, provider: SamlProvider, tables: Tables, browser_of_somebody: httpx.Client
) -> None:
    answer = Answer(ask(browser_of_somebody), "once")
    xml = provider.answer(answer)
    place = bring(site, xml).headers["Location"]
    assert bring(site, xml).status_code == 403
    assert bring(site, provider.answer(replace(answer, name="twice"))).status_code == 403

    assert browser_of_somebody.get(place).headers["Location"] == "/search/"
    with new_browser(site) as http:
        assert http.get(place).status_code == 403
    assert tables.run("SELECT username FROM chat_user WHERE username IN ('once', 'twice')") == [("once",)]


def test_what_nobody_comes_for_is_forgotten(db: None) -> None:
    token = Assertion.keep("_1", "_request", {"uid": ["ada"]})
    assert token is not None
    assert Assertion.keep("_1", "_request", {"uid": ["ada"]}) is None
    Assertion.objects.update(received_at=timezone.now() - timedelta(hours=2))
    assert Assertion.take(token) is None

    ends_missed.send(sender=None)  # as the worker does, now and then
    assert not Assertion.objects.exists()


def test_an_answer_signs_in_only_the_browser_that_asked_for_it_and_brought_it(
    site: Site, provider: SamlProvider, tables: Tables, browser_of_somebody: httpx.Client
) -> None:
    """Neither is somebody signed in as another, nor does another get what they brought."""
    with new_browser(site) as another:
        place = bring(site, provider.answer(Answer(ask(another), "careless"))).headers["Location"]
        ask(browser_of_somebody)
        refused = browser_of_somebody.get(place)
        assert (refused.status_code, "That did not work" in refused.text) == (403, True)
        assert another.get(place).status_code == 403

    assert tables.run("SELECT 1 FROM chat_user WHERE username = 'careless'") == []


def test_nobody_is_sent_elsewhere(site: Site, provider: SamlProvider, browser_of_somebody: httpx.Client) -> None:
    elsewhere = "https://elsewhere.example.org/"
    xml = provider.answer(Answer(ask(browser_of_somebody, elsewhere), "traveller"))
    brought = bring(site, provider.sign(xml), RelayState=elsewhere)  # signed twice, as some providers do
    assert brought.headers["Location"].startswith("/accounts/saml/finish/")
    assert browser_of_somebody.get(brought.headers["Location"]).headers["Location"] == "/"

    with new_browser(site) as http:
        linked = http.get(BEGIN, headers={"Sec-Fetch-Site": "cross-site"})
        assert linked.headers["Location"] == "/accounts/login/"


# ---------------------------------------------------------------- between the two sites


def test_a_real_browser_comes_in_from_the_providers_site(site: Site, provider: SamlProvider, browser: Browser) -> None:
    """Whose page sends a form, with which no cookie of this site comes."""
    page = browser.new_page(base_url=site.url)

    def answer(route: Route) -> None:
        asked = Asked.read(route.request.url)
        field = f'<input name="SAMLResponse" value="{packed(provider.answer(Answer(asked, "visitor")))}">'
        form = f'<form method="post" action="{asked.address}">{field}<button>Go on</button></form>'
        route.fulfill(content_type="text/html", body=form)

    page.route("https://login.example.org/**", answer)
    page.goto("/accounts/login/?next=/accounts/")
    page.get_by_role("link", name="Continue with Example Login").click()
    page.get_by_role("button", name="Go on").click()

    expect(page).to_have_url(f"{site.url}/accounts/")
    expect(page.get_by_text("visitor").first).to_be_visible()
    page.context.close()


def test_the_provider_is_told_of_this_site(site: Site, browser_of_somebody: httpx.Client) -> None:
    told = ElementTree.fromstring(browser_of_somebody.get("/accounts/saml/metadata/").content)
    assert told.attrib == {"entityID": OURS}
    [service] = told.iter("{urn:oasis:names:tc:SAML:2.0:metadata}AssertionConsumerService")
    assert service.attrib["Location"] == f"{site.url}{RECEIVE}"


# ---------------------------------------------------------------- the settings

NOT_METADATA = {
    "is not XML": ("<?xml", "<html"),
    "tells of 0 identity providers": ("IDPSSODescriptor", "SPSSODescriptor"),
    "has no entityID": (ENTITY_ID, ""),
    "has no https address": ("HTTP-Redirect", "SOAP"),
    "has no certificate of a key that signs": ("signing", "encryption"),
    "has a certificate that is cut off": ("MII", "MI"),
}


@pytest.mark.parametrize("why", NOT_METADATA)
def test_metadata_that_do_not_do_are_told_at_the_start(why: str, provider: SamlProvider, tmp_path: Path) -> None:
    path, (part, instead) = tmp_path / "provider.xml", NOT_METADATA[why]
    with pytest.raises(ImproperlyConfigured, match="cannot be read: No such file"):
        identity_provider(path)
    path.write_text(provider.metadata.replace(part, instead, 2))

    with pytest.raises(ImproperlyConfigured, match=f"PARLEY_SAML_METADATA names {path}, which {why}"):
        identity_provider(path)


def test_metadata_of_a_provider_are_understood(provider: SamlProvider, tmp_path: Path) -> None:
    (tmp_path / "provider.xml").write_text(provider.metadata)
    read = identity_provider(tmp_path / "provider.xml")

    assert (read.entity_id, read.sign_in) == (ENTITY_ID, SIGN_IN)
    assert [base64.b64decode(one)[:1] for one in read.certificates] == [b"0"]


def test_its_package_is_imported_where_it_is_asked_for_and_what_is_missing_is_told(
    provider: SamlProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provider.xml"
    path.write_text(provider.metadata)
    script = """if True:
        import django, importlib, os, sys
        django.setup()
        import config.settings, config.urls
        print({"lxml", "onelogin", "xmlsec"} & set(sys.modules))
        os.environ["PARLEY_SAML_METADATA"] = sys.argv[1]
        importlib.reload(config.settings)
    """
    environment = {"PARLEY_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(
        command, cwd=PROJECT, env=outside() | environment, text=True, capture_output=True, check=False
    )
    assert done.stdout == "set()\n"
    assert "PARLEY_SAML_METADATA needs PARLEY_SAML_ENTITY_ID" in done.stderr

    monkeypatch.setattr(config.saml, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match="python3-saml is not installed"):
        identity_provider(path)
