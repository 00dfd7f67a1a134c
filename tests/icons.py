"""Make the icons of the installed app in static/img/ anew, from logo.svg: `.venv/bin/python -m tests.icons`."""

from pathlib import Path

from playwright.sync_api import Page

from tests.browser import chromium

FOLDER = Path(__file__).parent.parent / "static/img"
# Which file, how many pixels it is wide, and whether its colour fills the square: then the device cuts its own shape.
ICONS = (
    ("icon-192.png", 192, False),
    ("icon-512.png", 512, False),
    ("icon-maskable.png", 512, True),
    ("apple-touch-icon.png", 180, True),
)
SAFE = 0.9  # of a filled square: the sign in it stays within the circle that every device shows


def main() -> None:
    with chromium() as browser:
        page = browser.new_page()
        for name, size, is_filled in ICONS:
            draw(page, FOLDER / name, size, is_filled)


def draw(page: Page, path: Path, size: int, is_filled: bool) -> None:
    logo = (FOLDER / "logo.svg").read_text()
    width, background = (size * SAFE, "#0f6b5c") if is_filled else (size, "transparent")
    box = f"width: {size}px; height: {size}px; background: {background}"
    sized = logo.replace("<svg", f"<svg width={width} height={width}")
    page.set_viewport_size({"width": size, "height": size})
    page.set_content(f'<body style="margin: 0; display: grid; place-content: center; {box}">{sized}')
    page.screenshot(path=path, omit_background=True)


if __name__ == "__main__":
    main()
