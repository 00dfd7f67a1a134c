"""10,000 conversations of one person among a million messages, over each database: the sidebar and the search."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from benchmarks.figures import Figures
from benchmarks.relaying.control import PROJECT, Remote
from tests.services import real_postgres
from tests.site import outside

SIZE = {"conversations": 10_000, "messages": 1_000_000, "others": 1_000}
QUICK_SIZE = {"conversations": 100, "messages": 10_000, "others": 10}
LONGEST_FILL = 1_800.0  # seconds
PEOPLE = {"alice": "who has half of all messages", "person7": "who has a few hundred messages"}


def measure(*, quick: bool) -> Figures:
    size = QUICK_SIZE if quick else SIZE
    figures: Figures = {}
    for name, database in (("sqlite", nullcontext(None)), ("postgresql", real_postgres())):
        with database as url, _library(url) as library:
            print(f"  {name}: filling the database", flush=True)
            words = library.ask("fill_library", limit=LONGEST_FILL, **size)
            for person, who in PEOPLE.items():
                found = library.ask("measure", limit=600, username=person, paths=_paths(words))
                setting = f"{who}, of {size['messages']:,}; the server's time for the whole page, best of several"
                times = {each: values["ms"] for each, values in found.items()}
                figures[f"{name}_{person}_ms"] = {**times, "slowest": max(times.values()), "setting": setting}
    return figures


def _paths(words: dict[str, str]) -> dict[str, str]:
    searches = {f"search: {what}": f"/search/?{urlencode({'q': looked_for})}" for what, looked_for in words.items()}
    return {"sidebar": "/", "older conversations": "/conversations/older/", **searches}


@contextmanager
def _library(url: str | None) -> Iterator[Remote]:
    """Yield the process that fills a new database and asks for pages from within."""
    with TemporaryDirectory(prefix="parley-benchmark-") as folder:
        environment = {**outside(), "DJANGO_SETTINGS_MODULE": "config.settings", "PARLEY_DATA_DIR": str(Path(folder))}
        environment |= {"DATABASE_URL": url} if url else {}
        subprocess.run([sys.executable, "manage.py", "prepare"], cwd=PROJECT, env=environment, check=True)
        remote = Remote("benchmarks.paging.library", environment=environment)
        try:
            yield remote
        finally:
            remote.close()
