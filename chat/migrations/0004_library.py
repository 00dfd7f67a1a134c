import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from chat.words import words_of

# What stands in the table is what is found: the databases see to that themselves. The owner is in the index, so that
# nobody's search reads what others have written; no word of a text has a "_" in it.
SQLITE = [
    """CREATE VIRTUAL TABLE chat_search USING fts5(
        owner_id, words, content='chat_searchentry', content_rowid='id',
        tokenize='unicode61 remove_diacritics 0', prefix='3'
    )""",
    """CREATE TRIGGER chat_search_insert AFTER INSERT ON chat_searchentry BEGIN
        INSERT INTO chat_search (rowid, owner_id, words) VALUES (new.id, new.owner_id, new.words);
    END""",
    """CREATE TRIGGER chat_search_delete AFTER DELETE ON chat_searchentry BEGIN
        INSERT INTO chat_search (chat_search, rowid, owner_id, words)
            VALUES ('delete', old.id, old.owner_id, old.words);
    END""",
    """CREATE TRIGGER chat_search_update AFTER UPDATE ON chat_searchentry BEGIN
        INSERT INTO chat_search (chat_search, rowid, owner_id, words)
            VALUES ('delete', old.id, old.owner_id, old.words);
        INSERT INTO chat_search (rowid, owner_id, words) VALUES (new.id, new.owner_id, new.words);
    END""",
]
SQLITE_BACK = [
    "DROP TRIGGER chat_search_insert",
    "DROP TRIGGER chat_search_delete",
    "DROP TRIGGER chat_search_update",
    "DROP TABLE chat_search",
]
POSTGRESQL = [
    """ALTER TABLE chat_searchentry ADD COLUMN vector tsvector GENERATED ALWAYS AS (
        to_tsvector('simple'::regconfig, words) || array_to_tsvector(ARRAY['owner_' || owner_id::text])
    ) STORED""",
    "CREATE INDEX chat_searchentry_vector ON chat_searchentry USING gin (vector)",
]
POSTGRESQL_BACK = [
    "DROP INDEX chat_searchentry_vector",
    "ALTER TABLE chat_searchentry DROP COLUMN vector",
]


def make_index(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    for statement in POSTGRESQL_BACK if schema_editor.connection.vendor == "postgresql" else SQLITE_BACK:
        schema_editor.execute(statement)


def index_what_was_said(apps, schema_editor):
    messages = apps.get_model("chat", "Message").objects
    entries = apps.get_model("chat", "SearchEntry").objects
    said = messages.order_by("created_at", "ordinal").values_list(
        "pk", "conversation__owner", "text", "prediction__output", "prediction__completed_at", "prediction"
    )
    for pk, owner, text, output, completed_at, prediction in said.iterator(500):
        if prediction is None or completed_at is not None:  # what is still written is noted at its end
            words = " ".join(words_of(text if prediction is None else output))
            if words:
                entries.create(message_id=pk, owner_id=owner, words=words)


def mark_all_as_read(apps, schema_editor):
    newest = apps.get_model("chat", "Message").objects.filter(conversation=OuterRef("pk")).order_by("-ordinal")
    read = Coalesce(Subquery(newest.values("ordinal")[:1]), 0)
    apps.get_model("chat", "Conversation").objects.update(read_ordinal=read)


class Migration(migrations.Migration):

    dependencies = [
        ("chat", "0003_moved_conversations"),
        ("predictions", "0009_substituted_answers"),
    ]

    operations = [
        migrations.AddField("conversation", "pinned_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("conversation", "archived_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("conversation", "deleted_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("conversation", "read_ordinal", models.PositiveIntegerField(default=0)),
        migrations.RunPython(mark_all_as_read, migrations.RunPython.noop),
        migrations.AddIndex(
            "conversation",
            models.Index(
                fields=["owner", "-updated_at", "-id"],
                name="conversation_listed",
                condition=Q(deleted_at=None, archived_at=None, pinned_at=None),
            ),
        ),
        migrations.AddIndex(
            "conversation",
            models.Index(
                fields=["owner", "-pinned_at"], name="conversation_pinned", condition=Q(pinned_at__isnull=False)
            ),
        ),
        migrations.AddIndex(
            "conversation",
            models.Index(
                fields=["owner", "-updated_at", "-id"],
                name="conversation_archived",
                condition=Q(archived_at__isnull=False),
            ),
        ),
        migrations.AddIndex(
            "conversation",
            models.Index(fields=["deleted_at"], name="conversation_discarded", condition=Q(deleted_at__isnull=False)),
        ),
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("words", models.TextField()),
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="search_entry", to="chat.message"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name_plural": "search entries"},
        ),
        migrations.RunPython(make_index, drop_index),
        migrations.RunPython(index_what_was_said, migrations.RunPython.noop),
    ]
