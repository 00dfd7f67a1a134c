"""Settings are what their table says: each variable that is read has a row, and each row a reader."""

import ast
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment
from config.environment import Environment, make_folder, read_or_make, secret
from tests.prepared import outside
from tests.waiting import WAIT_LIMIT

PROJECT = Path(__file__).parent.parent
PROGRAMS = [PROJECT / "manage.py", *(PROJECT / "bin").glob("[!.]*")]
ROOMS = ("bin/launch", "chat", "config", "models", "predictions")
NOT_OURS = {"PATH", "DJANGO_SETTINGS_MODULE"}  # read for the sake of what is started, or as of any Django project
ROW = re.compile(r"^\| `([A-Z_]+)`( †)? \|", re.MULTILINE)
VARIABLE_OF_SHELL = re.compile(r"\$\{?([A-Z_]+)")


def sources() -> Iterator[Path]:
    yield from (path for path in PROGRAMS if path.is_file())
    for room in ROOMS:
        yield from (PROJECT / room).rglob("*.py")


def names_read(source: str) -> Iterator[tuple[str, bool]]:
    """Yield each variable that Python code reads, and whether as a secret."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name("secret"), args=[ast.Constant(str(name)), *_]):
                yield name, True
            case ast.Call(func=ast.Attribute(ast.Name("env")), args=[ast.Constant(str(name)), *_]) if name.isupper():
                yield name, False
            case ast.Call(
                func=ast.Attribute(ast.Attribute(attr="environ"), "get" | "pop"), args=[ast.Constant(str(name)), *_]
            ):
                yield name, False
            case ast.Call(func=ast.Attribute(attr="getenv"), args=[ast.Constant(str(name)), *_]):
                yield name, False
            case ast.Subscript(ast.Attribute(attr="environ"), ast.Constant(str(name)), ast.Load()):
                yield name, False


def test_each_variable_that_is_read_has_a_row_and_each_row_a_reader() -> None:
    read = {name: is_secret for path in sources() for name, is_secret in names_read(path.read_text())}
    read |= dict.fromkeys(VARIABLE_OF_SHELL.findall((PROJECT / "Procfile").read_text()), False)
    rows = {name: bool(mark) for name, mark in ROW.findall((PROJECT / "docs/settings.md").read_text())}

    assert {name: read[name] for name in read.keys() - NOT_OURS} == rows


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("int", "100MB", "LIMIT is '100MB'; it must be a whole number."),
        ("float", "two", "it must be a number."),
        ("bool", "ture", "it must be true or false."),
        ("dict", "http://host", "it must be a list of name=value."),
    ],
)
def test_a_value_of_another_kind_is_an_error_in_words(kind: str, value: str, words: str) -> None:
    env = Environment()
    env.ENVIRON = {"LIMIT": value}
    with pytest.raises(ImproperlyConfigured, match=words):
        getattr(env, kind)("LIMIT", default=None)

    env.ENVIRON = {"LIMIT": " "}
    assert getattr(env, kind)("LIMIT", default="not set") == "not set"


def test_folders_that_are_set_to_nothing_are_where_they_are_otherwise(tmp_path: Path) -> None:
    def folders(**variables: str) -> list[str]:
        program = "import config.settings as s; print(s.DATA_DIR, s.STATIC_ROOT)"
        env = outside() | variables
        return subprocess.check_output([sys.executable, "-c", program], cwd=copy, env=env, text=True).split()

    copy = tmp_path / "parley"
    shutil.copytree(PROJECT / "config", copy / "config")
    shutil.copytree(PROJECT / "predictions", copy / "predictions")

    assert folders(PARLEY_DATA_DIR="", PARLEY_STATIC_DIR="") == [str(copy / "var"), str(copy / "var/static")]


# ---------------------------------------------------------------- mounted secrets


def test_secrets_may_be_in_files(tmp_path: Path) -> None:
    contents = {"SECRET_KEY": "$it is; in a file", "DATABASE_URL": "postgres://ada:pa$s@db/parley", "REDIS_URL": "r"}
    for name, content in contents.items():
        (tmp_path / name).write_text(f"{content}\n")
    told = subprocess.run(
        [sys.executable, "-c", "from config.settings import *; print(SECRET_KEY, DATABASES, REDIS_URL)"],
        cwd=PROJECT,
        # Compose hands an empty variable on where nobody has set it.
        env=outside()
        | {"REDIS_URL": "", "PARLEY_DATA_DIR": str(tmp_path)}
        | {f"{name}_FILE": str(tmp_path / name) for name in contents},
        text=True,
        capture_output=True,
        check=True,
    )

    assert told.stdout.startswith("$it is; in a file {")
    assert "'PASSWORD': 'pa$s'" in told.stdout
    assert told.stdout.endswith("} r\n")


@pytest.mark.parametrize(
    ("content", "value", "words"),
    [
        (b"one", "another", "TOKEN and TOKEN_FILE are both set"),
        (None, "", "cannot be read: No such file or directory"),
        (b" \n", "", "which is empty"),
        (b"\xff\xfe", "", "which is not a text"),
        (b"x" * 70_000, "", "which is longer than any secret"),
    ],
)
def test_a_file_that_holds_no_secret_is_an_error_in_words(
    content: bytes | None, value: str, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)

    with pytest.raises(ImproperlyConfigured, match=words):
        secret("TOKEN", {"TOKEN": value, "TOKEN_FILE": str(tmp_path / "secret")})


def test_processes_that_start_at_the_same_moment_have_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "key"

    def slowly() -> str:
        reader.start()
        return "made once"

    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(read_or_make(path)))
    made = read_or_make(path, slowly)
    reader.join(WAIT_LIMIT)

    assert [made, *read] == ["made once", "made once"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_that_was_never_written_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch()
    monkeypatch.setattr(environment, "PAUSE", 0)

    with pytest.raises(ImproperlyConfigured, match="is empty"):
        read_or_make(tmp_path / "key")


def test_a_folder_or_a_key_that_is_not_ours_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "key").mkdir()

    with pytest.raises(ImproperlyConfigured, match=r"PARLEY_DATA_DIR is .*: Not a directory\. Name another"):
        make_folder(tmp_path / "file" / "data", "PARLEY_DATA_DIR")
    with pytest.raises(ImproperlyConfigured, match="cannot be used: Not a directory"):
        read_or_make(tmp_path / "file" / "key")
    with pytest.raises(ImproperlyConfigured, match="cannot be used: Is a directory"):
        read_or_make(tmp_path / "key")
