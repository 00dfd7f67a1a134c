"""A real Chromium for the tests, and what people do in it.

The fixtures that go with it are in conftest.py: `open_page` opens pages of `site`, in `browser`, for the first admin.
Django refuses its database to a thread that a Chromium is driven from: tests that use both come before.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.site import Site
from tests.waiting import wait_until

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
UNWANTED = (
    # For each window, Chromium fetches two pages of its own for what pops up at its address bar: a second of CPU.
    *("WebUIOmniboxAimPopup", "WebUIOmniboxPopup"),
    # Playwright's own list, in whose place this one stands.
    *("AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync"),
    *("DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay"),
    *("MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch"),
    *("TcpPortRandomizationWin", "ThirdPartyStoragePartitioning"),
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    f"--disable-features={','.join(UNWANTED)}",
)
# Contexts that nobody uses, by their options: what each has cached of the site's files is a third of opening a page.
IDLE: WeakKeyDictionary[Browser, dict[str, list[BrowserContext]]] = WeakKeyDictionary()
PASSWORD = "a long enough phrase"
PATIENCE = 15_000  # milliseconds

# Wait for the animations that end, two seconds at most.
CALM = """Promise.race([
    new Promise((resolve) => setTimeout(resolve, 2000)),
    Promise.allSettled(document.getAnimations()
        .filter(({ effect }) => Number.isFinite(effect.getComputedTiming().endTime)).map(({ finished }) => finished)),
])"""

expect.set_options(timeout=PATIENCE)

Open = Callable[..., Page]


@contextmanager
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "bin/test installs Chromium, or says how"
    flags = [*FLAGS, *(["--ignore-certificate-errors"] if Site.behind_nginx else [])]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=flags) as browser,
    ):
        yield browser


@contextmanager
def visiting(browser: Browser, url: str, known: Any, *, harmless: tuple[str, ...] = ()) -> Iterator[Open]:
    """Yield a function that opens a page of the site at `url` in a context of its own, whose options it takes.

    A page starts from what is `known`, a storage state, and what it logs as an error, a broken rule of the CSP among
    it, fails the test, but for what has one of the `harmless` words in it. The next test may get the same contexts:
    what one changes beside cookies, storage and being offline, it changes in its page.
    """
    lent: list[tuple[str, BrowserContext]] = []
    complaints: list[str] = []

    def open_page(path: str = "/", *, storage_state: Any = known, **options: Any) -> Page:
        kind, context, page = borrow(browser, url, storage_state, options)
        lent.append((kind, context))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(path)
        return page

    yield open_page
    for kind, context in lent:
        give_back(browser, kind, context)
    serious = [text for text in complaints if not any(words in text for words in harmless)]
    assert not serious, serious


def borrow(browser: Browser, url: str, known: Any, options: dict[str, Any]) -> tuple[str, BrowserContext, Page]:
    """Return a context that has what is `known` and nothing else, with a page, and the kind of contexts it is of."""
    settings = {"base_url": url, "ignore_https_errors": Site.behind_nginx, **options}
    kind = json.dumps(settings, sort_keys=True)
    idle = IDLE.setdefault(browser, {}).setdefault(kind, [])
    context = idle.pop() if idle else browser.new_context(**settings)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    forget = page.context.new_cdp_session(page)
    forget.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage,indexeddb"})
    forget.detach()
    context.add_cookies(known["cookies"] if known else [])
    return kind, context, page


def give_back(browser: Browser, kind: str, context: BrowserContext) -> None:
    """Have a context, which may be closed by now, ready for the next one who needs such."""
    try:
        for page in context.pages:
            page.close()
        context.clear_cookies()
        context.set_offline(False)
    except Error:
        return
    IDLE[browser][kind].append(context)


def dismiss(browser: Browser) -> None:
    """Close all contexts: their site ends."""
    IDLE.pop(browser, None)
    for context in browser.contexts:
        context.close()


def become_admin(context: BrowserContext, address: str) -> None:
    """Do what `set_up` does, without a page."""
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', context.request.get(address).text())[:1]
    form = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD, "csrfmiddlewaretoken": token}
    assert context.request.post(address, form=form, headers={"Referer": address}).ok
    home = address.partition("/setup/")[0]
    wait_until(lambda: '<option value="' in context.request.get(home).text())


def set_up(page: Page, address: str) -> None:
    """Become the first admin, alice, as the printed address allows, and wait for a model to ask."""

    def has_model() -> bool:
        page.reload()
        return page.locator("#id_model option").count() > 0

    page.goto(address)
    expect(page.get_by_role("heading", name="Welcome to Parley")).to_be_visible()
    fill_in(page, {"Username": "alice", "Password": PASSWORD, "Password confirmation": PASSWORD})
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    # A site that has just begun does not know its models yet, and a page learns of them when it is loaded.
    wait_until(has_model)


def fill_in(page: Page, words: dict[str, str]) -> None:
    for label, word in words.items():
        page.get_by_label(label, exact=True).fill(word)


def choose_model(page: Page, name: str) -> None:
    """Choose a model as the picker does, or as people do who have no scripts."""
    page.locator("#id_model").select_option(label=name, force=True)


def send(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.get_by_role("button", name="Send").click()


def choose_action(page: Page, name: str) -> None:
    """Choose what stands in the menu of the last answer, once that has ended."""
    page.get_by_role("button", name="More actions").last.click()
    page.locator("message-menu .menu:popover-open").get_by_text(name).click()


def violations(page: Page, **options: Any) -> list[tuple[str, str]]:
    """What axe finds, once no colour changes any more. It does not fetch style sheets anew: the CSP would refuse it."""
    page.evaluate(CALM)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    # What is in order is not asked for: to write it all down costs more than to look.
    asked = {"preload": False, "resultTypes": ["violations"], **options}
    found = page.evaluate("options => axe.run(options).then(({ violations }) => violations)", asked)
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in found]


def in_both_themes(page: Page) -> list[tuple[str, str, str]]:
    """What axe finds in the light theme and in the dark one, with the theme."""
    found = [("light", *each) for each in violations(page)]
    page.emulate_media(color_scheme="dark")
    found += [("dark", *each) for each in violations(page, runOnly=["color-contrast"])]  # all else is alike in both
    page.emulate_media(color_scheme="light")
    return found
