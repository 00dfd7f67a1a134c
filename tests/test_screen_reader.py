"""What a screen reader is given to say while an answer is being written."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Open, send
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.waiting import wait_until

NOTIFIED = """
    window.said = [];
    Document.prototype.ariaNotify = (words) => window.said.push(words);
    window.words = () => window.said;
"""
IN_A_REGION = """
    delete Document.prototype.ariaNotify;
    delete Element.prototype.ariaNotify;
    window.words = () => [...document.querySelectorAll("#voice[role=log] > p")].map((piece) => piece.textContent);
"""


def said(page: Page) -> Any:
    return page.evaluate("window.words()")


@pytest.mark.parametrize("browser_has", [NOTIFIED, IN_A_REGION], ids=["notifications", "a region"])
def test_start_sentences_and_end_are_said_and_no_tokens(browser_has: str, open_page: Open, host: FakeReplicate) -> None:
    begin, first, second = Gate(), Gate(), Gate()
    code = "```python\nprint(1)\n```\n\n"
    host.script(
        Script(steps=[begin, "The Moon pu", first, "lls. The Sun, t", second, f"oo.\n\n{code}Both", " raise the tide"])
    )
    page = open_page()
    page.add_init_script(browser_has)
    send(page, "What raises the tide?")
    expect(page.locator("waiting-line")).to_be_visible()
    begin.open()
    expect(page.locator(".message--assistant")).to_contain_text("The Moon pu")
    expect(page.locator("#announcer")).to_have_text("Answer started.")
    first.open()
    wait_until(lambda: said(page) == ["The Moon pulls."])
    second.open()
    expect(page.locator("#announcer")).to_have_text("Answer finished.")
    assert "\n".join(said(page)) == "The Moon pulls.\nThe Sun, too.\nCode in python.\nBoth raise the tide"
    page.reload()
    expect(page.locator(".message--assistant")).to_contain_text("Both raise")
    assert said(page) == []
