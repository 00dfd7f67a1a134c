"""The same behaviour over PostgreSQL and Redis: the tests that touch them, run once more in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import real_postgres, real_valkey

AGAIN = ("claims", "migrations", "pins", "races", "search", "socket")


@pytest.mark.timeout(300)
def test_everything_behaves_alike_over_postgresql_and_redis() -> None:
    paths = [f"tests/test_{name}.py" for name in AGAIN]
    with real_postgres(is_migrated=True) as database, real_valkey() as redis:
        services = {"DATABASE_URL": database, "PARLEY_TEST_IS_MIGRATED": "yes", "REDIS_URL": redis}
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *paths],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **services, "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5_000:]
