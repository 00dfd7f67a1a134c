"""Install system packages, where that can be done without asking anybody: as root on Debian and its kin."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from launch.console import Failure, last_lines, step

# What wheels leave to the system, and who has it: for the bundled model's engine, and for Playwright's Node.
LIBRARIES = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6"}
LIBRARIES_OF_TESTS = {**LIBRARIES, "libatomic.so.1": "libatomic1"}

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def missing_libraries(libraries: dict[str, str]) -> list[str]:
    """Return the packages of those libraries that this machine does not have."""
    return [package for library, package in libraries.items() if not _can_be_loaded(library)]


def install(*packages: str, reason: str) -> None:
    """Install packages, or raise Failure with what to type."""
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        raise Failure(f"{reason} Type `sudo {command}` and start again.")
    with step(f"{reason} Installing {' '.join(packages)} with apt-get"):
        # Lists that are missing or old name files that are not there (any more). Without a network the packages may
        # be there all the same.
        _apt_get("update", "-q")
        code, output = _apt_get("install", "-q", "-y", "--no-install-recommends", *packages)
    if code != 0:
        raise Failure(f"{last_lines(output)}\nThat failed. Type `{command}` to see all of it, and start again.")


def unpack(package: str, folder: Path, *, reason: str) -> None:
    """Take the files of a package out into `folder` without installing it: none of its services is started."""
    with step(f"{reason} Fetching {package} with apt-get"), tempfile.TemporaryDirectory() as download:
        code, output = _apt_get("download", "-q", package, folder=download)
        if code != 0:
            _apt_get("update", "-q")
            code, output = _apt_get("download", "-q", package, folder=download)
        if code == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for archive in Path(download).glob("*.deb"):
                code |= subprocess.run(["dpkg", "-x", archive, folder], check=False).returncode
    if code != 0:
        raise Failure(f"{last_lines(output)}\nThat failed. Install {package}, and start again.")


def _can_be_loaded(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _apt_get(*arguments: str, folder: str | None = None) -> tuple[int, str]:
    """Run apt-get to its end; return its exit code and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ["apt-get", *arguments],
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # out of reach of Ctrl-C: packages that are half configured need repair
        )
        try:
            process.wait()
        except BaseException:
            process.wait()
            raise
        output.seek(0)
        return process.returncode, output.read()
