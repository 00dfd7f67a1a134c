"""A running Parley for the browser tests: `manage.py serve` as a process of its own."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.fake_replicate import IMAGE_SCHEMA, OFFICIAL_MODEL, FakeReplicate
from tests.waiting import WAIT_LIMIT, wait_until

OFFERED = f"{OFFICIAL_MODEL},acme/painter"  # the models of most sites
PROJECT = Path(__file__).parent.parent


def add_painter(host: FakeReplicate) -> None:
    host.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA)


@functools.cache
def prepared() -> "tempfile.TemporaryDirectory[str]":
    """A data folder as `manage.py prepare` leaves it: each site begins with a copy, and has less to do."""
    folder = tempfile.TemporaryDirectory(prefix="parley-prepared-")
    environment = {**outside(), "PARLEY_DATA_DIR": folder.name}
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=PROJECT, env=environment, check=True)
    return folder


def outside() -> dict[str, str]:
    """The environment without what configures a Parley."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))}


class Site:
    """`with Site(folder, {"REPLICATE_API_TOKEN": …}) as site:`; it can be killed and started again on its port."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = 0
        self.address = ""  # the one that was printed
        self._environment = {
            **outside(),
            "PARLEY_DATA_DIR": str(folder / "data"),
            **environment,
        }

    def __enter__(self) -> Self:
        if not (self.folder / "data").exists():
            shutil.copytree(prepared().name, self.folder / "data")
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(WAIT_LIMIT)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        log = self.folder / "serve.log"
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port)]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=PROJECT, env=self._environment, stdout=file, stderr=subprocess.STDOUT
            )

        def printed() -> re.Match[str] | None:
            assert self.process.poll() is None, log.read_text()
            return re.search(r"Parley is ready: (http://127\.0\.0\.1:(\d+)/\S*)", log.read_text())

        found = wait_until(printed, limit=60)
        self.address, self.port = found[1], int(found[2])

    def kill(self) -> None:
        """End it as a crash would: no farewell, no hand-over."""
        self.process.kill()
        self.process.wait(WAIT_LIMIT)
