#!/usr/bin/env python3
"""Serve a model as a real Cog server, without a container: `python models/serve.py smollm2 --port 5101`.

A model is one of the bundled ones, or any folder with a cog.yaml whose predictor is `predict.py:Runner`.

The first line on standard output is `smollm2: http://127.0.0.1:5101`; the server is ready when `/health-check`
there says `READY`, which takes one second. Its log goes to standard error. The server and its worker are processes
of their own, and end with this one, whether it is ended by Ctrl-C, SIGTERM or SIGKILL. Needs nothing but the
standard library.
"""

import argparse
import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

MODELS = Path(__file__).resolve().parent
HOST = "127.0.0.1"  # a Cog server asks nobody who he is; it is Parley that is reached from outside
# What the server inherits. The tokens and passwords of Parley are none of its business.
INHERITED = {"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "TZ", "USER"}
INHERITED_PREFIXES = ("LC_", "COG_", "OMP_", "GOMP_")
# Cog keeps a folder for each prediction here, wherever the temporary files are, and never removes one.
FOLDERS = Path("/tmp/coglet/predictions")  # noqa: S108
FOLDER_LIFE = 3600  # seconds; no prediction takes so long
WATCH = 2  # seconds between two looks at the server's health
STUCK = 120  # seconds that a busy server may do nothing; a Summary that takes its time takes one minute
IDLE = 1  # tenths of a second of work between two looks; to be asked how it is costs a server that much
GRACE = 3  # seconds to end in good order; now and then a worker hangs instead, and would outlive its server
PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def models() -> list[str]:
    """Return the names of the bundled models."""
    return sorted(path.parent.name for path in MODELS.glob("*/cog.yaml"))


def folder_of(model: str) -> Path:
    """Return the folder of a bundled model, or of the one that lies at that path."""
    folder = MODELS / model if model in models() else Path(model).resolve()
    if not (folder / "cog.yaml").is_file():
        raise argparse.ArgumentTypeError(f"there is no model {model!r}: name {', '.join(models())} or a model's folder")
    return folder


def usable_port(port: int = 0) -> int:
    """Return `port`, or a free one for 0; raise OSError when something listens there already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        return listener.getsockname()[1]


def environment(port: int, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that the server is started with."""
    kept = {name: inherited[name] for name in inherited if name in INHERITED or name.startswith(INHERITED_PREFIXES)}
    return {
        "COG_LOG_LEVEL": "info",
        "LOG_FORMAT": "console",
        "NO_COLOR": "1",
        **kept,
        # The server starts its worker as `python`. If that is another one, the server stays STARTING for ever.
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), inherited.get("PATH", os.defpath)]),
        "COG_PREDICT_TYPE_STUB": "predict.py:Runner",
        "PORT": str(port),
    }


def prepare_folders() -> None:
    """Make Cog's folders usable; raise PermissionError when they belong to somebody else.

    Cog would start all the same, fail at its first prediction and call itself busy from then on.
    """
    for folder in (FOLDERS.parent, FOLDERS):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o1777)  # as /tmp: other people of this machine may run Cog too
    if not os.access(FOLDERS, os.W_OK | os.X_OK):
        raise PermissionError(f"Cog writes to {FOLDERS}, which another user of this machine has closed to you.")
    for folder in FOLDERS.iterdir():
        _remove_if_left_behind(folder)


def end_with(parent: int) -> None:
    """Have this process get SIGTERM when its parent ends, by whatever; exit if that has happened already.

    Strictly, when that thread of the parent ends which has started this process: let it be the main one.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Serve a model as a real Cog server, without a container.")
    parser.add_argument("model", type=folder_of, help=f"{', '.join(models())}, or a folder with a cog.yaml")
    parser.add_argument("--port", type=int, default=0, help="where to listen; a free one if it is 0 or not given")
    parser.add_argument("--parent", type=int, help="the process that started this one; they end together")
    options = parser.parse_args(arguments)
    if options.parent:
        end_with(options.parent)
    try:
        port = usable_port(options.port)
    except (OSError, OverflowError) as error:
        sys.exit(f"{options.model.name} cannot be served on port {options.port}: {error}")
    try:
        prepare_folders()
    except OSError as error:
        sys.exit(f"{options.model.name} cannot be served: {error}")
    print(f"{options.model.name}: http://{HOST}:{port}", flush=True)
    sys.exit(_serve(options.model, port))


def _serve(folder: Path, port: int) -> int:
    """Run the server until it ends or this process is asked to; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # the same as Ctrl-C
    server = None
    try:
        while True:
            server = _start(folder, port)
            watch = Watch(lambda: _status(port), partial(_cpu_time, server.pid))
            while (trouble := watch.look()) is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return abs(server.wait(WATCH))
            print(f"{folder.name}: {trouble}; starting it again.", file=sys.stderr, flush=True)
            _stop(server)
    except KeyboardInterrupt:
        if server:
            _stop(server)
        return 0


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cog.server.http", "--host", HOST],
        cwd=folder,
        env=environment(port),
        umask=0o077,
        # Ctrl-C goes to all processes of a terminal, which the worker and its server do not take well.
        start_new_session=True,
        preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 (there are no threads here)
    )


class Watch:
    """Notices a server that answers that it is busy, for ever: its worker has crashed, or a lost cancel holds it."""

    def __init__(self, status: Callable[[], str], cpu_time: Callable[[], int]) -> None:
        self._status = status
        self._cpu_time = cpu_time
        self._worked = 0  # the CPU time at the last look
        self._idle_looks = 0

    def look(self) -> str | None:
        """Say what is wrong with the server, if anything; to be called each `WATCH` seconds."""
        status = self._status()
        if status == "UNHEALTHY":
            return "its worker has died"
        worked = self._cpu_time() if status == "BUSY" else 0
        is_idle = status == "BUSY" and worked - self._worked <= IDLE
        self._idle_looks = self._idle_looks + 1 if is_idle else 0
        self._worked = worked
        return "it is busy and does nothing" if self._idle_looks * WATCH > STUCK else None


def _status(port: int) -> str:
    """Ask the server for its health; nothing while it does not listen, or not any more."""
    connection = http.client.HTTPConnection(HOST, port, timeout=WATCH)
    try:
        connection.request("GET", "/health-check")
        return json.loads(connection.getresponse().read())["status"]
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _cpu_time(group: int) -> int:
    """Tell how long the processes that a group's first one made have worked, in tenths of a second.

    The first one is the server itself, which works a little for everybody who asks how it is.
    """
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and stat.parent.name != str(group):
                ticks += int(fields[11]) + int(fields[12])
    return ticks * 10 // os.sysconf("SC_CLK_TCK")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    # A second Ctrl-C means: at once.
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        server.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _remove_if_left_behind(folder: Path) -> None:
    # Only empty folders can be removed so; those of other people cannot.
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > FOLDER_LIFE:
            for inner in folder.iterdir():
                inner.rmdir()
            folder.rmdir()


if __name__ == "__main__":
    main()
