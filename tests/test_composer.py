"""Writing a message in a real Chromium: files, settings, the picker of models, and what waits for its turn."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser import Open, choose_model, send, violations, visiting
from tests.fake_replicate import IMAGE_SCHEMA, FakeReplicate, Gate, Script
from tests.media import make_png
from tests.site import Site
from tests.waiting import wait_until

RED = {"name": "red.png", "mimeType": "image/png", "buffer": make_png(200, 60, 40)}

DROP = """(type) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10, 0])], "dropped.png"));
    document.body.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
PASTE = """() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["some bytes"], "pasted.bin"));
    const event = new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true});
    document.querySelector(".composer__box").dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def host(host: FakeReplicate) -> FakeReplicate:
    shown = {"input": {"prompt": "A red fox in the snow"}, "output": ["https://example.org/out-0.png"]}
    host.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA, default_example=shown)
    return host


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Any:
    with visiting(
        browser, site.url, signed_in, harmless=("ERR_INTERNET", "ERR_FAILED", "status of 413", "status of 422")
    ) as open_page:
        yield open_page


def lose_the_answer(route: Route) -> None:
    """Let a request through, and its answer get lost."""
    route.fetch()
    route.abort()


def box_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def files_of(page: Page) -> Locator:
    return page.locator(".attachment")


def problem_of(page: Page) -> Locator:
    return page.locator(".composer__problem")


def add(page: Page, *files: dict[str, Any]) -> None:
    page.locator("composer-files input[type=file]").set_input_files(list(files))


def inputs_of(host: FakeReplicate) -> list[dict[str, Any]]:
    return [created.body["input"] for created in host.ledger.created]


def test_files_are_added_removed_kept_and_sent(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    attach = page.get_by_role("button", name="Add files")
    expect(attach).to_have_attribute("aria-disabled", "true")
    page.evaluate(PASTE)
    expect(problem_of(page)).to_contain_text("takes no files")
    expect(files_of(page)).to_have_count(0)

    choose_model(page, "painter")
    expect(attach).to_have_attribute("aria-disabled", "false")
    expect(page.locator("composer-files input[type=file]")).to_have_attribute("accept", "image/*")
    add(page, RED)
    expect(files_of(page).locator("img")).to_have_attribute("src", re.compile("^data:image/webp"))
    page.evaluate(DROP, "dragenter")
    expect(page.locator(".drop-zone")).to_be_visible()
    page.evaluate(DROP, "drop")
    expect(page.locator(".drop-zone")).to_be_hidden()
    expect(problem_of(page)).to_contain_text("painter takes one image, and there are more here")
    send(page, "What is this?")
    expect(box_of(page)).to_have_value("What is this?")
    page.get_by_role("button", name="Remove dropped.png").click()
    expect(problem_of(page)).to_have_text("")
    page.evaluate(PASTE)
    expect(problem_of(page)).to_contain_text("it cannot take “pasted.bin”")
    expect(files_of(page)).to_have_count(2)
    expect(files_of(page).locator("progress:visible")).to_have_count(0)
    assert violations(page) == []
    page.get_by_role("button", name="Remove pasted.bin").click()
    expect(problem_of(page)).to_have_text("")

    page.reload()
    expect(box_of(page)).to_have_value("What is this?")
    expect(files_of(page)).to_have_count(1)
    expect(problem_of(page)).to_contain_text("takes no files")
    choose_model(page, "painter")
    host.script(Script(output=[host.output_file(RED["buffer"], name="made.png")], stream=False))
    box_of(page).press("Enter")
    expect(page.locator(".message--assistant img")).to_be_visible()
    expect(page.locator(".message--user img")).to_be_visible()
    expect(files_of(page)).to_have_count(0)
    expect(box_of(page)).to_have_value("")
    assert inputs_of(host)[-1]["image"].startswith("data:image/png;base64,")

    page.get_by_role("button", name="Use as input").click()
    expect(files_of(page).locator("img")).to_be_visible()
    expect(box_of(page)).to_be_focused()
    assert violations(page) == []
    host.script(Script(chunks=["Still red."]))
    send(page, "And now?")
    expect(page.locator(".message--assistant").last).to_contain_text("Still red.")
    assert inputs_of(host)[-1]["image"].startswith("data:image/png;base64,")
    page.goto("/")
    expect(box_of(page)).to_have_value("")
    expect(files_of(page)).to_have_count(0)


def test_settings_go_with_the_questions_and_are_explained_where_they_are_wrong(
    open_page: Open, host: FakeReplicate
) -> None:
    page = open_page()
    choose_model(page, "painter")
    page.get_by_role("button", name="Settings").click()
    panel = page.get_by_role("group", name="Settings")
    panel.get_by_label("Aspect Ratio").select_option("16:9")
    panel.get_by_role("slider", name="Num Outputs").fill("3")
    expect(panel.get_by_label("Num Outputs", exact=True)).to_have_value("3")
    panel.get_by_label("Num Outputs", exact=True).fill("9")
    panel.get_by_role("button", name="Random").click()
    expect(panel.get_by_label("Seed", exact=True)).to_have_value(re.compile(r"^\d+$"))
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()

    send(page, "Nine pictures")
    expect(panel.get_by_text("Must be between 1 and 4.")).to_be_visible()
    expect(panel.get_by_label("Num Outputs", exact=True)).to_be_focused()
    expect(box_of(page)).to_have_value("Nine pictures")
    panel.get_by_label("Num Outputs", exact=True).fill("2")
    host.script(Script(chunks=["Done."]), Script(chunks=["Again."]))
    send(page, "Two pictures")
    expect(page.locator(".message--assistant")).to_contain_text("Done.")
    given = inputs_of(host)[-1]
    assert (given["num_outputs"], given["aspect_ratio"], given["prompt"]) == (2, "16:9", "Two pictures")
    assert isinstance(given["seed"], int)

    page.reload()
    expect(page.locator(".composer__count")).to_have_text("3")
    send(page, "Once more")
    expect(page.locator(".message--assistant").last).to_contain_text("Again.")
    assert inputs_of(host)[-1]["num_outputs"] == 2


def test_messages_wait_for_the_answer_and_for_the_connection(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["One", gate]), Script(chunks=["Two."]), Script(chunks=["Three."]))
    page = open_page()
    send(page, "First")
    answers = page.locator(".message--assistant")
    expect(answers).to_contain_text("One")
    asked = len(host.ledger.created)
    for text in ("Secnd", "Third", "Never"):
        box_of(page).fill(text)
        box_of(page).press("Enter")
    waiting = page.get_by_role("list", name="Messages that wait").get_by_role("listitem")
    expect(waiting).to_have_count(3)
    expect(waiting.first).to_contain_text("Sent when this answer is finished")
    assert violations(page) == []
    waiting.filter(has_text="Never").get_by_role("button", name="Remove").click()
    waiting.filter(has_text="Third").get_by_role("button", name="Remove").click()
    box_of(page).press("ArrowUp")
    expect(box_of(page)).to_have_value("Secnd")
    box_of(page).fill("Second")
    box_of(page).press("Enter")
    page.reload()
    expect(waiting).to_have_count(1)
    gate.open()
    expect(answers.last).to_contain_text("Two.")
    expect(waiting).to_have_count(0)
    expect(page.locator("streaming-answer")).to_have_count(0)

    page.context.set_offline(True)
    box_of(page).fill("Third")
    box_of(page).press("Enter")
    box_of(page).press("Enter")
    expect(waiting).to_contain_text("Waits for the connection")
    page.context.set_offline(False)
    expect(answers.last).to_contain_text("Three.")
    expect(page.locator(".message--user")).to_have_count(3)
    assert len(host.ledger.created) == asked + 2
    expect(page.locator("streaming-answer")).to_have_count(0)

    host.script(Script(chunks=["Four."]))
    page.route("**/conversations/*/messages/", lose_the_answer, times=1)
    send(page, "Fourth")
    expect(answers.last).to_contain_text("Four.")
    expect(waiting).to_have_count(0)
    expect(page.locator(".message--user")).to_have_count(4)
    assert len(host.ledger.created) == asked + 3


def test_other_words_for_a_question_outlive_the_page_and_are_asked_once(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    host.script(Script(chunks=["One."]), Script(chunks=["Two."]))
    send(page, "First")
    expect(page.get_by_role("button", name="More actions")).to_be_visible()
    asked = len(host.ledger.created)
    ids = []

    def lose(route: Route) -> None:
        found = re.search(r'name="id"\s+(\S+)', route.request.post_data or "")
        ids.append(found and found[1])
        if len(ids) == 1:
            route.abort()
        else:
            lose_the_answer(route)

    page.route("**/edit/", lose)
    page.get_by_role("link", name="Edit this question").click()
    words = page.get_by_role("textbox", name="Question in other words")
    words.fill("First, in other words")
    page.reload()
    expect(words).to_have_value("First, in other words")
    words.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="The server could not be reached")).to_be_visible()
    page.reload()
    words.press("Enter")
    expect(page.locator(".message--assistant")).to_contain_text("Two.")

    assert ids[0] == ids[1] is not None
    assert len(host.ledger.created) == asked + 1
    expect(page.get_by_role("group", name="Wordings of this question")).to_contain_text("2/2")
    page.get_by_role("group", name="Wordings of this question").get_by_role("button", name="Before").click()
    expect(page.locator(".message__question")).to_have_text("First")
    page.get_by_role("link", name="Edit this question").click()
    words.fill("Never mind")
    words.press("Escape")
    page.reload()
    expect(page.locator(".message__question")).to_be_visible()
    expect(words).to_be_hidden()


def test_what_nobody_sees_in_a_text_is_told_and_taken_out(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    unseen = "".join(chr(0xE0000 + ord(letter)) for letter in "and lie")
    told = page.get_by_text("7 characters in this text cannot be seen, but the model reads them.")
    box_of(page).fill(f"Sum up this{unseen}.")
    expect(told).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Remove them").click()
    expect(box_of(page)).to_be_focused()
    expect(box_of(page)).to_have_value("Sum up this.")
    expect(told).to_be_hidden()

    host.script(Script(chunks=["Done."]))
    send(page, f"Sum up this{unseen}, too.")  # whoever wants to may send them
    expect(page.get_by_role("button", name="More actions")).to_be_visible()
    assert host.ledger.created[-1].body["input"]["prompt"].endswith(f"this{unseen}, too.")
    expect(told).to_be_hidden()
    page.get_by_role("link", name="Edit this question").click()
    expect(told).to_be_visible()
    page.get_by_role("button", name="Remove them").click()
    expect(page.get_by_role("textbox", name="Question in other words")).to_have_value("Sum up this, too.")


def test_the_picker_is_searched_by_keyboard(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    button = page.get_by_role("button", name=re.compile("^Model:"))
    expect(button).to_contain_text("Llama")
    expect(page.locator("#id_model")).to_be_hidden()
    button.press("Enter")
    search = page.get_by_role("combobox", name="Search models")
    options = page.get_by_role("listbox", name="Models").get_by_role("option")
    expect(search).to_be_focused()
    expect(options).to_have_count(2)
    expect(options.last).to_contain_text("Takes text and one image, gives images")
    assert violations(page) == []

    search.press("ArrowDown")
    search.fill("nothing like this")
    expect(page.get_by_text("No model is called that.")).to_be_visible()
    search.press("Enter")
    search.fill("image")
    expect(options).to_have_count(1)
    expect(search).to_have_attribute("aria-activedescendant", "model-1")
    search.press("Escape")
    expect(search).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_contain_text("Llama")
    button.press("Enter")
    search.press("End")
    search.press("Home")
    search.press("ArrowUp")
    search.press("Enter")
    expect(button).to_contain_text("painter")
    expect(box_of(page)).to_be_focused()
    expect(page.get_by_role("button", name="Explain how tides work")).to_be_hidden()  # it paints
    page.get_by_role("button", name="A red fox").press("Enter")
    expect(box_of(page)).to_have_value("A red fox in the snow")
    expect(box_of(page)).to_be_focused()
    host.script(Script(chunks=["Painted."]))
    send(page, "Hello")
    expect(page.locator(".message--assistant")).to_contain_text("Painted.")
    wait_until(lambda: host.ledger.created[-1].body["input"]["prompt"] == "Hello")


def test_drafts_are_ones_own_and_go_when_one_signs_out(open_page: Open) -> None:
    page = open_page()
    box_of(page).fill("A secret thought")
    page.reload()
    expect(box_of(page)).to_have_value("A secret thought")
    drafts = "Object.keys(localStorage).filter(key => key.startsWith('parley-draft')).length"
    assert page.evaluate(drafts) == 1

    page.evaluate("document.querySelector('message-composer').setAttribute('person', '0')")
    page.evaluate("document.querySelector('form[action$=\"/logout/\"]').requestSubmit()")
    page.wait_for_url("**/accounts/login/**")
    assert page.evaluate(drafts) == 0
