"""Put an archive of `backup` back: into a new database of either kind, or in place of what is there.

The archive is read to its end and compared with its manifest before anything is touched. Where the tables are those of
the version that made it, all rows are exchanged in one transaction. Otherwise they are made anew as that version had
them, and moved on to those of this version when the rows are in.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from predictions import checks
from predictions.backup import CHUNK, FILES, FORMAT, MANIFEST, PIECE, ROWS, Manifest, every, kept, migrations
from predictions.models import Worker

# ruff: noqa: SLF001 - `_meta` is where models describe themselves

MANIFEST_LIMIT = 268_435_456  # bytes: a million files
LINE_LIMIT = 536_870_912  # characters of a row
SET_ASIDE = ".before-restore"  # the end of the name of an SQLite database that was replaced
# What reading an archive raises whose bytes are not those that were written.
DAMAGE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
)


class NotRestored(Exception):
    """The archive cannot be used, or not here; the text says why and what to do."""


# ---------------------------------------------------------------- looking


def verify(path: Path) -> Manifest:
    """Read the whole archive, touch nothing; return what it says of itself. Raise NotRestored."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive)
            _check_names(archive, manifest)
            for name, digest in manifest.sha256.items():
                if _digest(archive, name) != digest:
                    raise NotRestored(f"{path} is damaged: {name} is not what was written. Take another backup.")
            _check_counts(archive, manifest)
    except DAMAGE as error:
        raise NotRestored(f"{path} is no whole backup of Parley ({error}).") from error
    return manifest


def _read_manifest(archive: zipfile.ZipFile) -> Manifest:
    with archive.open(MANIFEST) as file:
        told = json.loads(file.read(MANIFEST_LIMIT))
    if told["format"] != FORMAT:
        raise NotRestored(f"This archive has format {told['format']}, and this version of Parley reads {FORMAT}.")
    return Manifest(**told)


def _check_names(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Refuse what would be written elsewhere than among the files, and what the manifest does not name."""
    names = archive.namelist()
    if sorted(names) != sorted([MANIFEST, *manifest.sha256]):
        raise NotRestored("What is in this archive is not what its manifest names.")
    tables = {f"{ROWS}{label}.jsonl" for label in manifest.rows}
    for name in names:
        if name != MANIFEST and name not in tables and not _is_inside(name):
            raise NotRestored(f"This archive has a file outside of its folders: {name[:200]!r}.")


def _is_inside(name: str) -> bool:
    parts = name.removeprefix(FILES).split("/")
    is_plain = not any(part in {"", ".", ".."} or "\\" in part or ":" in part or "\0" in part for part in parts)
    return name.startswith(FILES) and is_plain


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while piece := member.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _check_counts(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    for label, count in manifest.rows.items():
        with _rows(archive, label) as (_, rows):
            if sum(1 for _ in rows) != count:
                raise NotRestored(f"This archive does not have the {count} rows of {label} that its manifest names.")


@contextmanager
def _rows(archive: zipfile.ZipFile, label: str) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
    """Yield the names of the columns and an iterator over the rows."""
    with archive.open(f"{ROWS}{label}.jsonl") as member, TextIOWrapper(member, "utf-8") as lines:
        read = iter(lambda: lines.readline(LINE_LIMIT), "")
        yield json.loads(next(read)), (json.loads(line) for line in read)


# ---------------------------------------------------------------- putting back


def restore(path: Path, *, replace: bool) -> Manifest:
    """Put all of the archive back; raise NotRestored before anything is touched, or when the database refuses."""
    manifest = verify(path)
    if problem := checks.check_database():
        raise NotRestored(problem)
    _check_versions(manifest)
    _check_room(manifest, replace=replace)
    try:
        with zipfile.ZipFile(path) as archive, nullcontext() if _fits(manifest) else _emptied():
            _put_rows(archive, manifest)
            _put_files(archive, manifest)
    except (DatabaseError, OSError, SuspiciousFileOperation) as error:
        raise NotRestored(
            f"Not everything could be put back: {error}. Mend that and run this again, with --replace."
        ) from error
    return manifest


def _check_versions(manifest: Manifest) -> None:
    known = MigrationExecutor(connection).loader.disk_migrations
    newer = [
        f"{app} {name}" for app, names in manifest.migrations.items() for name in names if (app, name) not in known
    ]
    if newer:
        raise NotRestored(
            f"This archive was made by a newer version of Parley ({manifest.parley}; this one does not know "
            f"{', '.join(newer[:3])}). Restore it with that version."
        )


def _check_room(manifest: Manifest, *, replace: bool) -> None:
    if _has_any(Worker.objects.alive()):
        raise NotRestored("Parley runs here. Stop all its processes first, wait 15 s, and run this again.")
    if replace:
        return
    if _has_any(get_user_model().objects.all()):
        raise NotRestored("There are people in this database already. --replace puts the archive in their place.")
    if not _fits(manifest) and (others := _tables_of_others()):
        raise NotRestored(
            f"There are tables in this database that are not Parley’s: {', '.join(others[:3])}. Name a database of its "
            "own in DATABASE_URL: --replace would delete all tables of this one."
        )


def _has_any(rows: models.QuerySet[Any]) -> bool:
    try:
        return rows.exists()
    except DatabaseError:
        return False  # there is no such table, or it is that of another version


def _tables_of_others() -> list[str]:
    """Return the tables that are not Parley's, where they would be lost."""
    if connection.vendor == "sqlite":
        return []  # all of it is set aside
    known = {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}
    return sorted(set(connection.introspection.table_names()) - known)


def _fits(manifest: Manifest) -> bool:
    """Whether the tables are those of the version that made the archive."""
    return migrations() == manifest.migrations


@contextmanager
def _emptied() -> Iterator[None]:
    """Have a database without tables; one of SQLite is set aside, and comes back if the restoring breaks."""
    tables = connection.introspection.table_names()
    if connection.vendor != "sqlite" or not tables:
        _drop(tables)
        yield
        return
    here = Path(connection.settings_dict["NAME"])
    aside = here.with_name(here.name + SET_ASIDE)
    if aside.exists():
        raise NotRestored(
            f"{aside} has what an earlier restoring replaced. Move it elsewhere, or delete it if nothing in it is "
            "missed, and run this again."
        )
    _move(here, aside)
    try:
        yield
    except BaseException:
        _move(aside, here)
        raise


def _drop(tables: list[str]) -> None:
    if tables:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(map(connection.ops.quote_name, tables))} CASCADE")


