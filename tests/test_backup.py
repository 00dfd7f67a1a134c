"""The drill: a site is backed up while it runs, and put back into either kind of database."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from chat.models import Conversation, Message, SearchEntry, User
from predictions import backup, files
from predictions.models import Model, Prediction, Worker
from predictions.restore import NotRestored, verify
from tests.prepared import PROJECT, outside
from tests.services import real_postgres

pytestmark = pytest.mark.django_db(transaction=True)

YESTERDAY = {"chat": "0007_titles", "predictions": "0012_titles"}  # the last migrations it had
OF_TODAY = {"people", "account", "mfa", "socialaccount"}  # apps that it did not have
ODD = "Grüße 👋🏽 “quoted” \\ \t \u2028 end"


@pytest.fixture
def lived_in(model: Model, alice: User, charlie: User, settings: Any) -> Conversation:
    """A site with a bit of everything: text that is odd, times to the microsecond, files, groups, JSON."""
    team = Group.objects.create(name="team")
    alice.groups.add(team)
    model.groups.add(team)
    model.provider.keep_token("r8_CANARY")
    model.provider.save()
    conversation = Conversation.begin(alice, ODD, message_id=uuid.uuid4(), model=model)
    prediction = Prediction.objects.get()
    files.give(prediction, 0, "a picture.png", BytesIO(b"\x89PNG\r\n\x1a\n given"))
    Prediction.objects.update(status="succeeded", output=ODD * 200, completed_at=timezone.now())
    SearchEntry.note(Message.objects.exclude(prediction=None).get())
    return conversation


@pytest.fixture
def archive(lived_in: Conversation, tmp_path: Path) -> Path:
    path = tmp_path / "made" / "parley.zip"
    call_command("backup", str(path), stdout=StringIO())
    return path


def elsewhere(folder: Path, script: str, **environment: str) -> str:
    """Run a script in another data folder, over a database of its own; return what it prints."""
    inherited = {name: value for name, value in outside().items() if name != "DATABASE_URL"}
    told = subprocess.run(
        [sys.executable, "-c", BEFORE + script],
        cwd=PROJECT,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "config.settings", "PARLEY_DATA_DIR": str(folder), **environment},
        text=True,
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


BEFORE = """
import django
django.setup()
from django.core.management import CommandError, call_command
from django.db import connection
def run(*command):
    try:
        call_command(*command)
    except CommandError as error:
        print("refused:", error)
"""
AFTERWARDS = """
from chat.models import User
from chat.search import search
alice = User.objects.get(username="alice")
print("then:", User(username="dora").save() or User.objects.latest("pk").username,
      bool(search(alice, "quoted")), *alice.groups.order_by("name"))
