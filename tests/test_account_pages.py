"""One’s own account in a real Chromium: sessions, apps, codes, and passkeys from an authenticator of its own."""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser import CALM, PASSWORD, fill_in, in_both_themes, visiting
from tests.people import code_of
from tests.site import Site

PHONE = {"width": 390, "height": 844}
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def press(page: Page, name: str, role: Any = "button") -> None:
    page.get_by_role(role, name=name, exact=True).click()


def sign_out(page: Page) -> None:
    page.goto("/accounts/")
    page.locator(".sidebar__person").click()
    press(page, "Sign out")
    expect(page.get_by_role("heading", name="Sign in to Parley")).to_be_visible()


def type_password(page: Page) -> None:
    fill_in(page, {"Username or e-mail": "alice", "Password": PASSWORD})
    press(page, "Sign in")


def looked_at(page: Page, name: str) -> None:
    """See that the page is in nobody's way, on a phone neither; keep pictures of it where the shell says where."""
    assert in_both_themes(page) == [], name
    desk = page.viewport_size
    page.set_viewport_size(PHONE)
    page.evaluate(CALM)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    if folder := os.environ.get("PARLEY_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}-phone.png", full_page=True)
        page.set_viewport_size(desk or PHONE)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=Path(folder) / f"{name}-dark.png", full_page=True)
        page.emulate_media(color_scheme="light")
    page.set_viewport_size(desk or PHONE)


def set_up_app(page: Page) -> list[str]:
    """Have an app asked for; return the recovery codes."""
    press(page, "Set up", "link")
    expect(page.get_by_role("heading", name="Show that it is you")).to_be_visible()
    looked_at(page, "reauthenticate")
    page.get_by_label("Password").fill(PASSWORD)
    press(page, "Go on")
    expect(page.get_by_role("img", name="A code to scan")).to_be_visible()
    looked_at(page, "app")
    page.get_by_label("Authenticator code").fill("000000")
    press(page, "Switch it on")
    expect(page.get_by_text("This was not right.")).to_be_visible()
    secret = page.locator("code").inner_text()
    page.get_by_label("Authenticator code").fill(code_of(secret))
    press(page, "Switch it on")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    recovery = page.locator(".codes code").all_inner_texts()
    assert len(recovery) == 10
    looked_at(page, "codes")
    return recovery


def add_passkey(page: Page) -> None:
    page.goto("/accounts/factors/passkeys/add/")
    looked_at(page, "passkey")
    expect(page.get_by_label("Name")).to_have_value("Chrome on Linux")
    page.get_by_label("Name").fill("Telephone")
    press(page, "Add it")
    expect(page.get_by_text("Second factors")).to_be_visible()
    looked_at(page, "factors")
    page.goto("/accounts/factors/passkeys/")
    expect(page.get_by_role("strong")).to_have_text("Telephone")
    looked_at(page, "passkeys")


def test_a_page_that_is_open_elsewhere_goes_to_the_sign_in_when_its_person_signs_out_everywhere_else(
    browser: Browser, site: Site, signed_in: Any
) -> None:
    with visiting(browser, site.url, signed_in) as open_page:
        page = open_page("/accounts/")
        other = open_page("/accounts/login/", storage_state=None)
        type_password(other)
        expect(other.get_by_role("textbox", name="Message")).to_be_visible()
        page.reload()

        press(page, "Sign out everywhere else")
        expect(other.get_by_role("heading", name="Sign in to Parley")).to_be_visible()
        expect(page.get_by_text("This browser", exact=True)).to_be_visible()


def test_from_a_password_to_an_app_and_a_passkey_and_back_in_with_each(
    browser: Browser, site: Site, signed_in: Any
) -> None:
    with visiting(browser, site.url.replace("127.0.0.1", "localhost"), None) as open_page:
        page = open_page("/accounts/login/?next=/accounts/")
        device = page.context.new_cdp_session(page)
        device.send("WebAuthn.enable")
        device.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
        expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_visible()
        looked_at(page, "sign-in")
        type_password(page)
        expect(page.get_by_role("heading", name="Your account")).to_be_visible()
        expect(page.get_by_text("This browser", exact=True)).to_be_visible()
        looked_at(page, "account")

        recovery = set_up_app(page)
        add_passkey(page)

        sign_out(page)
        press(page, "Sign in with a passkey")
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()

        sign_out(page)
        type_password(page)
        expect(page.get_by_role("heading", name="One more step")).to_be_visible()
        page.goto("/")
        expect(page.get_by_role("textbox", name="Message")).to_have_count(0)
        page.goto("/accounts/factors/code/")
        looked_at(page, "second-step")
        page.get_by_label("Code").fill(recovery[0])
        press(page, "Sign in")
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()

        sign_out(page)
        type_password(page)
        page.get_by_label("Code").fill(recovery[0])  # each is good once
        press(page, "Sign in")
        expect(page.get_by_text("This was not right.")).to_be_visible()
        press(page, "Use a passkey")
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_where_there_can_be_no_passkeys_the_page_says_why(browser: Browser, site: Site, signed_in: Any) -> None:
    with visiting(browser, site.url, signed_in) as open_page:
        page = open_page("/accounts/password/")
        looked_at(page, "password")
        page = open_page("/accounts/login/", storage_state=None)
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Sign in with a passkey")).to_have_count(0)
