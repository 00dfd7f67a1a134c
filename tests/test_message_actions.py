"""What people do with messages in a browser: go on, say why, delete and undo; on a phone, too, and without scripts."""

from typing import Any

from playwright.sync_api import Page, expect

from chat.models import GO_ON
from tests.browser import Open, choose_action, send
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.waiting import wait_until

PHONE = {"width": 390, "height": 844}
COUNTED = ["Count.", "One, two,", GO_ON, "three."]


def messages(page: Page) -> Any:
    return page.locator(".message__question, .message--assistant answer-text")


def ask(page: Page, host: FakeReplicate, question: str, answer: str) -> None:
    host.script(Script(chunks=[answer]))
    send(page, question)
    expect(messages(page).last).to_have_text(answer)
    expect(page.locator("streaming-answer")).to_have_count(0)


def test_people_go_on_say_why_delete_and_undo(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(reduced_motion="reduce")
    host.script(Script(steps=["One, two,", Gate()]), Script(chunks=["three."]))
    send(page, "Count.")
    expect(messages(page).last).to_have_text("One, two,")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Continue this answer").click()
    expect(messages(page)).to_have_text(COUNTED)
    expect(page.get_by_role("button", name="Continue this answer")).to_have_count(0)
    expect(page.locator("streaming-answer")).to_have_count(0)

    say_why_by_keyboard(page)
    other = page.context.new_page()
    other.goto(page.url)
    page.set_viewport_size(PHONE)
    delete_by_keyboard_and_undo(page, other)
    delete_one_of_two_answers(page, host)
    delete_what_is_being_written(page, other, host)
    edit_a_question_far_up(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def say_why_by_keyboard(page: Page) -> None:
    thumb, reasons = page.get_by_role("button", name="Bad answer").last, page.get_by_role("group", name="What is wrong")
    thumb.press("Enter")
    expect(reasons).to_be_visible()
    page.keyboard.press("Escape")
    expect(reasons).to_have_count(0)
    expect(thumb).to_be_focused()
    page.get_by_role("link", name="Say why").press("Enter")
    expect(page.get_by_role("radio", name="Wrong")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("It is four.")
    page.get_by_role("button", name="Submit").press("Enter")
    expect(reasons).to_have_count(0)
    expect(thumb).to_be_focused()
    page.reload()
    page.get_by_role("link", name="Say why").click()
    expect(page.get_by_role("radio", name="Wrong")).to_be_checked()
    expect(page.get_by_role("textbox", name="Note")).to_have_value("It is four.")
    page.get_by_role("link", name="Not now").click()


def delete_by_keyboard_and_undo(page: Page, other: Page) -> None:
    more = page.get_by_role("button", name="More actions").first
    more.press("Enter")
    expect(page.get_by_role("link", name="Another model")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    for key in ("Enter", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    for tab in (page, other):
        expect(messages(tab)).to_have_text(COUNTED[2:])
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    for tab in (page, other):
        expect(messages(tab)).to_have_text(COUNTED)


def delete_one_of_two_answers(page: Page, host: FakeReplicate) -> None:
    host.script(Script(chunks=["Three, four."]))
    page.get_by_role("button", name="Try again").last.click()
    answers = page.get_by_role("group", name="Answers to this question")
    expect(answers).to_contain_text("2/2")
    choose_action(page, "Delete this answer")
    expect(messages(page)).to_have_text(COUNTED)
    expect(answers).to_have_count(0)


def delete_what_is_being_written(page: Page, other: Page, host: FakeReplicate) -> None:
    host.script(Script(steps=["A long story", Gate(), "."]))
    send(page, "Tell me a story.")
    expect(messages(page).last).to_have_text("A long story")
    page.get_by_role("button", name="Delete this question and its answers").last.click()
    for tab in (page, other):
        expect(messages(tab)).to_have_text(COUNTED)
    wait_until(lambda: host.ledger.created[-1].status == "canceled")
    ask(page, host, "Something else?", "Gladly.")  # nothing is in its way
    expect(messages(other)).to_have_text([*COUNTED, "Something else?", "Gladly."])


def edit_a_question_far_up(page: Page) -> None:
    page.get_by_role("link", name="Edit this question").first.click()
    box = page.get_by_role("textbox", name="Question in other words")
    expect(box).to_be_focused()
    expect(box).to_be_in_viewport()  # the view does not follow the end meanwhile
    box.press("Escape")


def test_all_of_it_works_without_scripts(open_page: Open, host: FakeReplicate) -> None:
    scripted = open_page()
    ask(scripted, host, "Name a river.", "The Nile.")
    ask(scripted, host, "Name another one.", "The Amazon.")

    page = open_page(scripted.url, java_script_enabled=False)
    page.get_by_role("button", name="Good answer").last.click()
    page.get_by_role("link", name="Say why").click()
    page.get_by_role("radio", name="Well explained").check()
    page.get_by_role("textbox", name="Note").fill("Short.")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="Say why").click()
    expect(page.get_by_role("radio", name="Well explained")).to_be_checked()
    page.get_by_role("link", name="Not now").click()

    page.get_by_role("button", name="More actions").last.click()
    page.get_by_role("button", name="Delete with its question").click()
    expect(messages(page)).to_have_text(["Name a river.", "The Nile."])
    page.get_by_role("button", name="Undo").click()
    expect(messages(page)).to_have_text(["Name a river.", "The Nile.", "Name another one.", "The Amazon."])
