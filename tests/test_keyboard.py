"""The page by the keyboard alone, and as an installed app."""

import pytest
from django.test import Client
from playwright.sync_api import expect

from tests.browser import Open, send, violations
from tests.fake_replicate import FakeReplicate, Script


@pytest.mark.django_db
def test_a_device_learns_what_it_needs_to_install_the_page(client: Client) -> None:
    manifest = client.get("/manifest.webmanifest")
    assert manifest["Content-Type"] == "application/manifest+json"
    assert manifest.json()["display"] == "standalone"


def test_the_page_can_be_installed(open_page: Open) -> None:
    page = open_page()
    chromium = page.context.new_cdp_session(page)
    manifest = chromium.send("Page.getAppManifest")
    errors = chromium.send("Page.getInstallabilityErrors")["installabilityErrors"]
    addresses = [icon["src"] for icon in page.request.get("/manifest.webmanifest").json()["icons"]]
    addresses += [page.locator("link[rel=apple-touch-icon]").get_attribute("href")]

    assert manifest["errors"] == []
    assert [error["errorId"] for error in errors] == ["in-incognito"]  # which a page of the tests is
    assert {page.request.get(str(address)).status for address in addresses} == {200}


def test_the_way_through_the_page_needs_no_mouse(open_page: Open, host: FakeReplicate) -> None:
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip().startswith(name):
                return
        raise AssertionError(f"no way leads to {name}")

    host.script(Script(chunks=["The Nile."]), Script(chunks=["The Amazon."]))
    page = open_page(reduced_motion="reduce")
    tab_to("Explain how tides work")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+A")
    page.keyboard.type("Which river is the longest?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The Nile.")).to_be_visible()
    expect(page.locator("streaming-answer")).to_have_count(0)
    page.keyboard.press("Shift+Escape")
    page.keyboard.type("And the widest?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The Amazon.")).to_be_visible()

    page.keyboard.press("Control+k")
    tab_to("Which river")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.type("Rivers")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Rivers · Parley")
    tab_to("Aalice")  # with her avatar
    page.keyboard.press("Enter")
    tab_to("Dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_css("background-color", "rgb(23, 25, 24)")
    tab_to("Keyboard shortcuts")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="alice")).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("amazon")
    page.keyboard.press("Enter")
    expect(page.locator(".found__hit")).to_be_visible()
    page.locator(".found__hit").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".message:target")).to_contain_text("The Amazon.")


def test_the_keys_do_what_their_list_says(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=["The Nile."]))
    page = open_page(reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"])
    box = page.get_by_role("textbox", name="Message")
    box.press("?")
    expect(box).to_have_value("?")  # whoever writes means the letter
    box.fill("")
    send(page, "Which river is the longest?")
    expect(page.get_by_role("button", name="More actions")).to_be_visible()

    page.get_by_role("button", name="More actions").focus()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.keyboard.press("Control+Shift+C")
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.startsWith('The Nile.'))")
    page.keyboard.press("Shift+Escape")
    expect(box).to_be_focused()
    box.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Question in other words")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
