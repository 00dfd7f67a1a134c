"""A real OpenID Connect provider, django-allauth's own, as a small process beside the tests.

`with IdentityProvider(folder) as issuer:` it tells its address; what it vouches for is said by the query of `/become/`.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx

from tests.prepared import PROJECT, outside
from tests.waiting import WAIT_LIMIT, wait_until

CLIENT_ID, CLIENT_SECRET = "parley", "a secret between two servers"


class IdentityProvider:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = ""

    def __enter__(self) -> Self:
        log = self._folder / "provider.log"
        environment = {**outside(), "PROVIDER_FOLDER": str(self._folder)}
        command = [sys.executable, "-W", "ignore", "-m", "tests.identity_provider.provider"]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, env=environment, stdout=file, stderr=subprocess.STDOUT
            )

        def printed() -> re.Match[str] | None:
            assert self._process.poll() is None, log.read_text()
            return re.search(r"listening: (\S+)", log.read_text())

        self.url = wait_until(printed, limit=60)[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(WAIT_LIMIT)

    def expect(self, site: str) -> None:
        """Know a site, as whoever runs the provider would register it."""
        httpx.get(f"{self.url}/expect/", params={"site": site}, trust_env=False).raise_for_status()
