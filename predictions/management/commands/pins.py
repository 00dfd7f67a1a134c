"""Move pins between instances and into git, as a small YAML file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from predictions import pin_files
from predictions.models import Pin
from predictions.pin_files import PinFileRefused


class Command(BaseCommand):
    help = "Write the pins to a file, or take them over from one."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        export = actions.add_parser("export", help="write the pins that count now, as YAML")
        export.add_argument("--environment", choices=Pin.Environment.values, help="only its pins")
        export.add_argument("file", metavar="FILE", nargs="?", help="where to; without it they are printed")
        import_ = actions.add_parser("import", help="pin what a file says, all or nothing")
        import_.add_argument("--dry-run", action="store_true", help="only say what it would change")
        import_.add_argument("file", metavar="FILE")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _export(self, *, environment: str | None, file: str | None, **options: Any) -> None:
        written = pin_files.export(environment)
        if file is None:
            self.stdout.write(written, ending="")
            return
        try:
            Path(file).write_text(written, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from error

    def _import(self, *, file: str, dry_run: bool, **options: Any) -> None:
        try:
            changes = pin_files.take_over(_read(Path(file)), name=Path(file).name, dry_run=dry_run)
        except PinFileRefused as error:
            raise CommandError(f"{file} is refused.\n{error}") from error
        for change in changes:
            self.stdout.write(str(change))
        count = sum(not change.is_none for change in changes)
        self.stdout.write(f"{_counted(count)} {'would change' if dry_run else 'changed'}.")


def _counted(count: int) -> str:
    return {0: "Nothing", 1: "1 pin"}.get(count, f"{count} pins")


def _read(file: Path) -> str:
    """Read no more of the file than may be taken over, and a little."""
    try:
        with file.open("rb") as stream:
            return stream.read(pin_files.LARGEST_FILE + 1).decode()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not a text in UTF-8.") from error
