"""The whole way of an admin in a browser: add a model, pin, notice a new version, compare, promote, roll back."""

import copy
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Open, choose_action, in_both_themes
from tests.fake_replicate import CHAT_SCHEMA, FakeReplicate, Script

REF = "acme/poet"
QUESTION = "Which river is the longest?"


def changed_schema() -> dict[str, Any]:
    """What CHAT_SCHEMA describes, but without a temperature."""
    schema = copy.deepcopy(dict(CHAT_SCHEMA))
    del schema["components"]["schemas"]["Input"]["properties"]["temperature"]
    return schema


def look_at(page: Page, found: dict[str, list[tuple[str, str, str]]]) -> None:
    """Note what stands in somebody's way on this page, in either theme, and that nothing is too wide for a phone."""
    title = page.title()
    found[title] = in_both_themes(page)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, title
    page.set_viewport_size({"width": 1200, "height": 900})


@pytest.mark.timeout(200)
def test_an_admin_adds_a_model_and_promotes_a_newer_version_of_it(open_page: Open, host: FakeReplicate) -> None:
    found: dict[str, list[tuple[str, str, str]]] = {}
    poet = host.catalogue.add_model(REF, description="It answers in verse.")
    first = poet.versions[-1].id[:12]
    page = open_page("/admin/predictions/model/add/", reduced_motion="reduce", viewport={"width": 1200, "height": 900})

    page.get_by_label("Paste a reference").fill(f"https://replicate.com/{REF}")
    page.get_by_role("button", name="Look it up").click()
    expect(page.get_by_text("poet is added, and people can ask it now.")).to_be_visible()
    page.get_by_role("link", name="Pins and history").click()
    page.get_by_role("table").get_by_role("link", name=f"Pin {first} in production").click()
    page.get_by_label("Why").fill("It is what we know.")
    page.get_by_role("button", name=f"Pin {first} in production").click()
    expect(page.get_by_text("poet is pinned to")).to_be_visible()

    second = poet.add_version(changed_schema()).id[:12]
    page.get_by_role("link", name="Its settings").click()
    page.get_by_role("button", name="Look for new versions now").click()
    expect(page.get_by_text("One new version.")).to_be_visible()
    page.get_by_role("link", name="See what would change").click()
    expect(page.get_by_text("1 newer version").first).to_be_visible()
    page.get_by_role("link", name=f"change in {second}").click()
    expect(page.get_by_text("“temperature” is gone")).to_be_visible()

    page.get_by_role("link", name="Compare what they answer").click()
    page.get_by_label("Another prompt").fill(QUESTION)
    look_at(page, found)
    slowly = Script(steps=["The **Nile**", 1.0, " in Africa."])
    host.script(slowly, Script(chunks=["The Amazon, ", "in America."]))
    page.get_by_role("button", name="Run the comparison").click()
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    answers = page.locator(".trial__answer")
    expect(answers.filter(has_text="in Africa.")).to_be_visible()
    expect(answers.filter(has_text="in America.")).to_be_visible()
    expect(page.get_by_role("button", name="Run it again")).to_be_visible()  # told by the answers' ends
    expect(answers.get_by_text("First token")).to_have_count(2)
    page.get_by_label("Better").check()
    expect(page.get_by_text("better in 1 of 1")).to_be_visible()
    look_at(page, found)
    page.get_by_role("link", name="Differences").click()
    expect(page.locator("mark").first).to_be_visible()
    look_at(page, found)

    page.get_by_role("row", name=second).get_by_role("link", name="production").click()
    expect(page.get_by_label("Why")).to_have_value("Comparison 1: better in 1 of 1.")
    page.get_by_role("button", name=f"Pin {second} in production").click()
    expect(page.get_by_text("Comparison 1: better in 1 of 1.")).to_be_visible()
    expect(page.get_by_role("link", name="Comparison 1", exact=True)).to_be_visible()
    page.get_by_role("button", name="Roll back to this").click()
    expect(page.get_by_text(f"Rolled back to {first} in production.")).to_be_visible()
    assert {where: faults for where, faults in found.items() if faults} == {}


def test_an_answer_becomes_a_prompt_to_compare_with(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=["The Nile."]))
    page = open_page()
    question = "Which river is the widest?"
    page.get_by_role("textbox", name="Message").fill(question)
    page.get_by_role("button", name="Send").click()
    choose_action(page, "Details")
    page.get_by_role("button", name="Keep as a test prompt").click()
    expect(page.get_by_label("Question")).to_have_value(question)
    page.get_by_role("link", name="Run on several versions").click()
    expect(page.get_by_role("checkbox", name=question)).to_be_checked()
