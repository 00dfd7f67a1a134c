"""Look at Replicate's models from the command line, and offer them to people here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from predictions import catalogue, pins, references
from predictions.models import Model, Provider
from predictions.providers import connect_to_replicate
from predictions.providers.base import Description
from predictions.providers.errors import ProviderError
from predictions.providers.replicate import ReplicateCatalogue
from predictions.providers.replicate.catalogue import ModelFacts
from predictions.references import Reference, ReferenceNotUnderstood
from predictions.schema import inputs_of, output_of

T = TypeVar("T")

LINE = 100  # characters of a description in a list
NO_PROVIDER = "No Replicate account is set up. Set REPLICATE_API_TOKEN and run `manage.py prepare`, or bin/start."


class Command(BaseCommand):
    help = "List, search and show models of Replicate, and offer them to people."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("list", help="the models that are offered here, and which version answers")
        search = actions.add_parser("search", help="search Replicate's models")
        search.add_argument("words")
        search.add_argument("--limit", type=int, default=20, help="1 to 50")
        collections = actions.add_parser("collections", help="Replicate's collections, or the models of one")
        collections.add_argument("slug", nargs="?")
        actions.add_parser("deployments", help="the account's deployments")
        for name, what in (("show", "what a model takes and gives"), ("offer", "offer a model to people here")):
            action = actions.add_parser(name, help=what)
            action.add_argument("reference", help="owner/name, owner/name:version, deployments/owner/name, an address")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _list(self, **options: Any) -> None:
        models = Model.objects.filter(enabled=True, provider__enabled=True).select_related("provider")
        for model in models:
            version = pins.version_for(model)
            answers = version.identifier[:12] or "the host’s own" if version else "not described yet"
            self.stdout.write(f"{model.slug:40} {model.provider.name}: {model.ref} ({answers})")

    def _search(self, *, words: str, limit: int, **options: Any) -> None:
        self._write_models(self._look(lambda there: there.search(words, limit=limit)))

    def _collections(self, *, slug: str | None, **options: Any) -> None:
        if slug:
            self._write_models(self._look(lambda there: there.collection(slug)))
            return
        for collection in self._look(lambda there: there.collections()):
            self.stdout.write(f"{collection.slug:40} {_short(collection.description)}")

    def _deployments(self, **options: Any) -> None:
        for deployment in self._look(lambda there: there.deployments()):
            self.stdout.write(f"deployments/{deployment.ref:28} {deployment.model}:{deployment.version[:12]}")

    def _show(self, *, reference: str, **options: Any) -> None:
        named = _understand(reference)
        description = self._look(lambda there: there.describe(named))
        self.stdout.write(f"{named}\n{description.description}\n")
        for name, value in description.facts.items():
            if isinstance(value, str | int):
                self.stdout.write(f"{name.replace('_', ' ')}: {value}")
        kind = "official: asked by its name alone" if description.is_official else description.identifier
        self.stdout.write(f"version: {kind}\nputs out: {output_of(description.openapi_schema)}\ntakes:")
        self._write_inputs(description)
        if named.path and not named.is_deployment:
            versions = self._look(lambda there: there.versions(named.path))
            self.stdout.write(f"versions: {', '.join(each.identifier[:12] for each in versions) or 'it tells none'}")

    def _offer(self, *, reference: str, **options: Any) -> None:
        named = _understand(reference)
        description = self._look(lambda there: there.describe(named))
        model = catalogue.offer(_replicate(), named)
        catalogue.take_in(model, description)
        self.stdout.write(f"{model.name} is offered now, as {model.slug}.")

    def _write_models(self, models: list[ModelFacts]) -> None:
        for model in models:
            self.stdout.write(f"{model.ref:40} {_short(model.description)}")
        if not models:
            self.stdout.write("Replicate has none.")

    def _write_inputs(self, description: Description) -> None:
        for taken in inputs_of(description.openapi_schema).values():
            details = [taken.kind.value]
            details += ["required"] if taken.is_required else []
            details += [f"default {taken.default!r}"] if taken.has_default else []
            details += [f"one of {', '.join(map(str, taken.choices))}"] if taken.choices else []
            self.stdout.write(f"  {taken.name}: {', '.join(details)}. {_short(taken.description)}")

    def _look(self, look: Callable[[ReplicateCatalogue], Awaitable[T]]) -> T:
        """Ask Replicate; its errors become the command's."""

        row = _replicate()

        async def ask() -> T:
            provider = connect_to_replicate(row)
            try:
                return await look(provider.catalogue)
            finally:
                await provider.close()

        try:
            return asyncio.run(ask())
        except ProviderError as error:
            raise CommandError(str(error)) from error


def _replicate() -> Provider:
    row = Provider.objects.filter(kind=Provider.Kind.REPLICATE, enabled=True).first()
    if row is None:
        raise CommandError(NO_PROVIDER)
    return row


def _understand(text: str) -> Reference:
    try:
        return references.parse(text)
    except ReferenceNotUnderstood as error:
        raise CommandError(str(error)) from error


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE else line[: LINE - 1] + "…"
