"""The admin in a real Chromium: everybody can use it, in both themes, on a phone, and without scripts."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import PASSWORD, Open, fill_in, in_both_themes, violations
from tests.fake_replicate import OFFICIAL_MODEL
from tests.prepared import PROJECT
from tests.site import Site

THEMES: Any = {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 25, 24)"}  # with their backgrounds
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}

OVERVIEW = "/admin/"
MODELS = "/admin/predictions/model/"
GROUPS = "/admin/auth/group/"
PEOPLE = "/admin/chat/user/"
PAGES = (
    *(OVERVIEW, MODELS, f"{MODELS}?q=llama", f"{MODELS}?q=nothing-like-this", f"{MODELS}add/"),
    *(PEOPLE, f"{PEOPLE}1/change/", f"{PEOPLE}1/password/", f"{PEOPLE}2/delete/", f"{PEOPLE}1/history/"),
    *("/admin/predictions/", "/admin/predictions/prediction/", "/admin/password_change/"),
)


@pytest.fixture(scope="module")
def offered() -> str:
    return f"{OFFICIAL_MODEL},meta/meta-llama-3-70b-instruct"


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site, signed_in: Any) -> Any:
    """The first admin, who has given bob a way in, and no right to anything there."""
    page = browser.new_page(base_url=site.url, storage_state=signed_in)
    page.goto(f"{PEOPLE}add/")
    fill_in(page, {"Username:": "bob", "Password:": PASSWORD, "Password confirmation:": PASSWORD})
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_label("Staff status").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    page.close()
    return signed_in


def test_the_admin_is_in_nobodys_way_in_either_theme(open_page: Open) -> None:
    page = open_page(OVERVIEW)
    found = {}
    for path in PAGES:
        page.goto(path)
        found[path] = in_both_themes(page)
    page.goto(f"{GROUPS}add/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Please correct the error below.")).to_be_visible()
    found["a form with errors"] = in_both_themes(page)
    page.context.clear_cookies()
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Sign in to Parley")).to_be_visible()
    found["signing in"] = in_both_themes(page)

    assert {path: faults for path, faults in found.items() if faults} == {}
    for scheme, background in THEMES.items():
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_css("background-color", background)


def test_the_examples_of_the_components_are_in_nobodys_way(open_page: Open) -> None:
    examples = re.findall(
        r"^/\* [A-Z].*?\n\n(<.+?)^\*/", Path(PROJECT / "static/css/admin.css").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(examples) == 11
    show = "(content, html) => { content.innerHTML = '<h1>Components</h1>' + html; }"
    for options in ({"viewport": {"width": 1200, "height": 800}}, PHONE):
        page = open_page(OVERVIEW, **options)
        page.locator("#content").evaluate(show, "".join(examples))

        assert in_both_themes(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def test_a_phone_shows_the_admin_without_scrolling_sideways(open_page: Open) -> None:
    page = open_page(OVERVIEW, **PHONE)
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
    expect(page.get_by_role("link", name="Everybody")).to_be_visible()
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
    expect(page.get_by_role("link", name="Readers")).to_have_count(0)
    page.get_by_role("link", name="Open the chat").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_staff_without_rights_are_told_so_and_others_are_not_let_in(open_page: Open) -> None:
    page = open_page(OVERVIEW, storage_state=None)
    fill_in(page, {"Username or e-mail": "bob", "Password": PASSWORD})
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Nothing here is yours to look after yet")).to_be_visible()
    expect(page.get_by_role("link", name="Models")).to_have_count(0)
    assert violations(page) == []

    page.get_by_role("main").get_by_role("link", name="Open the chat").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
