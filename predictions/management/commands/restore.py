"""Put back what `backup` wrote."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from predictions.restore import NotRestored, restore, verify


class Command(BaseCommand):
    help = "Put an archive of `manage.py backup` back, into SQLite or PostgreSQL. Stop all other processes first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("archive", type=Path)
        parser.add_argument("--verify", action="store_true", help="only read the archive to its end and check it")
        parser.add_argument("--replace", action="store_true", help="put it in the place of what is there")

    def handle(self, *, archive: Path, replace: bool, **options: Any) -> None:
        try:
            manifest = verify(archive) if options["verify"] else restore(archive, replace=replace)
        except NotRestored as problem:
            raise CommandError(str(problem)) from problem
        files = len(manifest.sha256) - len(manifest.rows)
        done = "is whole" if options["verify"] else "is put back"
        self.stdout.write(f"{archive} {done}: {sum(manifest.rows.values()):,} rows, {files:,} files.")
        self.stdout.write(f"It was made at {manifest.made_at} by Parley {manifest.parley}. {manifest.keys}")
        if not options["verify"]:
            self.stdout.write("Run `manage.py doctor` next: it tells whether the keys that belong to it are here.")
