"""Each state of the page, in both themes and at phone size: nothing stands in anybody’s way, nothing sticks out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import Open, in_both_themes, visiting
from tests.fake_replicate import FakeReplicate
from tests.site import Site
from tests.states import STATES, Stage, shown

PHONE = 390  # pixels


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Iterator[Open]:
    # Some states are what a lost connection or a wrong address look like.
    with visiting(browser, site.url, signed_in, harmless=("ERR_INTERNET", "status of 404", "WebSocket")) as open_page:
        yield open_page


@pytest.mark.parametrize("name", STATES)
def test_everybody_can_use_it(name: str, open_page: Open, host: FakeReplicate) -> None:
    with shown(name, Stage(host, open_page)) as page:
        assert in_both_themes(page) == []
        page.set_viewport_size({"width": PHONE, "height": 760})
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_every_state_has_its_picture_in_the_docs() -> None:
    docs = Path(__file__).parent.parent / "docs"
    pictures = {picture.stem for picture in (docs / "screenshots/states").glob("*.webp")}
    shown = set(re.findall(r"\(screenshots/states/([\w-]+)\.webp\)", (docs / "page.md").read_text()))
    assert pictures == shown == set(STATES)
