"""Make .venv hold what a lock file names, on a machine that may have no pip; at once when it does already.

An installation leaves a stamp of what it found at its end, and a mark for as long as it lasts: a later start sees by
the first that there is nothing to do, and by the second that somebody ended it half-way.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch import debian
from launch.console import Failure, last_lines, step

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
# Not the Python of an environment that happens to be active: it may be .venv itself.
BASE_PYTHON: str = getattr(sys, "_base_executable", sys.executable)
TIED = Path(__file__).with_name("tied.py")
INSTALLER_LOCK = Path(__file__).with_name("installer.lock")

MARK = VENV / "being-installed"


def prepare(lock: Path) -> None:
    """Have .venv hold what `lock` names; raise Failure, in words, where that cannot be."""
    if _is_done(lock):
        return
    with _alone():
        if _is_done(lock):  # by whom this process waited for
            return
        if MARK.exists() or not _runs():
            _make()
        _stamp_path(lock).unlink(missing_ok=True)
        _install(lock)
        _stamp_path(lock).write_text(_stamp(lock))


def variables() -> dict[str, str]:
    """Return the environment in which programs of .venv run."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return inherited | {"PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])}


def installed() -> list[str]:
    """Return the packages of .venv, as `name-version.dist-info`."""
    return sorted(path.name for path in VENV.glob("lib/python3*/site-packages/*.dist-info"))


def tied(*command: str) -> list[str]:
    """Return the command that runs `command` and ends with this process."""
    return [BASE_PYTHON, "-I", "-S", str(TIED), str(os.getpid()), *command]


def run(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which comes no later than that of this process; collect all it prints in `stdout`."""
    return subprocess.run(
        tied(*command),
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


# ---------------------------------------------------------------- is there anything to do?


def _is_done(lock: Path) -> bool:
    try:
        return not MARK.exists() and _stamp_path(lock).read_text() == _stamp(lock)
    except OSError:
        return False


def _stamp_path(lock: Path) -> Path:
    return VENV / f"{lock.stem}.stamp"


def _stamp(lock: Path) -> str:
    """Return what tells this installation from a changed, moved or damaged one; raise OSError if there is none."""
    python = PYTHON.resolve(strict=True)
    facts = [lock.read_text(), str(VENV), str(python), str(python.stat().st_mtime_ns), *installed()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _runs() -> bool:
    """Whether .venv has a Python that runs and is the one its packages were installed for."""
    if not (VENV / "pyvenv.cfg").exists():
        return False
    report = "import sys; print(sys.prefix); print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run([PYTHON, "-I", "-c", report], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    prefix, version = result.stdout.split("\n")[:2]
    return Path(prefix).resolve() == VENV.resolve() and (VENV / "lib" / f"python{version}").is_dir()


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time install; the others wait for it."""
    with INSTALLER_LOCK.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("Waiting for another start, which installs packages"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- making and filling it


def _make() -> None:
    with step(f"Making .venv with Python {'.'.join(map(str, sys.version_info[:3]))}"):
        if VENV.is_symlink():
            VENV.unlink()
        elif VENV.exists():
            shutil.rmtree(VENV)
        subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", VENV], check=True)


def _install(lock: Path) -> None:
    pip = _pip()
    count = len(re.findall(r"^[\w.-]+==", lock.read_text(), re.MULTILINE))
    MARK.touch()
    with step(f"Installing {count} packages"):
        problem = _install_with_uv(lock, pip)
        if problem and pip:  # there are machines on which uv does not run, and indexes of which only pip knows
            problem = _run(*pip, "install", "-q", "--no-deps", "--require-hashes", "-r", str(lock)) and problem
    MARK.unlink()
    if problem:
        raise Failure(
            f"{problem}\nThe packages could not be installed. Look whether there is a network, and start again."
        )


def _install_with_uv(lock: Path, pip: list[str] | None) -> str | None:
    """Install what `lock` names the fast way; return None, or what went wrong."""
    uv = str(BIN / "uv")
    if pip is None:
        uv = "uv"
    elif not _has_installer():
        problem = _run(*pip, "install", "-q", "--no-deps", "--require-hashes", "-r", str(INSTALLER_LOCK))
        if problem:
            return problem
    return _run(uv, "pip", "install", "-q", "--python", str(PYTHON), "--no-deps", "--require-hashes", "-r", str(lock))


def _has_installer() -> bool:
    pins = re.findall(r"^uv==([\w.]+)", INSTALLER_LOCK.read_text(), re.MULTILINE)
    return f"uv-{pins[0]}.dist-info" in installed()


def _pip() -> list[str] | None:
    """Return the command that is pip for .venv, None if only uv is there; raise Failure if there is neither."""
    of_base = [BASE_PYTHON, "-m", "pip", "--python", str(PYTHON)]
    if _run(*of_base[:3], "--version") is None:
        return of_base
    if _run(BASE_PYTHON, "-m", "ensurepip", "--version") is None:
        subprocess.run([PYTHON, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
        return [str(PYTHON), "-m", "pip"]
    if shutil.which("uv"):
        return None
    if debian.has_apt() and BASE_PYTHON.startswith("/usr/bin/"):
        # In one go with what the bundled model needs: one list to fetch, one command to type.
        debian.install("python3-pip", *debian.missing_libraries(debian.LIBRARIES), reason="This Python has no pip.")
        return of_base
    raise Failure(f"{BASE_PYTHON} has no pip, and there is no uv. Install one of them and start again.")


def _run(*command: str) -> str | None:
    """Run a command; return None, or the end of what it said of its failure."""
    result = run(*command, env=variables() | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return None if result.returncode == 0 else last_lines(result.stdout, 12) or f"{command[0]} failed."
