"""The whole site in one archive: what the database holds, and the files that it names.

A ZIP file: `database/app.Model.jsonl` has a row a line, `files/…` the files, `manifest.json` at the end what there is,
each with its SHA-256. Rows are written as their fields spell them and not as a database stores them, so that an archive
of SQLite can be restored into PostgreSQL. All rows are of one moment; the site runs on meanwhile, and nothing waits.
Memory is bounded by a hundred rows, not by the size of the site. Keys and settings are not in it.
"""

import base64
import hashlib
import json
import os
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils.duration import duration_iso_string

# ruff: noqa: SLF001 - `_meta` is where models describe themselves

FORMAT = 1
MANIFEST = "manifest.json"
ROWS, FILES = "database/", "files/"
NOT_KEPT = {"sessions.Session"}  # people sign in again: whoever finds a backup is nobody
CHUNK = 100  # rows in memory at a time; some hold long answers
PIECE = 1_048_576  # bytes of a file in memory


@dataclass(slots=True)
class Manifest:
    """What an archive says of itself."""

    parley: str
    made_at: str
    database: str
    migrations: dict[str, list[str]]
    rows: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)  # by member
    missing: list[str] = field(default_factory=list)  # files that the database names and the storage does not have
    keys: str = "SECRET_KEY, PARLEY_ENCRYPTION_KEY and all other settings are not in this archive."
    format: int = FORMAT


def write(path: Path) -> Manifest:
    """Write the archive to `path`, which holds all of it or does not change. Raise OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".backup-")  # only its owner may read it
    try:
        with os.fdopen(descriptor, "wb") as file, tempfile.TemporaryFile("w+") as names:
            with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                manifest = _write_rows(archive, names)
                names.seek(0)
                _write_files(archive, manifest, (json.loads(line) for line in names))
                archive.writestr(MANIFEST, json.dumps(_as_json(manifest), indent=1))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return manifest


def version() -> str:
    """The version of Parley that runs here."""
    told: str = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
    return told


def kept(known: Any) -> list[type[models.Model]]:
    """Return the models of a registry of apps whose rows are in an archive, those between two others included."""
    return sorted(
        (model for model in every(known) if model._meta.label not in NOT_KEPT), key=lambda model: model._meta.label
    )


def every(known: Any) -> list[type[models.Model]]:
    """Return the models of a registry of apps that have tables of their own."""
    found = known.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy and not model._meta.swapped]


def migrations() -> dict[str, list[str]]:
    """Return the names of the migrations that the database has had, by app."""
    applied: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        applied.setdefault(app, []).append(name)
    return applied


# ---------------------------------------------------------------- rows


def _write_rows(archive: zipfile.ZipFile, names: IO[str]) -> Manifest:
    with _one_moment():
        manifest = Manifest(
            parley=version(),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            database=connection.vendor,
            migrations=migrations(),
        )
        for model in kept(apps):
            label = model._meta.label
            lines = _lines(model, names)
            manifest.rows[label] = _write_member(archive, manifest, f"{ROWS}{label}.jsonl", lines)
    return manifest


@contextmanager
def _one_moment() -> Iterator[None]:
    """Have all that is read be of the same moment, without holding up those who write."""
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the archive's disk may be slow
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")  # not `atomic`, which is IMMEDIATE here: a reader of the log holds up nobody
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def _lines(model: type[models.Model], names: IO[str]) -> Iterator[bytes]:
    """Yield a line for each row, and note the files that it names."""
    columns = [column.attname for column in model._meta.concrete_fields]
    files = [place for place, column in enumerate(model._meta.concrete_fields) if isinstance(column, models.FileField)]
    yield _line(columns)
    rows = model._base_manager.order_by("pk").values_list(*columns)
    for row in rows.iterator(chunk_size=CHUNK):
        yield _line(row)
        names.writelines(f"{json.dumps(str(row[place]))}\n" for place in files if row[place])


def _line(values: Iterable[Any]) -> bytes:
    return json.dumps(list(values), default=_spelled, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _spelled(value: Any) -> str:
    """Write what JSON has no word for so that a field's `to_python` reads it; nothing is rounded."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return duration_iso_string(value)
        case UUID() | Decimal():
            return str(value)
        case bytes() | memoryview():
            return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no place in a backup.")


# ---------------------------------------------------------------- files and the rest


def _write_files(archive: zipfile.ZipFile, manifest: Manifest, names: Iterable[str]) -> None:
    for name in names:
        member = f"{FILES}{name}"
        if member in manifest.sha256:
            continue
        try:
            content = default_storage.open(name)
        except FileNotFoundError:  # deleted since
            manifest.missing.append(name)
            continue
        with content:
            _write_member(archive, manifest, member, iter(lambda: content.read(PIECE), b""))  # noqa: B023 - at once


def _write_member(archive: zipfile.ZipFile, manifest: Manifest, name: str, pieces: Iterable[bytes]) -> int:
    """Write one member; return of how many pieces after the first it is."""
    digest, count = hashlib.sha256(), -1
    member = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    # Pictures and sound are compressed already.
    member.compress_type = zipfile.ZIP_DEFLATED if name.startswith(ROWS) else zipfile.ZIP_STORED
    member.external_attr = 0o600 << 16
    with archive.open(member, "w", force_zip64=True) as out:
        for piece in pieces:
            out.write(piece)
            digest.update(piece)
            count += 1
    manifest.sha256[name] = digest.hexdigest()
    return count


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in Manifest.__slots__}
