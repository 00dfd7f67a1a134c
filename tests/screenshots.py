"""Make the pictures in docs/screenshots/ anew: `.venv/bin/python -m tests.screenshots`.

They show the bundled model's own answers, in the page as it is.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.cog import start_cog_server
from tests.site import Site

FOLDER = Path(__file__).parent.parent / "docs/screenshots"
CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP = {"width": 1200, "height": 750}
PHONE = {"width": 390, "height": 760}
PASSWORD = "a long enough phrase"
EARLIER = ("Name three rivers of Europe.", "What does a lighthouse keeper do?", "Who wrote Romeo and Juliet?")
SHOWN = ("What is the capital of France?", "Why is the sky blue?", "How many legs does a spider have?")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        start_cog_server("smollm2") as server,
        Site(Path(folder), {"PARLEY_COG_SERVERS": f"smollm2={server.url}"}) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=DESKTOP)
        page.goto(site.address)
        page.screenshot(path=FOLDER / "setup.png")
        set_up(page)
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
        browser.close()


def set_up(page: Page) -> None:
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#id_model option", has_text="SmolLM2")).to_be_attached()


def ask(page: Page, question: str) -> None:
    answers = page.locator(".message--assistant").count()
    page.get_by_role("textbox", name="Message").fill(question)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".message--assistant")).to_have_count(answers + 1, timeout=30_000)
    expect(page.locator("streaming-answer")).to_have_count(0, timeout=60_000)


if __name__ == "__main__":
    main()
