"""The servers that tests run against are real, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import unquote, urlsplit

import environ
import psycopg
import pytest
import redis

from tests import services
from tests.conftest import wait_until
from tests.services import ServiceMissing, own_valkey, real_postgres, real_valkey

ROOT = Path(__file__).resolve().parent.parent


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in this folder: all a server consists of."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{process}/cwd").startswith(str(folder)):
                found.append(int(process))
        except OSError:  # it has ended
            continue
    return found


def folder_of(url: str) -> Path:
    parts = urlsplit(url)
    return Path(parts.path).parent if parts.scheme == "unix" else Path(unquote(parts.netloc.rpartition("@")[2]))


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test our own servers, whatever servers the environment names."""
    monkeypatch.delenv("PARLEY_TEST_REDIS_URL", raising=False)
    monkeypatch.delenv("PARLEY_TEST_DATABASE_URL", raising=False)


def test_valkey_keeps_a_value_and_leaves_no_process() -> None:
    with real_valkey() as url:
        with redis.Redis.from_url(url) as client:
            client.set("greeting", "hello")
            assert client.get("greeting") == b"hello"
        assert processes_in(folder_of(url))

    assert not processes_in(folder_of(url))
    assert not folder_of(url).exists()


def test_valkey_comes_back_at_the_same_address() -> None:
    with own_valkey() as url, redis.Redis.from_url(url) as client:
        client.set("greeting", "hello")

    with redis.Redis.from_url(url) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with own_valkey(at=url):
            assert client.get("greeting") is None


def test_postgres_answers_a_query_and_leaves_no_process() -> None:
    with real_postgres() as url:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_setting('server_version_num')::int >= 140000").fetchone() == (
                True,
            )
        assert processes_in(folder_of(url))

    assert not processes_in(folder_of(url))
    assert not folder_of(url).exists()


def test_postgres_url_is_understood_by_the_settings() -> None:
    with real_postgres() as url:
        config = environ.Env.db_url_config(url)

        names = {"host": config["HOST"], "user": config["USER"], "dbname": config["NAME"]}
        with psycopg.connect(**names) as connection:
            assert connection.info.dbname == config["NAME"]


def test_postgres_runs_from_an_installation_that_only_root_can_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []

    def out_of_reach(programs: Path, folder: Path) -> Path:
        monkeypatch.setattr(Path, "stat", lambda path, **options: os.stat_result([0] * 10))
        copies.append(within_reach(programs, folder))
        monkeypatch.undo()
        return copies[0]
