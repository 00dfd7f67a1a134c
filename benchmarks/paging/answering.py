"""A long answer while it is written, and what it leaves behind."""

from benchmarks.figures import Figures
from benchmarks.paging.answers import write_answer
from benchmarks.paging.chromium import Instruments, cpu_of
from benchmarks.paging.stage import Stage
from benchmarks.relaying.control import RunFailed

RATE = 300.0  # tokens a second
QUICK_RATE = 3_000.0
WHOLE, HALF = 100_000, 50_000  # characters
ANSWERS = 10
WATCHED = 20_000  # milliseconds in which nothing happens

WORDS = """[...document.querySelectorAll("answer-text")].at(-1).textContent.replaceAll(/\\s/g, "")"""


def measure_answer(stage: Stage, *, runs: int, quick: bool) -> Figures:
    """Stream an answer and one of half its length, several times."""
    rate = QUICK_RATE if quick else RATE
    found = [{size: _stream(stage, size, rate) for size in (HALF, WHOLE)} for _ in range(runs)]
    wholes = [each[WHOLE] for each in found]
    best = min(found, key=lambda each: each[WHOLE]["script"])
    setting = f"{WHOLE // 1000} kB at {rate:g} tokens/s, best of {runs}"
    times = {name: {"50 kB": best[HALF][name], "100 kB": best[WHOLE][name]} for name in ("script", "layout", "style")}
    return {
        "longest_task_cpu_ms": {"value": min(each["longest"] for each in wholes), "setting": setting},
        "longest_task_ms": {"value": min(each["longest_wall"] for each in wholes), "setting": setting},
        "tasks_over_50_ms": {"value": min(each["long"] for each in wholes), "setting": f"{setting}; as they took"},
        **{f"{name}_ms": {**times[name], "setting": setting} for name in times},
        "script_ratio": {
            "value": times["script"]["100 kB"] / times["script"]["50 kB"],
            "setting": f"{setting}; of one run",
        },
    }


def _stream(stage: Stage, size: int, rate: float) -> dict[str, float]:
    with stage.page() as tab:
        stage.begin(tab.page)
        tab.long_tasks()
        before = tab.times()
        with tab.tracing() as tasks:
            stage.answer(tab.page, write_answer(size), rate=rate)
        after = tab.times()
        long = tab.long_tasks()
        _check_is_whole(tab)
    longest = max(map(cpu_of, tasks))
    print(f"  {size // 1000} kB: longest task {longest:.0f} ms of CPU, {max(long, default=0):.0f} ms as it took; "
          f"scripts {after['script'] - before['script']:.0f} ms", flush=True)  # fmt: skip
    return {
        **{name: after[name] - before[name] for name in after},
        "longest": longest,
        "longest_wall": max(task["dur"] / 1000 for task in tasks),
        "long": len(long),
    }


def _check_is_whole(tab: Instruments) -> None:
    """Compare what the page shows with the page as the server sends it."""
    shown = tab.page.evaluate(WORDS)
    tab.page.reload()
    if shown != tab.page.evaluate(WORDS):
        raise RunFailed("The page shows another answer than the server has.")


def measure_heap(stage: Stage, *, quick: bool) -> Figures:
    """Have answers written into one page, and look what its scripts hold before, afterwards and without them."""
    answers = 2 if quick else ANSWERS
    with stage.page() as tab:
        stage.begin(tab.page)
        start, nodes = tab.heap(), tab.nodes()
        for number in range(answers):
            stage.answer(tab.page, write_answer(WHOLE, seed=number), rate=QUICK_RATE)
        shown = tab.heap()
        tab.page.evaluate(
            "for (const message of document.querySelectorAll('.message ~ .message ~ .message')) message.remove()"
        )
        removed, left = tab.heap(), tab.nodes()
        tab.page.reload()
        again = tab.heap()
        tab.page.goto("/")
        home = tab.heap()
    setting = f"{answers} answers of {WHOLE // 1000} kB in one tab"
    states = {
        "before": start,
        "with the answers": shown,
        "without them": removed,
        "with them, loaded anew": again,
        "elsewhere": home,
    }
    return {
        "heap_data_kib": {**{state: heap["data"] for state, heap in states.items()}, "setting": setting},
        "heap_code_kib": {
            **{state: heap["code"] for state, heap in states.items()},
            "setting": f"{setting}; what the browser has compiled, and lets go of when it is not used",
        },
        "heap_growth": {
            "value": removed["data"] / start["data"],
            "setting": f"{setting}, then without them; data, 1 is back to start",
        },
        "nodes_left": {"value": left - nodes, "setting": f"{setting}, then without them"},
    }


def measure_idle(stage: Stage) -> Figures:
    """Watch a page in which nothing is written."""
    with stage.page() as tab:
        stage.begin(tab.page)
        tab.page.wait_for_timeout(WATCHED // 4)
        before = tab.times()
        with tab.tracing() as tasks:
            tab.page.wait_for_timeout(WATCHED)
        after = tab.times()
    minutes = WATCHED / 60_000
    return {
        "idle_per_minute": {
            "script ms": (after["script"] - before["script"]) / minutes,
            "task CPU ms": sum(map(cpu_of, tasks)) / minutes,
            "setting": f"a page in which nothing is written, {WATCHED // 1000} s",
        }
    }
