"""Light, dark, or as the system prefers: what each browser has chosen."""

import re

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from chat.models import User
from tests.browser import Open, send, violations

WHITE, DARK = "rgb(255, 255, 255)", "rgb(23, 25, 24)"


def scheme_in(html: str) -> str:
    """What the page tells the browser before it paints anything."""
    found = re.search(r'<meta name="color-scheme" content="([^"]*)">', html)
    assert found
    return found[1]


@pytest.mark.django_db
def test_the_first_paint_has_the_chosen_theme(client: Client, alice: User) -> None:
    client.force_login(alice)
    address = reverse("chat:theme_choose")
    pages: dict[str, str] = {}
    for theme in ("", "dark", "light", "system", "no such theme"):
        if theme:
            back = client.post(address, {"theme": theme, "next": "/search/?q=a"})
            assert back["Location"] == "/search/?q=a"
        pages[theme] = client.get("/").content.decode()
    client.cookies["theme"] = '"><script>'
    odd = client.get("/").content.decode()
    client.logout()
    client.cookies["theme"] = "dark"

    schemes = {theme: scheme_in(html) for theme, html in pages.items()}
    both = "light dark"
    assert schemes == {"": both, "dark": "dark", "light": "light", "system": both, "no such theme": both}
    assert 'media="all" content="#171918"' in pages["dark"]
    assert 'media="not all" content="#ffffff"' in pages["dark"]
    assert scheme_in(odd) == both
    assert scheme_in(client.get(reverse("login")).content.decode()) == "dark"


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["", "https://example.org/", "//example.org", "javascript:alert(1)"])
def test_choosing_a_theme_leads_to_no_other_site(page: str, client: Client, alice: User) -> None:
    client.force_login(alice)
    response = client.post(reverse("chat:theme_choose"), {"theme": "dark", "next": page})

    assert response["Location"] == "/"
    assert client.get(reverse("chat:theme_choose")).status_code == 405


def test_values_of_the_two_schemes_stand_in_one_place() -> None:
    sheets = (settings.BASE_DIR / "static/css").glob("*.css")
    assert [sheet.name for sheet in sheets if "prefers-color-scheme" in sheet.read_text()] == []


def choose(page: Page, theme: str) -> None:
    page.get_by_role("button", name="alice").click()
    page.get_by_role("button", name=theme, exact=True).click()


def test_all_pages_change_at_once_and_stay_as_they_were_chosen(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    send(page, "How do I cook quinces?")
    page.wait_for_url("**/conversations/**")
    other = page.context.new_page()
    other.goto("/admin/")
    for each in (page, other):
        expect(each.locator("html")).to_have_css("background-color", WHITE)

    choose(page, "Dark")
    for each in (page, other):
        expect(each.locator("html")).to_have_css("background-color", DARK)
    expect(page.get_by_role("button", name="Dark", exact=True)).to_have_attribute("aria-pressed", "true")
    assert violations(page) == []
    assert page.locator('meta[name="theme-color"][media="all"]').get_attribute("content") == "#171918"
    page.reload()
    expect(page.locator("html")).to_have_css("background-color", DARK)

    choose(other, "System")
    expect(page.locator("html")).to_have_css("background-color", WHITE)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_css("background-color", DARK)
    page.bring_to_front()
    choose(page, "Light")
    expect(page.locator("html")).to_have_css("background-color", WHITE)
    assert violations(page) == []


def test_a_theme_is_chosen_without_scripts(open_page: Open) -> None:
    page = open_page("/search/?q=quince", java_script_enabled=False)
    choose(page, "Dark")

    expect(page).to_have_url(re.compile(r"/search/\?q=quince$"))
    expect(page.locator("html")).to_have_css("background-color", DARK)
    page.get_by_role("button", name="alice").click()
    expect(page.get_by_role("button", name="Dark", exact=True)).to_have_attribute("aria-pressed", "true")
