"""Bring the database, the static files and the catalogue up to date; quick when they are."""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from predictions import catalogue, checks


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
    """Run `collectstatic` if a file has changed since the last time."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            digest.update(f"{path} {storage.size(path)} {storage.get_modified_time(path)}\n".encode())
    stamp = settings.STATIC_ROOT / ".stamp"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        call_command("collectstatic", interactive=False, verbosity=0, clear=True)
        stamp.write_text(digest.hexdigest())
