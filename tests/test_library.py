"""What people do with their conversations as a whole, in a real Chromium: the list, its menu, and what is found."""

import re

from playwright.sync_api import Page, expect

from tests.browser import Open, send, violations
from tests.fake_replicate import FakeReplicate, Gate, Script


def row(page: Page, title: str) -> object:
    return page.locator(".sidebar .sidebar__row", has=page.get_by_role("link", name=re.compile(f"^{title}")))


def choose(page: Page, title: str, action: str) -> None:
    """Choose `action` in the menu of a conversation, by keyboard."""
    page.get_by_role("button", name=f"Actions for “{title}”").focus()
    page.keyboard.press("Enter")
    item = page.locator("side-bar conversation-menu").get_by_text(action, exact=True)
    expect(page.locator("side-bar conversation-menu .menu__item").first).to_be_focused()
    while not item.evaluate("item => item === document.activeElement"):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def begin(page: Page, text: str) -> None:
    page.goto("/")
    send(page, text)
    page.wait_for_url("**/conversations/**")
    expect(page.locator(".message--assistant").last).to_be_visible()


def test_every_page_shows_what_is_written_and_what_nobody_has_read(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(color_scheme="dark")
    gate = Gate()
    host.script(Script(steps=["Juicy", gate, " ones."]))
    begin(page, "Apples")
    # Who sees an answer end has read it, also on a page that is left before it hears that this was news.
    page.evaluate("document.addEventListener('sidebar-news', event => event.stopImmediatePropagation(), true)")
    gate.open()
    expect(page.locator("streaming-answer")).to_have_count(0)
    gate = Gate()
    host.script(Script(steps=["Slowly", gate, " done."]))
    begin(page, "Bananas")

    # Another page hears of what is written, and of its end, without being loaded anew.
    other = open_page("/")
    expect(row(other, "Bananas").locator(".mark--running")).to_be_visible()
    expect(row(other, "Apples").locator(".mark")).to_have_count(0)
    page.goto("/")
    gate.open()
    for each in (page, other):
        expect(row(each, "Bananas").locator(".mark--unread")).to_be_visible()
        expect(each).to_have_title("(1) Parley")
    assert violations(other) == []

    # Whoever looks takes the mark away everywhere.
    page.get_by_role("link", name="Bananas").click()
    expect(page.get_by_text("Slowly done.")).to_be_visible()
    for each in (page, other):
        expect(row(each, "Bananas").locator(".mark")).to_have_count(0)
    expect(other).to_have_title("Parley")


def test_an_answer_that_ends_while_a_title_is_changed_is_read(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    gate = Gate()
    host.script(Script(steps=["Ripe", gate, " ones."]))
    begin(page, "Quinces")
    other = open_page("/")
    choose(page, "Quinces", "Rename")
    gate.open()
    expect(page.locator("streaming-answer")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    expect(row(other, "Quinces").locator(".mark")).to_have_count(0)
    page.keyboard.press("Escape")


def test_a_library_of_conversations_is_kept_in_order(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    begin(page, "Medlars")
    expect(page.locator("streaming-answer")).to_have_count(0)
    host.script(Script(chunks=["Quickly over."]))
    begin(page, "Plums")
    other = open_page("/", color_scheme="dark")
    choose(page, "Medlars", "Pin")
    expect(other.locator(".sidebar__group").first).to_contain_text("Pinned")
    expect(other.locator(".sidebar__group").first).to_contain_text("Medlars")

    # A title is changed where it stands; Escape leaves it as it was.
    choose(page, "Plums", "Rename")
    page.get_by_role("textbox", name="Title").fill("No such title")
    page.keyboard.press("Escape")
    choose(page, "Plums", "Rename")
    page.get_by_role("textbox", name="Title").fill("Yellow fruit")
    page.keyboard.press("Enter")
    expect(row(other, "Yellow fruit")).to_be_visible()
    expect(page).to_have_title("Yellow fruit · Parley")
    expect(page.get_by_role("heading", name="Yellow fruit", level=1)).to_be_attached()

    # Deleting asks nothing, and can be undone.
    choose(page, "Medlars", "Delete")
    expect(row(other, "Medlars")).to_have_count(0)
    expect(page.locator("undo-notice")).to_contain_text("Deleted.")
    assert violations(page) == []
    page.get_by_role("button", name="Undo").click()
    for each in (page, other):
        expect(row(each, "Medlars")).to_be_visible()
    expect(page.locator("undo-notice")).to_be_hidden()

    choose(page, "Medlars", "Archive")
    expect(row(other, "Medlars")).to_have_count(0)
    page.get_by_role("link", name="Archived").click()
    assert violations(page) == []
    page.get_by_role("button", name="Unarchive “Medlars”").click()
    expect(row(other, "Medlars")).to_be_visible()

    page.wait_for_url("**/conversations/*-*/")

    # Words are found from anywhere, and lead to the message that has them.
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("yell")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Yellow fruit").filter(has=page.locator("mark"))).to_contain_text("Yellow")
    page.keyboard.press("Control+k")
    page.keyboard.type("over quick")
    page.keyboard.press("Enter")
    expect(page.locator(".found mark").first).to_have_text("Quick")
    assert violations(page) == []
    page.locator(".found__hit").click()
    expect(page.locator(".message:target")).to_contain_text("Quickly over.")

    # What is shown leaves the page when it is deleted, here and elsewhere.
    choose(page, "Yellow fruit", "Delete")
    page.wait_for_url("**/?deleted=*")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url("**/conversations/**")
    expect(page.locator(".message--user")).to_contain_text("Plums")


def test_a_phone_has_the_menu_under_its_thumb(open_page: Open) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    begin(page, "Cherries on a phone")
    # The menu of what is shown has all that can be done with it.
    page.get_by_role("button", name="Actions for this conversation").tap()
    menu = page.locator(".bar conversation-menu")
    expect(menu.get_by_role("link", name="Export as Markdown")).to_have_attribute("href", re.compile(r"export\.md$"))
    assert violations(page) == []
    menu.get_by_role("button", name="Pin").tap()
    page.get_by_role("button", name="Actions for this conversation").tap()
    expect(menu.get_by_role("button", name="Unpin")).to_be_visible()
    page.keyboard.press("Escape")

    # The list covers the page, and keeps the focus until it goes.
    opener = page.get_by_role("button", name="Conversations")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Close", exact=True)).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.matches('.sidebar *')")
    page.get_by_role("button", name="Close", exact=True).focus()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    opener.tap()
    expect(page.locator(".sidebar__group").first).to_contain_text("Pinned")
    button = page.get_by_role("button", name="Actions for “Cherries on a phone”")
    button.tap()
    menu = page.locator("side-bar conversation-menu")
    expect(menu).to_be_visible()
    for target in (button, *menu.locator(".menu__item:visible").all()):
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert violations(page) == []
    menu.get_by_text("Delete").tap()
    page.get_by_role("button", name="Undo").tap()
    expect(page.locator(".message--user")).to_contain_text("Cherries")


def test_the_library_works_without_scripts(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    begin(page, "Dates")
    page.get_by_role("button", name="Actions for “Dates”").click()
    page.get_by_label("Title").fill("Figs")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("link", name="Figs")).to_be_visible()
    page.get_by_role("button", name="Actions for “Figs”").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted.")).to_be_visible()
    expect(row(page, "Figs")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "Figs")).to_be_visible()
