"""Check an installation and say what to do about what is wrong."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from chat.people import second_factors
from predictions import checks, outside, providers, proxies
from predictions.models import Model, Provider
from predictions.providers.errors import ProviderError
from predictions.providers.replicate.catalogue import Account


class Command(BaseCommand):
    help = "Check settings, database, Redis, storage, worker and providers, and say what to do."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url", default=settings.PUBLIC_URL, help="where people reach this site, through its proxy"
        )
        parser.add_argument(
            "--proxy", choices=proxies.KINDS, help="print what to paste into this proxy, and nothing else"
        )

    def handle(self, *, url: str, proxy: str | None, **options: Any) -> None:
        if proxy:
            self.stdout.write(proxies.configuration(proxy, url))
            return
        problems = [
            self._report("settings", self._check_settings()),
            self._report(f"storage ({settings.DATA_DIR})", checks.check_storage()),
            self._report(f"database ({settings.DATABASES['default']['ENGINE'].rpartition('.')[2]})", check_schema()),
            self._report("Redis" if settings.REDIS_URL else "bus (in this process)", checks.check_bus()),
            self._report("worker", checks.check_worker()),
            self._report("clock", checks.check_clock()),
            self._report("keys", self._check_keys()),
            *self._check_outside(url.rstrip("/")),
            *self._check_providers(),
        ]
        count = sum(problems)
        if count:
            raise CommandError(f"{count} thing{'s' if count > 1 else ''} to look at, marked with ✗.")
        self.stdout.write("All is well.")

    def _report(self, name: str, problem: str | None) -> bool:
        self.stdout.write(f"✗ {name}: {problem}" if problem else f"✓ {name}")
        return problem is not None

    @staticmethod
    def _check_settings() -> str | None:
        environments = ("production", "staging", "development")
        if settings.ENVIRONMENT not in environments:
            return f"PARLEY_ENVIRONMENT is {settings.ENVIRONMENT!r}; it must be one of {', '.join(environments)}."
        if settings.DEBUG and settings.HOST not in {"127.0.0.1", "localhost", "::1"}:
            return "PARLEY_DEBUG is on while others can reach this address. Turn it off."
        return None

    @staticmethod
    def _check_keys() -> str | None:
        try:
            return checks.check_keys() or second_factors.check_keys()
        except DatabaseError:
            return "What is encrypted cannot be seen without the database."

    def _check_outside(self, url: str) -> list[bool]:
        if not url:
            self.stdout.write("– the way from outside: not looked at. Give --url, or set PARLEY_PUBLIC_URL.")
            return []
        found = asyncio.run(outside.look(url, with_webhooks=url == settings.PUBLIC_URL))
        return [self._report(name, problem) for name, problem in found]

    def _check_providers(self) -> list[bool]:
        try:
            rows = list(Provider.objects.filter(enabled=True, models__enabled=True).distinct())
        except DatabaseError:
            return []
        if not rows:
            advice = "There is none. Set REPLICATE_API_TOKEN or PARLEY_COG_SERVERS, or start with bin/start."
            return [self._report("models", advice)]
        return [is_problem for row in rows for is_problem in self._check_provider(row)]

    def _check_provider(self, row: Provider) -> list[bool]:
        reports = []
        if row.kind == Provider.Kind.REPLICATE:
            account, problem = asyncio.run(read_account(row))
            reports.append(self._report(f"{row}: account {account.username if account else ''}".rstrip(), problem))
            if account is None:
                return reports  # its models would all say the same
            reports.append(self._report(f"{row}: clock", checks.check_clock_with(str(row), account.at)))
            reports.append(self._report(f"{row}: webhooks", checks.check_webhooks(row)))
        models = row.models.filter(enabled=True).select_related("provider")
        return reports + [self._report(f"{row}: {model}", asyncio.run(check_model(model))) for model in models]


def check_schema() -> str | None:
    """Reach the database, and see whether its tables are those of this version."""
    problem = checks.check_database()
    if problem is None:
        try:
            call_command("migrate", check_unapplied=True, verbosity=0)
        except SystemExit:
            problem = "Its tables are not up to date. Run `manage.py migrate`, or `bin/start`, which does."
    return problem


async def read_account(row: Provider) -> tuple[Account | None, str | None]:
    """Return whose token it is, and what is wrong."""
    provider = providers.connect_to_replicate(row)
    try:
        account = await provider.catalogue.account()
    except ProviderError as error:
        return None, str(error)
    finally:
        await provider.close()
    return account, None


async def check_model(model: Model) -> str | None:
    """Have the model's host describe it."""
    provider = providers.connect(model.provider)
    try:
        await provider.describe(model)
    except ProviderError as error:
        return f"{error} Look at {model.provider.base_url}."
    finally:
        await provider.close()
    return None
