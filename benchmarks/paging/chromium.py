"""What Chromium tells of a page: its tasks, the time that scripts and layout took, its heap, what it fetched."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

VIEWPORT = {"width": 1280, "height": 800}
PATIENCE = 200_000  # milliseconds; an answer of 100 kB takes 85 s
TASK = "ThreadControllerImpl::RunTask"

# Notes each task that took longer than 50 ms, from the beginning of the page on.
WATCH = """
    window.longTasks = [];
    new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: "longtask", buffered: true });
"""


NO_DATA = {"code", "native", "hidden", "synthetic"}  # kinds of what a heap has: the browser's own


class Instruments:
    """The DevTools of a page."""

    def __init__(self, browser: Browser, page: Page) -> None:
        self.page = page
        self._browser = browser
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")
        page.add_init_script(WATCH)

    def times(self) -> Counter[str]:
        """Milliseconds since the page began: in scripts, in layout, in working out styles, in tasks of any kind."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        found = {each["name"]: each["value"] * 1000 for each in metrics}
        names = {"script": "ScriptDuration", "layout": "LayoutDuration", "style": "RecalcStyleDuration"}
        return Counter({ours: found[theirs] for ours, theirs in {**names, "tasks": "TaskDuration"}.items()})

    def long_tasks(self) -> list[float]:
        """Milliseconds of each task over 50 ms since this was asked last."""
        tasks: list[float] = self.page.evaluate("window.longTasks.splice(0)")
        return tasks

    @contextmanager
    def tracing(self) -> Iterator[list[dict[str, Any]]]:
        """Yield a list that has the tasks of the page's main thread when the block has ended."""
        tasks: list[dict[str, Any]] = []
        self._browser.start_tracing(page=self.page, categories=["toplevel"])
        yield tasks
        events = json.loads(self._browser.stop_tracing())["traceEvents"]
        tasks += tasks_of_main_thread(events)

    def heap(self) -> dict[str, float]:
        """KiB that the page's scripts hold once the garbage is gone: data, and code that the browser has compiled."""
        chunks: list[str] = []

        def note(event: dict[str, str]) -> None:
            chunks.append(event["chunk"])

        self._session.on("HeapProfiler.addHeapSnapshotChunk", note)
        self._session.send("HeapProfiler.collectGarbage")
        self._session.send("HeapProfiler.takeHeapSnapshot")
        self._session.remove_listener("HeapProfiler.addHeapSnapshotChunk", note)
        sizes = sizes_in(json.loads("".join(chunks)))
        data = sum(size for kind, size in sizes.items() if kind not in NO_DATA)
        return {"data": data / 1024, "code": sizes["code"] / 1024}

    def nodes(self) -> int:
        """How many nodes there are, in the page and held by its scripts."""
        count: int = self._session.send("Memory.getDOMCounters")["nodes"]
        return count


@contextmanager
def watching(browser: Browser, site: str, known: Any) -> Iterator[Instruments]:
    """Yield a page of the site in a context of its own, which begins with `known`, a storage state."""
    context = browser.new_context(base_url=site, storage_state=known, viewport=VIEWPORT)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    try:
        yield Instruments(browser, context.new_page())
    finally:
        context.close()


def sizes_in(snapshot: dict[str, Any]) -> Counter[str]:
    """Return the bytes of each kind of thing in a heap snapshot: a list of numbers, so many for each thing."""
    meta = snapshot["snapshot"]["meta"]
    fields, [kinds, *_] = meta["node_fields"], meta["node_types"]
    columns = (snapshot["nodes"][fields.index(name) :: len(fields)] for name in ("type", "self_size"))
    sizes: Counter[str] = Counter()
    for kind, size in zip(*columns, strict=True):
        sizes[kinds[kind]] += size
    return sizes


def tasks_of_main_thread(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks of the busiest main thread of a trace: the others are those of pages that are gone."""
    names = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == "thread_name"}
    of_threads: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for each in events:
        thread = each["pid"], each["tid"]
        if each["name"] == TASK and each["ph"] == "X" and names.get(thread) == "CrRendererMain":
            of_threads.setdefault(thread, []).append(each)
    return max(of_threads.values(), key=lambda tasks: sum(cpu_of(task) for task in tasks), default=[])


def cpu_of(task: dict[str, Any]) -> float:
    """Milliseconds of the processor's time."""
    return float(task.get("tdur", 0)) / 1000