def _move(here: Path, there: Path) -> None:
    """Move an SQLite database with the log beside it, if there is one."""
    connection.close()
    for end in ("", "-wal", "-shm"):
        there.with_name(there.name + end).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            here.with_name(here.name + end).replace(there.with_name(there.name + end))


def _put_rows(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    executor = MigrationExecutor(connection)
    targets = _last_of_each_app(executor, manifest)
    executor.migrate(targets)
    then = MigrationExecutor(connection).loader.project_state(targets).apps
    with transaction.atomic(), connection.cursor() as cursor:
        tables = [model._meta.db_table for model in every(then)]  # migrations have put something there, too
        for statement in connection.ops.sql_flush(no_style(), tables):
            cursor.execute(statement)
        for model in kept(then):
            if model._meta.label in manifest.rows:
                with _rows(archive, model._meta.label) as (columns, rows):
                    _insert(cursor, model, columns, rows)
        for statement in connection.ops.sequence_reset_sql(no_style(), kept(then)):
            cursor.execute(statement)
    call_command("migrate", interactive=False, verbosity=0)


def _last_of_each_app(executor: MigrationExecutor, manifest: Manifest) -> list[tuple[str, str]]:
    """Return what the archive's tables were migrated to, as a migration's targets."""
    graph = executor.loader.graph
    applied = {(app, name) for app, names in manifest.migrations.items() for name in names}
    targets = []
    for app, name in sorted(applied & graph.nodes.keys()):
        children = {node.key for node in graph.node_map[app, name].children}
        if not any(key in applied and key[0] == app for key in children):
            targets.append((app, name))
    return targets


def _insert(cursor: Any, model: type[models.Model], columns: list[str], rows: Iterator[list[Any]]) -> None:
    """Insert rows as they are: nothing is stamped, nobody is told."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    used = [fields[name] for name in columns]
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in used)
    marks = ", ".join(["%s"] * len(used))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
    while batch := list(islice(rows, CHUNK)):
        cursor.executemany(statement, [_stored(used, row) for row in batch])


def _stored(fields: list[Any], row: list[Any]) -> list[Any]:
    return [
        field.get_db_prep_save(field.to_python(value), connection) for field, value in zip(fields, row, strict=True)
    ]


def _put_files(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    for member in manifest.sha256:
        if not member.startswith(FILES):
            continue
        name = member.removeprefix(FILES)
        default_storage.delete(name)
        with archive.open(member) as content:
            kept_as = default_storage.save(name, File(content, name))
        if kept_as != name:
            raise OSError(f"{name} would be kept as {kept_as}")
