"""Programs that run no longer than `bin/start` does, each with a log file of bounded size."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

LOG_LIMIT = 5_000_000  # bytes; then the log begins anew and the old one is kept beside it
LAST_WORDS = 4_000  # bytes at the end of a log in which its last line is looked for


class Child:
    """One program. It has a session of its own, so that the terminal's signals reach the starter alone."""

    def __init__(self, command: list[str], *, env: dict[str, str], folder: Path, log: Path) -> None:
        self.log = log
        self._command = command
        self._env = env
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0  # where the words of this run begin

    def start(self, *, stdout: int | None = None) -> None:
        """Start the program; its standard output goes to the log, like its errors, unless `stdout` says otherwise."""
        self.trim_log()
        # Appending, so that what is written after the log was trimmed lands at its new end.
        with self.log.open("ab") as log:
            self._log_offset = log.tell()
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Return the exit code as a shell tells it (128 and more for signals), or None while the program runs."""
        code = self._process.poll() if self._process else 0
        return 128 - code if code is not None and code < 0 else code

    def ask_to_end(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def wait(self, patience: float) -> None:
        """Wait for the end; after `patience` seconds end the program and all it started by force."""
        if self._process is None:
            return
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the last line that the program wrote to its log: why it ended is usually there."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_offset, os.fstat(log.fileno()).st_size - LAST_WORDS))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it did not say why"

    def trim_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".old.log"))
            os.truncate(self.log, 0)
            self._log_offset = 0
