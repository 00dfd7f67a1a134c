"""Run the command again with a newer Python where this one is too old, or say what to install.

Any Python 3 must be able to read this file, and the command that imports it.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NEWER = ["python3.14", "python3.13", "python3.12", "python3.11"]


def require():  # type: ignore[no-untyped-def]  # older Pythons read this
    """Return if this Python will do; otherwise replace this process, or exit with the advice."""
    if os.name != "posix":
        sys.exit("Parley runs on Linux and macOS. On Windows, run it inside WSL.")
    if sys.version_info >= OLDEST:
        return
    for name in NEWER:
        path = shutil.which(name)
        # A version manager's placeholder is found too, and runs nothing.
        if path and subprocess.call([path, "-c", "import venv"], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path] + sys.argv)  # noqa: RUF005, S606
    sys.exit(
        "Parley needs Python 3.11 or newer, and this is Python %d.%d. Install a newer one "  # noqa: UP031
        "(on Debian 12 and Ubuntu 24.04: apt-get install python3) and start again." % sys.version_info[:2]
    )
