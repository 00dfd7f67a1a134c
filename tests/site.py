"""A running Parley for the browser tests: `manage.py serve` as a process of its own."""

import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.fake_replicate import IMAGE_SCHEMA, OFFICIAL_MODEL, FakeReplicate
from tests.nginx import Nginx
from tests.prepared import PROJECT, copy_to, outside, static
from tests.waiting import WAIT_LIMIT, wait_until

OFFERED = f"{OFFICIAL_MODEL},acme/painter"  # the models of most sites


def add_painter(host: FakeReplicate) -> None:
    host.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA)


class Site:
    """`with Site(folder, {"REPLICATE_API_TOKEN": …}) as site:`; it can be killed and started again on its port.

    With `pytest --behind-nginx` each has an nginx with TLS before it, as docs/deploying.md says.
    """

    behind_nginx = False

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = 0
        self.url = ""
        self.address = ""  # the one that was printed, as browsers reach it
        self._environment = {
            **outside(),
            "PARLEY_DATA_DIR": str(folder / "data"),
            "PARLEY_STATIC_DIR": static(),
            "PARLEY_MESSAGES_PER_MINUTE": "0",  # tests ask quicker than people do
            "PARLEY_ANSWERS_AT_ONCE": "0",
            **({"PARLEY_BEHIND_TLS": "true"} if self.behind_nginx else {}),
            **environment,
        }
        self._proxies = ExitStack()

    def __enter__(self) -> Self:
        if not (self.folder / "data").exists():
            copy_to(self.folder / "data")
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._proxies.close()
        self.process.terminate()
        self.process.wait(WAIT_LIMIT)

    def reached_through(self, port: int) -> str:
        """Return where browsers reach what listens at `port`: this site, or a proxy before it."""
        if not self.behind_nginx:
            return f"http://127.0.0.1:{port}"
        nginx = self._proxies.enter_context(Nginx(Path(tempfile.mkdtemp(dir=self.folder)), port))
        return f"https://127.0.0.1:{nginx.port}"

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
        self.port = int(found[2])
        self.url = self.url or self.reached_through(self.port)
        self.address = self.url + urlsplit(found[1]).path

    def kill(self) -> None:
        """End it as a crash would: no farewell, no hand-over."""
        self.process.kill()
        self.process.wait(WAIT_LIMIT)


class Tables:
    """The tables of a site, as whoever runs the machine sees them."""

    def __init__(self, site: Site) -> None:
        self._path = site.folder / "data/db.sqlite3"

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self._path, timeout=10) as database:
            return database.execute(sql, values).fetchall()

    def groups_of(self, name: str) -> set[str]:
        rows = self.run(
            "SELECT g.name FROM auth_group g JOIN chat_user_groups m ON m.group_id = g.id"
            " JOIN chat_user u ON u.id = m.user_id WHERE u.username = ?",
            name,
        )
        return {row[0] for row in rows}
