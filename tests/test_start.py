"""`bin/start` as a person meets it: what it prints, what it runs, and that nothing of it is left when it has ended."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prepared import prepared
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
START = str(ROOT / "bin" / "start")
READY = re.compile(r"Parley is ready: (http://127\.0\.0\.1:\d+)/")
# Named like the bundled models, so that those are not started: most of these scenes do not need them.
NO_MODELS = {"PARLEY_COG_SERVERS": "smollm2=http://127.0.0.1:9,summary=http://127.0.0.1:9"}


class Started:
    """A `bin/start` that runs, and what it has printed until its address."""

    def __init__(self, data: Path, **variables: str) -> None:
        self.process = subprocess.Popen(
            [START, "--port", "0", "--data", str(data)],
            env=environment(**variables),
            cwd=data.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.printed = ""
        for line in self.process.stdout:
            self.printed += line
            if found := READY.search(line):
                self.url = found[1]
                return
        raise AssertionError(f"it ended: {self.printed}")

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def child(self, words: str) -> int:
        """Return the process below this one whose command has these words."""

        def find() -> int | None:
            return next((process for process in descendants(self.process.pid) if words in command(process)), None)

        found: int = wait_until(find)
        return found


def environment(**variables: str) -> dict[str, str]:
    foreign = ("PARLEY_", "REPLICATE_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | variables


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def used(data: Path) -> Path:
    """A data folder that a Parley has run with."""
    shutil.copytree(prepared(), data)  # static files as well: they are where they are by default
    return data


@contextlib.contextmanager
def started(data: Path, **variables: str) -> Iterator[Started]:
    start = Started(data, **variables)
    try:
        yield start
    finally:
        start.process.kill()
        start.process.communicate()


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [START, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )


def command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def descendants(ancestor: int) -> list[int]:
    parents = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(process)] = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    found = [ancestor]
    for process in found:  # which grows on the way
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_help_names_flags_and_variables() -> None:
    told = run("--help")

    assert told.returncode == 0
    for word in ("--port", "--host", "--data", "PARLEY_PORT", "PARLEY_HOST", "PARLEY_DATA_DIR"):
        assert word in told.stdout


@pytest.mark.parametrize("port", ["x", "-1", "70000", "८०"])
def test_what_is_no_port_is_refused(port: str, data: Path) -> None:
    flag = run(f"--port={port}", "--data", str(data))
    variable = run("--data", str(data), PARLEY_PORT=port)

    assert flag.returncode == variable.returncode == 2
    assert f"a port is a number from 0 to 65535, not {port!r}" in flag.stderr
    assert not data.exists()


def test_taken_port_is_told_before_anything_is_started(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        told = run("--data", str(data), PARLEY_PORT=str(port))

    assert told.returncode == 1
    assert told.stdout == f"Port {port} on 127.0.0.1 is taken. Choose another one with --port or PARLEY_PORT.\n"
    assert told.stderr == ""


def test_address_of_another_machine_is_told(data: Path) -> None:
    told = run("--data", str(data), "--host", "192.0.2.1")

    assert told.returncode == 1
    assert told.stdout.startswith("Nothing can listen on 192.0.2.1: ")


def test_data_folder_of_another_start_is_left_alone(data: Path) -> None:
    data.mkdir()
    with (data / "running").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711\n")
        file.flush()

        told = run("--port", "0", PARLEY_DATA_DIR=str(data))

    assert told.returncode == 1
    assert told.stdout.startswith(f"Parley already runs with the data folder {data} (process 4711).")


def test_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    told = run("--data", str(tmp_path / "file" / "data"))

    assert told.returncode == 1
    assert "cannot be used: Not a directory. Name another one with --data." in told.stdout
    assert told.stderr == ""


def test_server_without_an_address_is_told(data: Path) -> None:
    told = run("--data", str(data), "--port", "0", PARLEY_COG_SERVERS="mine=http://127.0.0.1:9,yours")

    assert told.returncode == 1
    assert "as name=http://host:port, separated by commas; not 'yours'." in told.stdout


def test_start_ends_in_an_address_and_ctrl_c_ends_all_of_it(data: Path) -> None:
    with started(data) as start:
        assert "Starting SmolLM2 …\n" in start.printed
        assert "Starting Summary …\n" in start.printed
        assert "/setup/" in start.printed.splitlines()[-1]
        assert status(f"{start.url}/health/live") == 200
        assert status(f"{start.url}/") == 200
        assert data.stat().st_mode & 0o777 == 0o700
        everything = descendants(start.process.pid)
        assert len(everything) >= 3

        start.process.send_signal(signal.SIGINT)

        assert start.process.wait(30) == 0
        assert not any(map(is_alive, everything))
        assert "Traceback" not in start.printed


def test_nothing_outlives_a_start_that_is_killed(used: Path) -> None:
    with started(used) as start:
        everything = descendants(start.process.pid)
        assert len(everything) >= 3

        start.process.kill()

        wait_until(lambda: not any(map(is_alive, everything)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ways_to_end_it_end_all_of_it(number: signal.Signals, used: Path) -> None:
    with started(used, **NO_MODELS) as start:
        assert "SmolLM2" not in start.printed
        everything = descendants(start.process.pid)

        start.process.send_signal(number)

        assert start.process.wait(30) == 0
        assert not any(map(is_alive, everything))


def test_start_ends_as_its_web_server_does(used: Path) -> None:
    with started(used, **NO_MODELS) as start:
        os.kill(start.child("manage.py serve"), signal.SIGKILL)

        assert start.process.wait(30) == 128 + signal.SIGKILL
        assert start.line().startswith("Parley ended (exit code 137)")


def test_model_that_dies_is_started_again_at_the_same_address(used: Path) -> None:
    with started(used) as start:
        server = re.match(r"summary: (\S+)", (used / "logs" / "summary.log").read_text())
        assert server is not None
        wait_until(lambda: status(f"{server[1]}/health-check"))
        child = start.child("serve.py summary")

        os.kill(child, signal.SIGKILL)

        assert start.line().startswith("Summary ended (exit code 137): ")
        assert start.line() == "It is started again in 1 s.\n"
        wait_until(lambda: status(f"{server[1]}/health-check"))
        assert start.child("serve.py summary") != child
