"""Installations that have run for a while are moved on without losing anything."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from predictions.models import Pin, Version
from predictions.models.catalogue import schema_digest

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE_PINS_HAD_A_HISTORY = ("predictions", "0003_figures_and_retries")


@pytest.fixture
def moved_back(transactional_db: None) -> Any:
    """Move the tables back; return what gives their models, and move them on in the end."""

    def migrate(*targets: tuple[str, str]) -> Callable[[str], Any]:
        executor = MigrationExecutor(connection)
        executor.migrate(list(targets))
        apps = MigrationExecutor(connection).loader.project_state(list(targets)).apps
        return lambda name: apps.get_model("predictions", name)

    yield migrate
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_pins_become_a_history_and_versions_know_their_schemas(moved_back: Any) -> None:
    old = moved_back(BEFORE_PINS_HAD_A_HISTORY)
    provider = old("Provider").objects.create(slug="p", name="P", kind="cog", base_url="http://127.0.0.1:1")
    model = old("Model").objects.create(provider=provider, ref="m", slug="m", name="M")
    version = old("Version").objects.create(model=model, identifier="v", openapi_schema={"info": 1})
    for environment in ("production", "staging", "production", "production"):
        old("Pin").objects.create(model=model, environment=environment, version=version, created_at=timezone.now())
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())

    first, elsewhere, second, third = Pin.objects.order_by("pk")
    assert [pin.replaces for pin in (first, elsewhere, second, third)] == [None, None, first, second]
    assert Version.objects.get().schema_hash == schema_digest({"info": 1})
