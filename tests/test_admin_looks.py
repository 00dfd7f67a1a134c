"""The admin in a real Chromium: everybody can use it, in both themes, on a phone, and without scripts."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.fake_replicate import FakeReplicate
from tests.site import PROJECT, Site

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
PASSWORD = "a long enough phrase"
PATIENCE = 15_000  # milliseconds
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}

OVERVIEW = "/admin/"
MODELS = "/admin/predictions/model/"
GROUPS = "/admin/auth/group/"
PEOPLE = "/admin/chat/user/"
PAGES = (
    *(OVERVIEW, MODELS, f"{MODELS}?q=llama", f"{MODELS}?q=nothing-like-this", f"{MODELS}add/"),
    *(PEOPLE, f"{PEOPLE}1/change/", f"{PEOPLE}1/password/", f"{PEOPLE}1/delete/", f"{PEOPLE}1/history/"),
    *("/admin/predictions/", "/admin/predictions/prediction/", "/admin/password_change/"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with FakeReplicate() as host:
        environment = {"REPLICATE_API_TOKEN": host.token, "PARLEY_REPLICATE_URL": host.url}
        with Site(tmp_path_factory.mktemp("site"), environment) as site:
            yield site


@pytest.fixture(scope="module")
def alice(browser: Browser, site: Site) -> Any:
    """What the browser of the first admin keeps; she has given bob a way in, and no right to anything there."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto(site.address)
    fill_in(page, {"Username": "alice", "Password": PASSWORD, "Password confirmation": PASSWORD})
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.goto(f"{PEOPLE}add/")
    fill_in(page, {"Username:": "bob", "Password:": PASSWORD, "Password confirmation:": PASSWORD})
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_label("Staff status").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


def fill_in(page: Page, words: dict[str, str]) -> None:
    for label, word in words.items():
        page.get_by_label(label, exact=True).fill(word)


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, site: Site, alice: Any) -> Iterator[Open]:
    """Open pages for alice. What a page logs as an error, a broken rule of the CSP among it, fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(path: str = OVERVIEW, state: Any = alice, **options: Any) -> Page:
        context = browser.new_context(storage_state=state, base_url=site.url, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe finds. It does not fetch the style sheets anew, which the CSP would refuse it."""
    response = Axe().run(page, options={"preload": False}).response
    return [(found["id"], found["nodes"][0]["html"]) for found in response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin_is_in_nobodys_way_in_either_theme(scheme: Any, open_page: Open) -> None:
    page = open_page(color_scheme=scheme)
    found = {}
    for path in PAGES:
        page.goto(path)
        found[path] = violations(page)
    page.goto(f"{GROUPS}add/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Please correct the error below.")).to_be_visible()
    found["a form with errors"] = violations(page)
    page.context.clear_cookies()
    page.goto("/admin/login/")
    expect(page.get_by_role("heading", name="Sign in to the administration")).to_be_visible()
    found["signing in"] = violations(page)

    assert {path: faults for path, faults in found.items() if faults} == {}
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_examples_of_the_components_are_in_nobodys_way(scheme: Any, open_page: Open) -> None:
    examples = re.findall(
        r"^/\* [A-Z].*?\n\n(<.+?)^\*/", Path(PROJECT / "static/css/admin.css").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(examples) == 11
    show = "(content, html) => { content.innerHTML = '<h1>Components</h1>' + html; }"
    for options in ({"viewport": {"width": 1200, "height": 800}}, PHONE):
        page = open_page(color_scheme=scheme, **options)
        page.locator("#content").evaluate(show, "".join(examples))

        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def test_a_phone_shows_the_admin_without_scrolling_sideways(open_page: Open) -> None:
    page = open_page(**PHONE)
    widths = {}
    for path in PAGES:
        page.goto(path)
        widths[path] = page.evaluate("document.documentElement.scrollWidth")
    assert {path: width for path, width in widths.items() if width > 390} == {}

    page.goto(PEOPLE)
    expect(page.get_by_role("link", name="No", exact=True).first).to_be_hidden()
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="No", exact=True).first.click()
    expect(page.get_by_role("button", name="Filter on")).to_be_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("navigation", name="Administration").get_by_role("link", name="Groups").click()
    expect(page.get_by_role("heading", name="Groups", level=1)).to_be_visible()


def test_lists_and_forms_work_without_scripts(open_page: Open) -> None:
    page = open_page(GROUPS, java_script_enabled=False, **PHONE)
    expect(page.get_by_text("No groups yet")).to_be_visible()
    page.get_by_role("link", name="Add group").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("Name:").fill("Readers")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()

    page.get_by_role("textbox", name="Search").fill("read")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Readers").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_label("Name:")).to_have_value("Readers")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No groups yet")).to_be_visible()
    page.get_by_role("link", name="Open the chat").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_staff_without_rights_are_told_so_and_others_are_not_let_in(open_page: Open) -> None:
    page = open_page(state=None)
    fill_in(page, {"Username": "bob", "Password": PASSWORD})
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Nothing here is yours to look after yet")).to_be_visible()
    expect(page.get_by_role("link", name="Models")).to_have_count(0)
    assert violations(page) == []

    page.get_by_role("main").get_by_role("link", name="Open the chat").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
