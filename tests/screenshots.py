"""Make the pictures in docs/screenshots/ anew: `.venv/bin/python -m tests.screenshots`.

The chat's show the bundled model's own answers, in the page as it is; the admin's show the fake Replicate's models.
Those in states/ show every state of the page that tests/states.py leads to.
"""

import base64
import copy
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser import CALM, chromium, send, set_up, visiting
from tests.cog import start_cog_server
from tests.fake_replicate import VERSIONED_MODEL, FakeReplicate, Script
from tests.site import OFFERED, Site, add_painter
from tests.states import STATES, Stage, shown

FOLDER = Path(__file__).parent.parent / "docs/screenshots"
DESKTOP = {"width": 1200, "height": 750}
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 760}
EARLIER = ("Name three rivers of Europe.", "What does a lighthouse keeper do?", "Who wrote Romeo and Juliet?")
SHOWN = ("What is the capital of France?", "Why is the sky blue?", "How many legs does a spider have?")

ANSWERS = (
    "Scouts look for flowers and come back to the hive. There they **dance**, which tells the others where to fly.",
    "A bee that has found flowers dances in the hive. The angle of her dance tells the **direction**, how long she"
    " waggles tells the **distance**.",
)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    show_chat()
    show_admin()
    show_states()


def show_chat() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        start_cog_server("smollm2") as server,
        Site(Path(folder), {"PARLEY_COG_SERVERS": f"smollm2={server.url}"}) as site,
        chromium() as browser,
    ):
        page = browser.new_page(viewport=DESKTOP)
        page.goto(site.address)
        page.screenshot(path=FOLDER / "setup.png")
        set_up(page, site.address)
        for question in EARLIER:
            page.goto(site.url)
            ask(page, question)
        page.goto(site.url)
        for question in SHOWN:
            ask(page, question)
        known, address = page.context.storage_state(), page.url
        for name, size, scheme in (
            ("conversation-light", DESKTOP, "light"),
            ("conversation-dark", DESKTOP, "dark"),
            ("phone-light", PHONE, "light"),
            ("phone-dark", PHONE, "dark"),
        ):
            context = browser.new_context(storage_state=known, viewport=size, color_scheme=scheme)
            view = context.new_page()
            view.goto(address)
            view.wait_for_load_state("networkidle")
            view.screenshot(path=FOLDER / f"{name}.png")
            context.close()


def show_admin() -> None:
    """An admin adds a model, pins its older version, reads what the newer one changes, and rolls back."""
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeReplicate() as fake,
        Site(Path(folder), {"PARLEY_REPLICATE_URL": fake.url, "REPLICATE_API_TOKEN": fake.token}) as site,
        chromium() as browser,
    ):
        old, new = fake.catalogue.models[VERSIONED_MODEL].versions
        fake.catalogue.models[VERSIONED_MODEL].versions[1] = replace(new, openapi_schema=changed(new.openapi_schema))
        page = browser.new_page(viewport=DESKTOP)
        set_up(page, site.address)
        page.goto(f"{site.url}/admin/predictions/model/add/?q=parrot")
        page.screenshot(path=FOLDER / "admin-add-model.png")
        page.get_by_label("Paste a reference").fill(VERSIONED_MODEL)
        page.get_by_role("button", name="Look it up").click()
        expect(page.get_by_role("link", name="Versions").last).to_be_visible()
        page.goto(f"{site.url}/admin/predictions/pin/")
        page.get_by_role("link", name="parrot", exact=True).click()
        page.get_by_role("link", name=f"Pin {old.id[:12]} in production", exact=True).click()
        page.get_by_label("Why").fill("It is known.")
        page.get_by_role("button", name=f"Pin {old.id[:12]} in production").click()
        page.screenshot(path=FOLDER / "admin-pins.png")
        page.get_by_role("link", name=re.compile(f"changes? in {new.id[:12]}")).click()
        page.screenshot(path=FOLDER / "admin-schema-diff.png")
        fake.script(*[Script(steps=[answer]) for answer in ANSWERS])
        page.get_by_role("link", name="Compare what they answer").click()
        page.get_by_label("Another prompt").fill("How do bees find flowers? Answer in two sentences.")
        page.get_by_role("button", name="Run the comparison").click()
        expect(page.get_by_role("button", name="Run it again")).to_be_visible()
        page.get_by_label("Better").check()
        expect(page.get_by_text("better in 1 of 1")).to_be_visible()
        page.screenshot(path=FOLDER / "admin-comparison.png")
        fake.script(Script(steps=["A lighthouse keeper tends the lamp, winds the clockwork, and keeps a log."]))
        page.set_viewport_size(WIDE)
        page.goto(f"{site.url}/admin/predictions/model/")
        page.get_by_role("link", name="parrot").click()
        page.get_by_label("What to ask").fill("What does a lighthouse keeper do?")
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_text("and keeps a log.")).to_be_visible()
        expect(page.get_by_text("First token")).to_be_visible()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=FOLDER / "admin-try.png")


