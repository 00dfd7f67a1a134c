"""The way of somebody with a phone and a slow network."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import Open, choose_model, visiting
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.media import make_wav
from tests.site import Site
from tests.waiting import wait_until

PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}
SLOW = {"offline": False, "latency": 300, "downloadThroughput": 60_000, "uploadThroughput": 60_000}  # ms, bytes/s

# Press Enter, and tell what the page shows before it has drawn its next frame.
PRESS_ENTER = """() => {
    const box = document.querySelector(".composer__box");
    box.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true}));
    return [...document.querySelectorAll(".message")].slice(-2).map((message) => message.lastElementChild.innerText);
}"""


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Iterator[Open]:
    with visiting(browser, site.url, signed_in, harmless=("status of 422",)) as open_page:
        yield open_page


def slow(page: Page) -> None:
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)


def refuse(route: Route) -> None:
    route.fulfill(status=422, json={"errors": {"text": ["Too long for this model."]}})


def test_what_is_sent_is_shown_at_once_however_slow_the_network(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(**PHONE)
    slow(page)
    box = page.get_by_role("textbox", name="Message")
    page.route("**/conversations/", refuse, times=1)
    box.fill("How do tides work?")
    assert page.evaluate(PRESS_ENTER) == ["How do tides work?", "Sending …"]
    expect(page.get_by_text("Too long for this model.")).to_be_visible()
    expect(page.get_by_role("button", name="Explain how tides work")).to_be_visible()
    expect(box).to_have_value("How do tides work?")

    gate = Gate()
    host.script(Script(steps=["The Moon", gate, " pulls."]), Script(chunks=["Twice a day."]))
    assert page.evaluate(PRESS_ENTER) == ["How do tides work?", "Sending …"]
    expect(page.get_by_role("button", name="Explain how tides work")).to_be_hidden()
    page.wait_for_url("**/conversations/*-*/")
    answers = page.locator(".message--assistant")
    expect(answers).to_contain_text("The Moon")
    gate.open()
    expect(answers).to_contain_text("The Moon pulls.")
    expect(page.locator("streaming-answer")).to_have_count(0)

    box.fill("How often?")
    assert page.evaluate(PRESS_ENTER) == ["How often?", "Sending …"]
    expect(answers.last).to_contain_text("Twice a day.")
    expect(page.locator(".message--user")).to_have_count(2)


def test_a_file_tells_how_far_it_is_and_can_be_left_out(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(**PHONE)
    choose_model(page, "painter")
    slow(page)
    page.locator("composer-files input[type=file]").set_input_files(
        [{"name": "long.wav", "mimeType": "audio/wav", "buffer": make_wav(seconds=60)}]
    )
    bar = page.locator(".attachment progress")
    expect(bar).to_be_visible()
    wait_until(lambda: 0 < bar.evaluate("bar => bar.value") < 1)
    page.get_by_role("textbox", name="Message").fill("Paint this")
    assert page.evaluate(PRESS_ENTER) == []
    expect(page.locator(".composer__problem")).to_contain_text("still on its way")
    page.get_by_role("button", name="Remove long.wav").tap()
    expect(page.locator(".attachment")).to_have_count(0)
    host.script(Script(chunks=["Painted."]))
    page.get_by_role("textbox", name="Message").press("Enter")
    expect(page.locator(".message--assistant")).to_contain_text("Painted.")


def test_the_whole_way_on_a_phone_with_a_slow_network(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(**PHONE)
    slow(page)
    box, answers = page.get_by_role("textbox", name="Message"), page.locator(".message--assistant")

    # Stop keeps what was seen; what was cut off goes on.
    gate = Gate()
    host.script(Script(steps=["Sloes and hips", gate, " and more."]), Script(chunks=["and hazelnuts."]))
    box.fill("What grows in a hedge?")
    page.get_by_role("button", name="Send").tap()
    expect(answers).to_contain_text("Sloes and hips")
    page.get_by_role("button", name="Stop").tap()
    expect(answers).to_contain_text("Stopped.")
    gate.open()
    page.get_by_role("button", name="Continue this answer").tap()
    expect(answers.last).to_contain_text("and hazelnuts.")
    expect(page.locator("streaming-answer")).to_have_count(0)

    # Another answer, and back to the first one.
    host.script(Script(chunks=["and blackthorn."]))
    page.get_by_role("button", name="Try again").last.tap()
    expect(answers.last).to_contain_text("and blackthorn.")
    page.get_by_role("group", name="Answers to this question").get_by_role("button", name="Before").tap()
    expect(answers.last).to_contain_text("and hazelnuts.")

    # Another wording, a thumb, and the settings of another model.
    host.script(Script(chunks=["Reeds."]))
    page.get_by_role("link", name="Edit this question").first.tap()
    page.get_by_role("textbox", name="Question in other words").fill("What grows in a pond?")
    page.get_by_role("button", name="Ask").tap()
    expect(answers.last).to_contain_text("Reeds.")
    expect(page.locator("streaming-answer")).to_have_count(0)
    page.get_by_role("button", name="Good answer").tap()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    choose_model(page, "painter")
    page.get_by_role("button", name="Settings").tap()
    expect(page.get_by_role("group", name="Settings").get_by_label("Aspect Ratio")).to_be_visible()
    page.keyboard.press("Escape")

    # Found again from the list, renamed there, deleted and had back.
    page.get_by_role("button", name="Conversations").tap()
    page.get_by_role("searchbox", name="Search").fill("hazelnuts")
    page.keyboard.press("Enter")
    expect(page.locator("found-messages:defined")).to_be_visible()  # before, the page would offer to show the branch
    page.locator(".found__hit").first.tap()
    expect(page.locator(".message:target")).to_contain_text("and hazelnuts.")
    page.get_by_role("button", name="Actions for this conversation").tap()
    page.locator("conversation-menu:popover-open").get_by_text("Delete", exact=True).tap()
    page.get_by_role("button", name="Undo").tap()
    expect(answers.last).to_contain_text("and hazelnuts.")
