"""The models that come with Parley: which of them this machine can run, and their servers."""

import hashlib
import os
import socket
import subprocess
import time
from pathlib import Path

from launch import debian
from launch.children import Child
from launch.console import Failure, last_lines, say, step
from launch.environment import PYTHON, ROOT, VENV, installed, variables

MODELS = ROOT / "models"
TITLES = {"smollm2": "SmolLM2", "summary": "Summary"}
LOOPBACK = "127.0.0.1"

CHECKED = "smollm2"  # it needs a certain kind of processor; the others need Cog alone
CHECK_PASSED = VENV / "smollm2.stamp"


class Model(Child):
    """The server of a bundled model: started again when it dies, but not for ever."""

    PAUSES = (1.0, 5.0, 30.0)  # seconds before each attempt to start it again
    GOOD_WHILE = 600.0  # seconds; who ran so long may die as often as if it were new

    def __init__(self, name: str, logs: Path) -> None:
        port = _free_port()
        super().__init__(
            [str(PYTHON), str(MODELS / "serve.py"), name, "--port", str(port), "--parent", str(os.getpid())],
            env=variables(),
            folder=MODELS,
            log=logs / f"{name}.log",
        )
        self.name = name
        self.title = TITLES.get(name, name)
        self.url = f"http://{LOOPBACK}:{port}"
        self._deaths = 0
        self._started_at = 0.0
        self._restart_at: float | None = None
        self._is_given_up = False

    def start(self, *, stdout: int | None = None) -> None:
        self._restart_at = None
        self._started_at = time.monotonic()
        super().start(stdout=stdout)

    def look_after(self) -> str | None:
        """Start a dead server again when its time has come; return what there is to tell a person."""
        if self._is_given_up:
            return None
        if self._restart_at is not None:
            if time.monotonic() >= self._restart_at:
                self.start()
            return None
        code = self.exit_code()
        return None if code is None else self._mourn(code)

    def next_look(self) -> float | None:
        """Return in how many seconds it must be looked after, if that is known."""
        return None if self._restart_at is None else max(0.0, self._restart_at - time.monotonic())

    def _mourn(self, code: int) -> str:
        if time.monotonic() - self._started_at > self.GOOD_WHILE:
            self._deaths = 0
        self._deaths += 1
        reason = f"{self.title} ended (exit code {code}): {self.last_words()}"
        if self._deaths > len(self.PAUSES):
            self._is_given_up = True
            return f"{reason}\nThat was too often: Parley goes on without it. {self.log} says more."
        pause = self.PAUSES[self._deaths - 1]
        self._restart_at = time.monotonic() + pause
        return f"{reason}\nIt is started again in {pause:.0f} s."


def models_that_run() -> list[str]:
    """Return the names of the models that this machine can run; say why one cannot."""
    names = sorted(path.parent.name for path in MODELS.glob("*/cog.yaml"))
    if CHECKED in names and (reason := _reason_not_to_run()):
        say(f"{reason}\nParley starts without {TITLES[CHECKED]}.")
        names.remove(CHECKED)
    # Its wheels exist for some platforms only; the lock file leaves it out on the others.
    has_cog = any(VENV.glob("lib/python3*/site-packages/cog"))
    return names if has_cog else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _reason_not_to_run() -> str | None:
    """Try to load the model, once for each processor and set of packages: it takes a second."""
    if problem := _install_libraries():
        return problem
    stamp = _stamp()
    if CHECK_PASSED.exists() and CHECK_PASSED.read_text() == stamp:
        return None
    with step(f"Trying whether this machine can run {TITLES[CHECKED]}"):
        result = subprocess.run(
            [PYTHON, MODELS / "platform_check.py"], env=variables(), capture_output=True, text=True, check=False
        )
    if result.returncode == 0:
        CHECK_PASSED.write_text(stamp)
        return None
    return result.stdout.strip() or f"The bundled model could not be tried: {last_lines(result.stderr, 1)}"


def _install_libraries() -> str | None:
    """Have the libraries of its engine; return what to type where that cannot be done here."""
    missing = debian.missing_libraries(debian.LIBRARIES)
    if missing and debian.has_apt():
        try:
            debian.install(*missing, reason=f"{TITLES[CHECKED]} needs {' and '.join(missing)}.")
        except Failure as failure:
            return str(failure)
    return None


def _stamp() -> str:
    sources = [path.read_text() for path in (MODELS / "platform_check.py", MODELS / CHECKED / "engine.py")]
    return hashlib.sha256("\n".join([_processor(), *sources, *installed()]).encode()).hexdigest()


def _processor() -> str:
    """Return what the processor can do, where the system says so."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")
