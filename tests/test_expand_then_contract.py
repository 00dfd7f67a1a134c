"""During a deploy the last version runs on the tables of this one: migrations add, and take away one release later.

docs/upgrading.md has the rule. A migration that takes something away stands in `CONTRACTS`, with the reason why nothing
that still runs needs it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

# The last migrations from before the rule.
BEFORE = {"chat": "0007_titles", "predictions": "0012_titles", "people": ""}
CONTRACTS: dict[tuple[str, str], str] = {}
HARMLESS = (
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.RenameIndex,
    migrations.RemoveConstraint,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    migrations.AlterModelTableComment,
    migrations.RunPython,
    migrations.RunSQL,
)

HOW = {
    migrations.AddField: "what the last version inserts does not name this column: give it null=True or a db_default",
    migrations.AlterField: "the last version may store what this column does not take (any more): only widen it",
    migrations.RemoveField: "the last version still reads this column: take it out of the state now, drop it next time",
    migrations.DeleteModel: "the last version still reads this table: drop it next time",
    migrations.RenameField: "the last version knows the old name: add a column, copy, and drop the old one next time",
    migrations.RenameModel: "the last version knows the old name: keep it with db_table",
    migrations.AddConstraint: "the last version may break this: first make sure that it cannot, and add it next time",
}


def problems(migration: migrations.Migration, state: ProjectState) -> Iterator[str]:
    """Yield what in a migration the last version could not live with; `state` is that before it."""
    made = set()  # tables that the last version does not know
    for operation in migration.operations:
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        parts = (
            operation.database_operations if isinstance(operation, migrations.SeparateDatabaseAndState) else [operation]
        )
        for part in parts:
            if isinstance(part, migrations.CreateModel):
                made.add(part.name_lower)
            elif getattr(part, "model_name_lower", "") not in made and not is_harmless(
                part, migration.app_label, before, state
            ):
                reason = HOW.get(type(part), "nobody has thought about this kind of operation yet")
                yield f"{migration}: {part.describe()}: {reason}. docs/upgrading.md tells how."


def is_harmless(operation: Operation, app: str, before: ProjectState, after: ProjectState) -> bool:
    if isinstance(operation, migrations.AddField):
        field = operation.field
        return field.many_to_many or field.null or field.has_db_default()
    if isinstance(operation, migrations.AlterField):
        return widens(
            before.apps.get_model(app, operation.model_name)._meta.get_field(operation.name),
            after.apps.get_model(app, operation.model_name)._meta.get_field(operation.name),
        )
    return isinstance(operation, HARMLESS)


def widens(old: Any, new: Any) -> bool:
    """Whether all that fits into `old` fits into `new`."""
    is_longer = old.get_internal_type() == new.get_internal_type() and (new.max_length or 0) >= (old.max_length or 0)
    becomes_text = isinstance(old, models.CharField) and type(new) is models.TextField
    same_kind = old.db_type(connection) == new.db_type(connection) or is_longer or becomes_text
    takes_all = (new.null or not old.null) and (old.unique or not new.unique)
    # The last version's INSERT leaves the value to the database.
    keeps_default = new.has_db_default() or not old.has_db_default()
    return same_kind and old.column == new.column and takes_all and keeps_default


def test_the_last_version_can_live_with_each_migration() -> None:
    loader = MigrationLoader(None)
    new = {key for key in loader.disk_migrations if key[1] > BEFORE.get(key[0], "~")}
    found = [
        problem
        for key in sorted(new - CONTRACTS.keys())
        for problem in problems(loader.disk_migrations[key], loader.project_state(key, at_end=False))
    ]

    assert not found, "\n".join(found)
    assert CONTRACTS.keys() <= loader.disk_migrations.keys()


text = models.TextField


@pytest.mark.parametrize(
    ("operation", "is_fine"),
    [
        (migrations.AddField("conversation", "mood", text(null=True)), True),
        (migrations.AddField("conversation", "mood", text(db_default="")), True),
        (migrations.AddField("conversation", "mood", text(default="")), False),
        (migrations.AlterField("conversation", "title", models.CharField(max_length=2_000)), True),
        (migrations.AlterField("conversation", "title", models.CharField(max_length=2)), False),
        (migrations.AlterField("conversation", "title", text()), True),
        (migrations.AlterField("conversation", "title", models.IntegerField()), False),
        (migrations.AlterField("conversation", "title", models.CharField(max_length=2_000, unique=True)), False),
        (migrations.AlterField("conversation", "deleted_at", models.DateTimeField()), False),
        (migrations.RemoveField("conversation", "title"), False),
        (migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("conversation", "title")]), True),
        (migrations.SeparateDatabaseAndState([migrations.RemoveField("conversation", "title")]), False),
        (migrations.RenameField("conversation", "title", "name"), False),
        (migrations.DeleteModel("SearchEntry"), False),
        (migrations.AddIndex("conversation", models.Index(fields=["title"], name="by_title")), True),
    ],
    ids=lambda value: value.describe() if isinstance(value, Operation) else "",
)
def test_the_rule_knows_what_breaks_the_last_version(operation: Operation, is_fine: bool) -> None:
    migration = migrations.Migration("9999_of_tomorrow", "chat")
    migration.operations = [operation]
    state = MigrationLoader(None).project_state()

    assert (not list(problems(migration, state))) == is_fine


def test_a_default_of_the_database_that_the_last_version_counts_on_stays() -> None:
    with_default, without = text(db_default=""), text()
    for field in (with_default, without):
        field.set_attributes_from_name("mood")

    assert widens(without, with_default)
    assert not widens(with_default, without)
