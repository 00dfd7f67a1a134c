"""Become another program, one that ends when the process that started it ends, even by SIGKILL.

python tied.py [--signal NAME] [--user ID] PARENT PROGRAM [ARGUMENT ...]

PARENT is the process id of the starter. Linux does it by a signal that the kernel sends; elsewhere the program
runs untied.
"""

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signal", default="TERM", help="what the program is sent then")
    parser.add_argument("--user", type=int, help="whom to run the program as; only root can say")
    parser.add_argument("parent", type=int)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.user is not None:
        _become(options.user)
    # After the change of user, which would undo it.
    _tie(options.parent, signal.Signals[f"SIG{options.signal}"])
    os.execvp(options.program[0], options.program)  # noqa: S606 - no shell is wanted


def _become(user: int) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def _tie(parent: int, number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it has ended already
        sys.exit(0)


if __name__ == "__main__":
    main()
