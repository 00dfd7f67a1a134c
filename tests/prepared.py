"""What costs seconds of CPU is made once in a run of the tests, by whichever worker asks first.

To migrate everything and to collect the static files costs five of them. Sites, starts, the kill harness and the
databases of several workers begin with a copy of a data folder as `manage.py prepare` leaves it; all may share its
static files. tests/services.py has the like for PostgreSQL.
"""

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parent.parent
VARIABLE = "PARLEY_TEST_PREPARED"  # workers and processes below them inherit it

if VARIABLE not in os.environ:
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="parley-prepared-")
    atexit.register(shutil.rmtree, os.environ[VARIABLE], ignore_errors=True)


def outside() -> dict[str, str]:
    """The environment without what configures a Parley."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))}


def copy_to(data: Path) -> None:
    """Have a data folder begin as a prepared one, but for the static files, which are in `static()`."""
    shutil.copytree(prepared(), data, ignore=shutil.ignore_patterns("static"), dirs_exist_ok=True)


def static() -> str:
    """Return what PARLEY_STATIC_DIR may be where the static files themselves are not looked at."""
    return str(prepared() / "static")


def prepared() -> Path:
    """Return the folder itself: nobody may write to it."""
    return once("data", lambda data: manage("prepare", PARLEY_DATA_DIR=str(data)))


def manage(command: str, **environment: str) -> None:
    inherited = {name: value for name, value in outside().items() if name != "DATABASE_URL"}
    subprocess.run([sys.executable, "manage.py", command], cwd=PROJECT, env={**inherited, **environment}, check=True)


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` has filled, now or before."""
    folder = Path(os.environ[VARIABLE])
    made, done = folder / name, folder / f"{name}.done"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            made.mkdir(exist_ok=True)
            make(made)
            done.touch()
    return made
