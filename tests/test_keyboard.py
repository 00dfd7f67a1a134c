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
    [icon] = manifest.json()["icons"]
    assert icon["src"].endswith(".svg")


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
