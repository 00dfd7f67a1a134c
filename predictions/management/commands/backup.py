"""Write database and files into one archive."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from predictions import backup


class Command(BaseCommand):
    help = "Write the database and all files into one archive, while the site runs. Keys and settings are not in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("archive", nargs="?", type=Path, help="default: backups/parley-….zip in the data folder")

    def handle(self, *, archive: Path | None, **options: Any) -> None:
        name = f"parley-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip"
        path = archive or settings.DATA_DIR / "backups" / name
        try:
            manifest = backup.write(path)
        except (OSError, DatabaseError) as error:
            raise CommandError(f"The backup could not be written: {error}") from error
        files = len(manifest.sha256) - len(manifest.rows)
        self.stdout.write(f"{path}: {sum(manifest.rows.values()):,} rows, {files:,} files.")
        if manifest.missing:
            self.stdout.write(f"{len(manifest.missing):,} files that the database names were not there.")
        self.stdout.write(manifest.keys)
