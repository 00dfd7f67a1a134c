"""Bring the database, the static files and the catalogue up to date; quick when they are."""

import hashlib
import re
from typing import Any, cast

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from predictions import catalogue, checks

HASH = re.compile(r"\.[0-9a-f]{12}(\.|$)")  # as Django puts it into names


class Command(BaseCommand):
    help = "Migrate, collect static files, and offer the providers that the environment names."

    def handle(self, **options: Any) -> None:
        if problem := checks.check_database():
            raise CommandError(problem)
        settings.MEDIA_ROOT.mkdir(exist_ok=True)
        call_command("migrate", interactive=False, verbosity=0)
        collect_static_files()
        catalogue.sync_with_environment()


def collect_static_files() -> None:
    """Run `collectstatic` if a file has changed since the last time; what pages of the last version name stays."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            with storage.open(path) as file:  # not its time, which an image may have rounded
                digest.update(f"{path} {hashlib.sha256(file.read()).hexdigest()}\n".encode())
    stamp = settings.STATIC_ROOT / ".stamp"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        last = cast(ManifestStaticFilesStorage, staticfiles_storage)
        _delete_older(set(last.hashed_files.values()))
        call_command("collectstatic", interactive=False, verbosity=0)
        stamp.write_text(digest.hexdigest())


def _delete_older(last: set[str]) -> None:
    """Delete the files with a hash in their names that the last version did not name."""
    for path in settings.STATIC_ROOT.rglob("*"):
        name = path.relative_to(settings.STATIC_ROOT).as_posix().removesuffix(".gz")
        if HASH.search(name) and name not in last and path.is_file():
            path.unlink()
