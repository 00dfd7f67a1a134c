"""Where the page stands while an answer grows."""

from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import Open, send
from tests.fake_replicate import FakeReplicate, Gate, Script

LINES = "".join(f"Line {number}.\n\n" for number in range(40))


def top_of(page: Page, selector: str) -> float:
    """Pixels from the top of the window."""
    box = page.locator(selector).last.bounding_box()
    assert box
    return box["y"]


def distance(page: Page) -> Any:
    """Pixels below what is seen."""
    return page.evaluate("document.scrollingElement.scrollHeight - scrollY - innerHeight")


def test_the_view_follows_until_the_reader_wants_up(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(reduced_motion="reduce", viewport={"width": 1000, "height": 600})
    host.script(Script(chunks=[LINES]))
    send(page, "First?")
    expect(page.get_by_role("button", name="More actions")).to_be_visible()

    gates = [Gate() for _ in range(4)]
    steps: list[Any] = ["Short.\n\n"]
    for gate in gates:
        steps += [gate, LINES]
    host.script(Script(steps=steps))
    send(page, "Second?")
    expect(page.get_by_text("Short.")).to_be_visible()
    assert top_of(page, ".message--user") < 120  # near the top, with room for the answer
    before = top_of(page, ".message--user")
    assert distance(page) < 5

    gates[0].open()
    expect(page.locator(".message--assistant").last.get_by_text("Line 39.")).to_be_in_viewport()
    assert top_of(page, ".message--user") < before  # the end is followed now

    page.mouse.move(500, 200)
    page.mouse.wheel(0, -10)
    expect(page.locator("follow-end[left]")).to_be_attached()
    stood = page.evaluate("scrollY")
    gates[1].open()
    expect(page.locator(".message--assistant").last.get_by_text("Line 39.")).to_have_count(2)
    assert page.evaluate("scrollY") == stood
    page.get_by_role("button", name="To the end").click()
    assert distance(page) < 5

    page.evaluate("getSelection().selectAllChildren(document.querySelector('.message__question'))")
    stood = page.evaluate("scrollY")
    gates[2].open()
    expect(page.locator(".message--assistant").last.get_by_text("Line 39.")).to_have_count(3)
    assert page.evaluate("scrollY") == stood
    page.evaluate("getSelection().empty()")
    begin = page.locator(".message--assistant").last.locator("p").first.element_handle()
    gates[3].open()
    expect(page.locator(".message--assistant").last.get_by_text("Line 39.").last).to_be_in_viewport()
    expect(page.locator("streaming-answer")).to_have_count(0)
    expect(page.get_by_role("button", name="More actions")).to_have_count(2)
    assert distance(page) < 5
    assert begin.evaluate("paragraph => paragraph.isConnected")  # what was read stays as it was