"""


def changed(path: Path, change: Callable[[zipfile.ZipFile, str], bytes | None], **more: bytes) -> Path:
    """Copy an archive with members changed, left out or added."""
    copy = path.with_name(f"{uuid.uuid4()}.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            if (content := change(old, name)) is not None:
                new.writestr(name, content)
        for name, content in more.items():
            new.writestr(name, content)
    return copy


# ---------------------------------------------------------------- the drill


def test_a_backup_goes_into_postgresql_and_from_there_into_sqlite(archive: Path, tmp_path: Path) -> None:
    at_postgres, at_sqlite = tmp_path / "postgres.zip", tmp_path / "sqlite.zip"
    of_old = of_yesterday(archive)
    with real_postgres() as url:
        script = script_of(
            "connection.cursor().execute('CREATE TABLE orders (number int)')",
            f"run('restore', {str(of_old)!r})",
            "connection.cursor().execute('DROP TABLE orders')",
            f"run('restore', {str(of_old)!r})",
            AFTERWARDS,
            f"run('restore', {str(archive)!r})",
            f"run('restore', {str(archive)!r}, '--replace')",
            f"run('backup', {str(at_postgres)!r})",
            AFTERWARDS,
        )
        told = elsewhere(tmp_path / "one", script, DATABASE_URL=url)
    # New rows take numbers that are free, what was said is found, and people are not overwritten by mistake.
    assert told.count("then: dora True Everybody team") == 2, told
    assert told.count("refused: There are people in this database already.") == 1
    assert told.count("refused: There are tables in this database that are not Parley’s: orders.") == 1
    assert told.count("refused:") == 2

    script = script_of(
        f"run('restore', {str(at_postgres)!r})",
        f"run('restore', {str(with_a_row_twice(at_postgres))!r}, '--replace')",
        f"run('restore', {str(with_a_row_twice(of_yesterday(at_postgres)))!r}, '--replace')",
        f"run('backup', {str(at_sqlite)!r})",
        "open(f\"{connection.settings_dict['NAME']}.before-restore\", 'w').write('what was there at first')",
        f"run('restore', {str(of_old)!r}, '--replace')",
        AFTERWARDS,
    )
    told = elsewhere(tmp_path / "two", script)
    assert told.count("then: dora True Everybody team") == 1
    assert told.count("refused: Not everything could be put back: UNIQUE constraint") == 2
    # Whoever restores twice still has what was there before the first time.
    assert (tmp_path / "two/db.sqlite3.before-restore").read_text() == "what was there at first"
    assert told.count("refused:") == 3

    assert (verify(at_postgres).database, verify(at_sqlite).database) == ("postgresql", "sqlite")
    assert rows_of(archive) == rows_of(at_postgres) == rows_of(at_sqlite)
    assert files_of(archive) == files_of(at_postgres) == files_of(at_sqlite) != {}


def script_of(*lines: str) -> str:
    return "\n".join(lines)


def of_yesterday(path: Path) -> Path:
    """An archive as the version made it that knew fewer columns."""
    manifest = verify(path)
    had = {
        app: [name for name in names if name <= YESTERDAY.get(app, "~")]
        for app, names in manifest.migrations.items()
        if app not in OF_TODAY
    }
    then = MigrationLoader(connection).project_state([(app, names[-1]) for app, names in had.items()]).apps
    known = {model._meta.label: model for model in backup.kept(then)}
    contents, kept = {}, rows_of(path)
    for label in manifest.rows.keys() & known.keys():
        columns, *rows = kept[f"database/{label}.jsonl"]
        fields = {field.attname for field in known[label]._meta.concrete_fields}
        lines = [
            json.dumps([value for name, value in zip(columns, row, strict=True) if name in fields])
            for row in (columns, *rows)
        ]
        contents[f"database/{label}.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} | files_of(path)
    edit = edited(migrations=had, sha256=digests, rows={label: manifest.rows[label] for label in known})
    return changed(
        path, lambda old, name: contents.get(name) or (None if name.startswith("database/") else edit(old, name))
    )


def rows_of(path: Path) -> dict[str, list[Any]]:
    with zipfile.ZipFile(path) as archive:
        return {
            name: [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
            if name.startswith("database/")
        }


def files_of(path: Path) -> dict[str, str]:
    return {name: digest for name, digest in verify(path).sha256.items() if name.startswith("files/")}


def with_a_row_twice(path: Path) -> Path:
    """An archive that is whole, and that no database takes."""
    users, manifest = "database/chat.User.jsonl", verify(path)
    with zipfile.ZipFile(path) as whole:
        content = whole.read(users)
    content += content.splitlines(keepends=True)[-1]
    counts = manifest.rows | {"chat.User": manifest.rows["chat.User"] + 1}
    edit = edited(rows=counts, sha256=manifest.sha256 | {users: hashlib.sha256(content).hexdigest()})
    return changed(path, lambda old, name: content if name == users else edit(old, name))


def test_a_backup_is_of_one_moment_and_nobody_waits_for_it(
    lived_in: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_member, late = backup._write_member, []

    def write(archive: Any, manifest: Any, name: str, pieces: Any) -> int:
        if not late:
            late.append(threading.Thread(target=sign_up))
            late[0].start()
            late[0].join(20)
            assert not late[0].is_alive(), "somebody waits"
        return write_member(archive, manifest, name, pieces)

    def sign_up() -> None:
        User.objects.create_user("late")
        Group.objects.create(name="late")
        connections.close_all()

    monkeypatch.setattr(backup, "_write_member", write)
    before = User.objects.count(), Group.objects.count()
    # The first read of a snapshot is its moment.
    monkeypatch.setattr(backup, "kept", lambda known, kept=backup.kept: kept(known) if User.objects.count() else [])
    manifest = backup.write(tmp_path / "parley.zip")

    assert (manifest.rows["chat.User"], manifest.rows["auth.Group"]) == before
    assert User.objects.filter(username="late").exists()


def test_a_backup_has_the_files_and_no_key_no_session_and_no_token(
    archive: Path, lived_in: Conversation, settings: Any
) -> None:
    manifest = verify(archive)
    with zipfile.ZipFile(archive) as whole:
        everything = b"".join(whole.read(name) for name in whole.namelist())

    assert [name for name in manifest.sha256 if name.startswith("files/")]
    assert b"\x89PNG\r\n\x1a\n given" in everything
    assert "sessions.Session" not in manifest.rows
    assert b"CANARY" not in everything
    for secret in (settings.SECRET_KEY, *settings.ENCRYPTION_KEYS):
        assert secret.encode() not in everything
    assert os.stat(archive).st_mode & 0o077 == 0


def test_a_file_that_is_gone_is_told_and_keeps_nothing_from_being_backed_up(
    lived_in: Conversation, tmp_path: Path
) -> None:
    default_storage.delete(Prediction.objects.get().files.get().content.name)
    out = StringIO()
    call_command("backup", str(tmp_path / "parley.zip"), stdout=out)

    assert "1 files that the database names were not there." in out.getvalue()
    assert verify(tmp_path / "parley.zip").missing


def test_a_backup_that_breaks_off_leaves_the_last_one(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = archive.read_bytes()

    def no_room(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(backup, "_write_files", no_room)
    with pytest.raises(CommandError, match="No space left"):
        call_command("backup", str(archive), stdout=StringIO())

    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


# ---------------------------------------------------------------- what is refused


def edited(**changes: Any) -> Callable[[zipfile.ZipFile, str], bytes]:
    def change(archive: zipfile.ZipFile, name: str) -> bytes:
        content = archive.read(name)
        return json.dumps(json.loads(content) | changes).encode() if name == backup.MANIFEST else content

    return change


def test_damage_is_found_without_touching_anything(archive: Path) -> None:
    users = "database/chat.User.jsonl"
    cut = archive.with_name("cut.zip")
    cut.write_bytes(archive.read_bytes()[:-3_000])
    for damaged, words in (
        (changed(archive, lambda old, name: old.read(name).replace(b"alice", b"mallo")), f"{users} is not what was"),
        (cut, "is no whole backup"),
        (Path(__file__), "is no whole backup"),
        (archive.with_name("nothing"), "is no whole backup"),
    ):
        with pytest.raises(NotRestored, match=words):
            verify(damaged)
    for damaged, words in (
        (changed(archive, lambda old, name: None if name == users else old.read(name)), "not what its manifest names"),
        (changed(archive, edited(), **{"files/more": b""}), "not what its manifest names"),
        (changed(archive, edited(format=99)), "has format 99"),
        (changed(archive, edited(rows=verify(archive).rows | {"chat.User": 3})), "does not have the 3 rows"),
        (changed(archive, lambda old, name: b"[]" if name == backup.MANIFEST else old.read(name)), "is no whole"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("restore", str(damaged), verify=True, stdout=StringIO())

    assert User.objects.filter(username="alice").exists()


def test_damage_anywhere_is_told_in_words(archive: Path) -> None:
    """Bytes of a compressed member: what reads archives has an error of its own for many of them."""
    content = archive.read_bytes()
    with zipfile.ZipFile(archive) as whole:
        begin = whole.getinfo("database/chat.User.jsonl").header_offset
    end = content.index(b"PK\x03\x04", begin + 1)
    damaged, refused = archive.with_name("damaged.zip"), 0
    for place in range(begin, end):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            verify(damaged)  # some bytes tell nothing, such as a time
        except NotRestored:
            refused += 1

    assert refused > (end - begin) / 2


@pytest.mark.parametrize(
    "name", ["files/../../etc/passwd", "/etc/passwd", "files//etc", "files/c:\\x", "elsewhere/x", "files/a\\..\\b"]
)
def test_an_archive_with_a_path_outside_is_refused(name: str, archive: Path) -> None:
    digests = verify(archive).sha256 | {name: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}

    with pytest.raises(NotRestored, match="outside of its folders"):
        verify(changed(archive, edited(sha256=digests), **{name: b""}))


def test_an_archive_of_a_newer_version_and_a_site_that_runs_are_refused(archive: Path) -> None:
    newer = verify(archive).migrations | {"chat": ["0001_initial", "9999_of_tomorrow"]}
    for options, words in (
        ({"archive": changed(archive, edited(migrations=newer))}, "newer version of Parley .* chat 9999_of_tomorrow"),
        ({"archive": archive}, "--replace puts the archive in their place"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("restore", str(options["archive"]), stdout=StringIO())
    Worker.objects.create(name="host:1")
    with pytest.raises(CommandError, match="Stop all its processes first"):
        call_command("restore", str(archive), replace=True, stdout=StringIO())

    assert User.objects.filter(username="alice").exists()
