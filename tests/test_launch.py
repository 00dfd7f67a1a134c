"""The parts of bin/: what is installed and when, which models are run, what `bin/test` says last."""

import ast
import base64
import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bin"))

from launch import bundled, checks, children, debian, environment, python_version  # noqa: E402
from launch.console import Failure  # noqa: E402

UV = Path(sys.executable).with_name("uv")


def make_wheel(folder: Path, name: str, version: str = "1.0") -> str:
    """Make a package with one module; return its line for a lock file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return f"{name} @ {path.as_uri()} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file that names one package, and nothing installed yet."""
    path = tmp_path / "requirements.lock"
    path.write_text(make_wheel(tmp_path, "greeting"))
    return path


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages are installed to, by the `uv` of this very environment: no network is needed."""
    folder = tmp_path / ".venv"
    monkeypatch.setattr(environment, "VENV", folder)
    monkeypatch.setattr(environment, "BIN", folder / "bin")
    monkeypatch.setattr(environment, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(environment, "MARK", folder / "being-installed")
    monkeypatch.setattr(environment, "_pip", lambda: None)
    monkeypatch.setenv("PATH", os.pathsep.join([str(UV.parent), os.environ["PATH"]]))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert UV.exists(), "bin/test installs it"
    return folder


def has(venv: Path, file: str) -> bool:
    return any(venv.glob(f"lib/python3*/site-packages/{file}"))


def mark_as_seen(venv: Path) -> Path:
    """Leave a file that goes when .venv is made anew."""
    seen = venv / "seen"
    seen.touch()
    return seen


def test_what_the_lock_names_is_installed_once(venv: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.prepare(lock)
    assert has(venv, "greeting.py")

    monkeypatch.setattr(environment, "run", None)  # nothing is run
    environment.prepare(lock)


def test_another_lock_is_installed_beside_the_first(venv: Path, lock: Path, tmp_path: Path) -> None:
    environment.prepare(lock)
    seen = mark_as_seen(venv)
    tests = tmp_path / "requirements-dev.lock"
    tests.write_text(lock.read_text() + make_wheel(tmp_path, "testing"))

    environment.prepare(tests)
    environment.prepare(lock)

    assert has(venv, "testing.py")
    assert seen.exists()


def test_changed_lock_is_installed(venv: Path, lock: Path, tmp_path: Path) -> None:
    environment.prepare(lock)
    seen = mark_as_seen(venv)
    lock.write_text(make_wheel(tmp_path, "greeting", "2.0"))

    environment.prepare(lock)

    assert has(venv, "greeting-2.0.dist-info")
    assert not has(venv, "greeting-1.0.dist-info")
    assert seen.exists()


def test_interrupted_installation_is_made_anew(venv: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*command: str, env: dict[str, str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environment.prepare(lock)
    seen = mark_as_seen(venv)

    environment.prepare(lock)

    assert has(venv, "greeting.py")
    assert not seen.exists()


def test_environment_whose_python_is_gone_is_made_anew(venv: Path, lock: Path) -> None:
    environment.prepare(lock)
    seen = mark_as_seen(venv)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/nowhere/python3")

    environment.prepare(lock)

    assert has(venv, "greeting.py")
    assert not seen.exists()


def test_environment_of_another_python_is_made_anew(venv: Path, lock: Path) -> None:
    environment.prepare(lock)
    library = next((venv / "lib").glob("python3*"))
    library.rename(library.with_name("python3.99"))
    # It holds for one interpreter: the program that `python` leads to, and its time.
    (venv / "requirements.stamp").unlink()

    environment.prepare(lock)

    assert has(venv, "greeting.py")
    assert not (venv / "lib" / "python3.99").exists()


def test_package_that_was_removed_is_installed_again(venv: Path, lock: Path) -> None:
    environment.prepare(lock)
    for path in venv.glob("lib/python3*/site-packages/greeting*"):
        path.unlink() if path.is_file() else path.rename(path.with_suffix(".gone"))

    environment.prepare(lock)

    assert has(venv, "greeting.py")


def test_package_with_another_hash_is_refused_and_told(venv: Path, lock: Path) -> None:
    good = lock.read_text()
    lock.write_text(good.rpartition(":")[0] + ":" + "0" * 64 + "\n")

    with pytest.raises(Failure, match=r"(?s)[Hh]ash.*could not be installed") as failure:
        environment.prepare(lock)
    lock.write_text(good)
    environment.prepare(lock)

    assert "Traceback" not in str(failure.value)
    assert has(venv, "greeting.py")


def test_two_starts_at_once_install_once(venv: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install, installations = environment._install, []
    monkeypatch.setattr(environment, "_install", lambda lock: (installations.append(lock), install(lock)))
    threads = [threading.Thread(target=environment.prepare, args=[lock]) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert installations == [lock]
    assert has(venv, "greeting.py")


def test_machine_without_pip_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_run", lambda *command: "No module named pip")
    monkeypatch.setattr(environment, "BASE_PYTHON", "/usr/bin/python3")
    monkeypatch.setattr(environment.shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    monkeypatch.setattr(debian, "_can_be_loaded", lambda library: library != "libgomp.so.1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(
        Failure, match="Type `sudo apt-get install --no-install-recommends python3-pip libgomp1` and start"
    ):
        environment._pip()


def test_a_package_that_cannot_be_fetched_is_named_after_the_lists_were_renewed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def apt_get(*arguments: str, folder: str | None = None) -> tuple[int, str]:
        asked.append(arguments[0])
        return 100, "E: Unable to locate package"

    monkeypatch.setattr(debian, "_apt_get", apt_get)

    with pytest.raises(Failure, match=r"Unable to locate package\n.*Install nginx, and start again\."):
        debian.unpack("nginx", tmp_path / "nginx", reason="A proxy is needed.")
    assert asked == ["download", "update", "download"]
    assert not (tmp_path / "nginx").exists()


def test_every_package_of_the_run_is_in_the_tests_in_the_same_version() -> None:
    def pins(name: str) -> set[str]:
        return {line.split()[0] for line in (ROOT / name).read_text().splitlines() if "==" in line.split(" ")[0]}

    assert len(pins("requirements.lock")) > 30
    assert pins("requirements.lock") <= pins("requirements-dev.lock")


# ---------------------------------------------------------------- an older Python


@pytest.mark.parametrize("path", ["bin/start", "bin/test", "bin/launch/__init__.py", "bin/launch/python_version.py"])
def test_older_pythons_can_read_what_they_come_across(path: str) -> None:
    ast.parse((ROOT / path).read_text(), feature_version=(3, 4))


def test_newer_python_on_the_path_is_run_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for name, code in {"python3.13": 127, "python3.12": 0}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(sys, "argv", ["bin/start", "--port", "1"])
    monkeypatch.setattr(os, "execv", lambda path, arguments: runs.append((path, arguments)))

    with pytest.raises(SystemExit, match=r"Parley needs Python 3\.11 or newer, and this is Python 3\.9\."):
        python_version.require()  # execv does not return in life

    newer = str(tmp_path / "python3.12")
    assert runs == [(newer, [newer, "bin/start", "--port", "1"])]


# ---------------------------------------------------------------- children


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bundled.Model:
    """A bundled model whose server says why it cannot run, and ends."""
    monkeypatch.setattr(bundled.Model, "PAUSES", (0.0, 0.0))
    model = bundled.Model("smollm2", tmp_path)
    program = "import sys; sys.exit('Setup complete\\nno memory left')"
    model._command = [sys.executable, "-c", program]
    return model


def test_model_that_dies_again_and_again_is_given_up(model: bundled.Model) -> None:
    model.start()
    told = []
    for _ in range(3):
        model.wait(10)
        told.append(model.look_after())
        assert model.look_after() is None

    assert told[0] == told[1] == "SmolLM2 ended (exit code 1): no memory left\nIt is started again in 0 s."
    assert told[2] is not None
    assert "Parley goes on without it." in told[2]
    assert model.next_look() is None


def test_log_does_not_grow_for_ever(model: bundled.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LOG_LIMIT", 10)

    model.start()
    model.wait(10)
    first = model.log.read_text()
    model.start()
    model.wait(10)

    assert "no memory left" in first
    assert model.log.read_text() == first
    assert model.log.with_suffix(".old.log").read_text() == first


@pytest.mark.parametrize(
    ("reason", "packages", "names"),
    [("", ["cog"], ["smollm2", "summary"]), ("It lacks AVX2.", ["cog"], ["summary"]), ("This is an Arm.", [], [])],
)
def test_models_that_cannot_run_here_are_left_out_and_told(
    reason: str, packages: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in packages:
        (tmp_path / "lib" / "python3.11" / "site-packages" / package).mkdir(parents=True)
    told: list[str] = []
    monkeypatch.setattr(bundled, "say", told.append)
    monkeypatch.setattr(bundled, "VENV", tmp_path)
    monkeypatch.setattr(bundled, "_reason_not_to_run", lambda: reason or None)

    assert bundled.models_that_run() == names

    assert told == ([f"{reason}\nParley starts without SmolLM2."] if reason else [])


def test_model_is_tried_once_for_a_processor_and_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    answers = [(1, "It lacks AVX2.\n"), (0, "It can run.\n")]

    def run(command: list[object], **options: object) -> SimpleNamespace:
        tries.append(command)
        code, output = answers[len(tries) - 1]
        return SimpleNamespace(returncode=code, stdout=output, stderr="")

    monkeypatch.setattr(bundled, "CHECK_PASSED", tmp_path / "stamp")
    monkeypatch.setattr(bundled.subprocess, "run", run)
    monkeypatch.setattr(bundled, "_install_libraries", lambda: None)

    assert bundled._reason_not_to_run() == "It lacks AVX2."
    assert bundled._reason_not_to_run() is None
    assert bundled._reason_not_to_run() is None
    assert len(tries) == 2


# ---------------------------------------------------------------- bin/test


def test_last_line_is_that_of_pytest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = "print('....'); print('== 4 passed in 0.1s ==')"
    monkeypatch.setattr(checks, "tied", lambda *command: [sys.executable, "-c", program])

    assert checks._run_pytest(dict(os.environ), []) == 0
    assert capsys.readouterr().out == "....\n== 4 passed in 0.1s ==\n"

    assert checks._run_pytest(dict(os.environ), ["mypy"]) == 1
    assert capsys.readouterr().out == "....\n✗ mypy failed; see above.\n== 4 passed in 0.1s ==\n"


def test_failed_tests_fail_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "tied", lambda *command: [sys.executable, "-c", "raise SystemExit(5)"])

    assert checks._run_pytest(dict(os.environ), []) == 1


def test_check_that_fails_shows_what_it_printed(capsys: pytest.CaptureFixture[str]) -> None:
    good = checks.Check("good", [sys.executable, "-c", "print('fine')"])
    bad = checks.Check("bad", [sys.executable, "-c", "print('line 3 is too long'); raise SystemExit(1)"])

    assert good.passes(dict(os.environ))
    assert not bad.passes(dict(os.environ))

    printed = capsys.readouterr().out
    assert "fine" not in printed
    assert "✓ good (" in printed
    assert "line 3 is too long\n✗ bad (" in printed


def test_every_check_is_run_though_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    run = []
    names = ["first", "second", "third"]
    monkeypatch.setattr(checks, "_install_system_packages", lambda: None)
    monkeypatch.setattr(checks, "_install_node_packages", lambda variables: None)
    monkeypatch.setattr(checks, "_checks", lambda: [checks.Check(name, []) for name in names])
    monkeypatch.setattr(
        checks.Check, "passes", lambda check, variables: run.append(check.name) or check.name != "second"
    )
    monkeypatch.setattr(checks, "_run_pytest", lambda variables, failed: run.append(failed) or 1)

    assert checks._run_all() == 1
    *checked, failed = run
    assert sorted(checked) == names
    assert failed == ["second"]


def test_terminal_that_is_gone_ends_nothing() -> None:
    program = "import sys; from launch.console import say; say('hello'); say('hello again'); sys.exit(7)"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        told = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT / "bin", stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)

    assert told.returncode == 7
    assert told.stderr == b""
