"""The very end of a process."""

import signal


def ignore_signals() -> None:
    """Ignore what would end this process: Python drops its own handlers while it ends, and a late signal would kill it.

    Whoever watches it would take that for a crash.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
