"""A Parley with a scripted host, and a Chromium that is signed in to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, Page

from benchmarks.paging.answers import say
from benchmarks.paging.chromium import Instruments, watching
from benchmarks.relaying.control import Remote
from tests.browser import chromium, send, set_up
from tests.fake_replicate import OFFICIAL_MODEL, FakeReplicate, Script
from tests.site import Site, outside

FINISHED = "new Promise((go) => document.addEventListener('answer-ended', go, { once: true })).then(() => null)"
SETTLE = 1_500  # milliseconds after the end of an answer in which the page does the rest


class Stage:
    """The site, its host and the browser of alice, its admin."""

    def __init__(self, browser: Browser, site: Site, host: FakeReplicate, environment: dict[str, str]) -> None:
        self.host = host
        self._browser = browser
        self._site = site
        self._environment = environment
        page = browser.new_page()
        set_up(page, site.address)
        self._known: Any = page.context.storage_state()
        page.close()

    @contextmanager
    def page(self) -> Iterator[Instruments]:
        """Yield a page in a context of its own, with nothing in its cache."""
        with watching(self._browser, self._site.url, self._known) as instruments:
            yield instruments

    @contextmanager
    def library(self) -> Iterator[Remote]:
        """Yield the process that writes into the site's database, and asks for pages from within."""
        settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "PARLEY_DATA_DIR": str(self._site.folder / "data")}
        remote = Remote("benchmarks.paging.library", environment={**outside(), **self._environment, **settings})
        try:
            yield remote
        finally:
            remote.close()

    def begin(self, page: Page) -> None:
        """Have a page show a conversation whose first answer was short."""
        page.goto("/")
        self.answer(page, "Hello.", rate=1_000)

    def answer(self, page: Page, text: str, *, rate: float) -> None:
        """Ask, and wait until the answer was said, `rate` tokens a second, and has ended in the page."""
        self.host.script(Script(steps=say(text, rate)))
        shown = page.locator(".message--assistant:not(.message--draft):not(:has(streaming-answer))").count()
        send(page, "Go on?")
        if shown:
            page.evaluate(FINISHED)
        else:
            page.get_by_role("button", name="More actions").wait_for()  # the address has changed
        page.wait_for_timeout(SETTLE)


@contextmanager
def running_stage() -> Iterator[Stage]:
    with FakeReplicate() as host, TemporaryDirectory(prefix="parley-benchmark-") as folder, chromium() as browser:
        environment = {
            "REPLICATE_API_TOKEN": host.token,
            "PARLEY_REPLICATE_URL": host.url,
            "PARLEY_REPLICATE_MODELS": OFFICIAL_MODEL,
        }
        with Site(Path(folder), environment) as site:
            yield Stage(browser, site, host, environment)