def show_states() -> None:
    """Each state in one picture: light and dark, on a desk and on a phone."""
    (FOLDER / "states").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, FakeReplicate() as fake, chromium() as browser:
        add_painter(fake)
        replicate = {"PARLEY_REPLICATE_URL": fake.url, "REPLICATE_API_TOKEN": fake.token}
        with Site(Path(folder), {**replicate, "PARLEY_REPLICATE_MODELS": OFFERED}) as site:
            page = browser.new_page()
            set_up(page, site.address)
            known = page.context.storage_state()
            for name in STATES:
                with (
                    visiting(browser, site.url, known, harmless=("",)) as open_page,
                    shown(name, Stage(fake, open_page)) as page,
                ):
                    views = [view(page, size, scheme) for scheme in ("light", "dark") for size in (DESKTOP, PHONE)]
                (FOLDER / "states" / f"{name}.webp").write_bytes(side_by_side(browser, views))


def view(page: Page, size: Any, scheme: Any) -> bytes:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.evaluate(CALM)
    return page.screenshot()


JOIN = """async (pictures) => {
    const images = await Promise.all(pictures.map(async (picture) => {
        const image = new Image();
        image.src = `data:image/png;base64,${picture}`;
        await image.decode();
        return image;
    }));
    const canvas = document.createElement("canvas");
    const [desk, phone] = images;
    const gap = 20;
    canvas.width = desk.width + gap + phone.width;
    canvas.height = 2 * phone.height + gap;
    const context = canvas.getContext("2d");
    context.fillStyle = "#8a8f8c";
    context.fillRect(0, 0, canvas.width, canvas.height);
    images.forEach((image, place) => {
        context.drawImage(image, place % 2 ? desk.width + gap : 0, place > 1 ? phone.height + gap : 0);
    });
    return canvas.toDataURL("image/webp", 0.6).split(",")[1];
}"""


def side_by_side(browser: Browser, pictures: list[bytes]) -> bytes:
    """Join a view of a desk and of a phone, light and dark, into one WebP."""
    page = browser.new_page()
    joined = page.evaluate(JOIN, [base64.b64encode(picture).decode() for picture in pictures])
    page.close()
    return base64.b64decode(joined)


def changed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as a later version might have it."""
    later = copy.deepcopy(dict(schema))
    takes = later["components"]["schemas"]["Input"]["properties"]
    takes.pop("temperature", None)
    takes["max_tokens"] = {"type": "integer", "default": 1024, "minimum": 1, "maximum": 4096, "title": "Max Tokens"}
    takes["seed"] = {"type": "integer", "title": "Seed", "description": "The same seed gives the same answer."}
    return later


def ask(page: Page, question: str) -> None:
    answers = page.locator(".message--assistant").count()
    send(page, question)
    expect(page.locator(".message--assistant:not(.message--draft)")).to_have_count(answers + 1, timeout=30_000)
    expect(page.locator("streaming-answer")).to_have_count(0, timeout=60_000)


if __name__ == "__main__":
    main()
