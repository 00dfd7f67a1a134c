"""What processes cost, read from /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # a second of CPU
_PARENT, _USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 1, 11, 12, 13, 14  # of /proc/PID/stat, after the name


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children have used, those that have ended included."""
    fields = _stat(pid)
    own = sum(int(fields[place]) for place in (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM)) / TICKS
    return own + sum(cpu_seconds(child) for child in children(pid))


def machine_seconds() -> float:
    """Return the CPU time that all processes of the machine have used, and that its host took away."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / TICKS


def memory_kib(pid: int, kind: str = "Pss") -> int:
    """Return the proportional set size of a process, or another `kind` that the kernel tells: `Rss`."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    raise ValueError(f"the kernel does not tell how large process {pid} is")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent(pid: int) -> int:
    return int(_stat(pid)[_PARENT])


def pin(pids: Iterable[int], cores: set[int]) -> None:
    """Have the processes, their threads and their children run on `cores` alone."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread), cores)
        pin(children(pid), cores)


def _stat(pid: int) -> list[str]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["0"] * 15
