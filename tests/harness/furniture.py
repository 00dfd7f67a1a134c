"""What a database needs before anybody can ask: people who are signed in, a provider, a model. Runs in a fork."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command
from django.db import connection

from chat.models import User
from predictions.models import Condition, Model, Provider, Version
from tests.fake_replicate import CHAT_SCHEMA
from tests.harness.forks import Order

PEOPLE = ("alice", "bob", "charlie")
MODEL = "meta/meta-llama-3-8b-instruct"

# The database itself notes whatever changes after the end.
CHANGED = """
    OLD.status IN ('succeeded', 'failed', 'canceled', 'aborted') AND (OLD.status <> NEW.status
    OR OLD.output <> NEW.output OR OLD.edition <> NEW.edition OR OLD.error <> NEW.error)
"""
NOTE = "INSERT INTO harness_late_change VALUES (OLD.id, OLD.status, NEW.status || ' ' || NEW.output)"
AUDIT = {
    "sqlite": [
        "CREATE TABLE harness_late_change (prediction text, earlier text, later text)",
        f"CREATE TRIGGER harness_late_change AFTER UPDATE ON predictions_prediction WHEN {CHANGED} BEGIN {NOTE}; END",
    ],
    "postgresql": [
        "CREATE TABLE harness_late_change (prediction uuid, earlier text, later text)",
        "CREATE FUNCTION harness_late_change() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {NOTE}; RETURN NULL; END $$",
        "CREATE TRIGGER harness_late_change AFTER UPDATE ON predictions_prediction FOR EACH ROW"
        f" WHEN ({CHANGED}) EXECUTE FUNCTION harness_late_change()",
    ],
}


def furnish(order: Order) -> dict[str, Any]:
    """Make what is missing; return each person's session, and the model's name for the form."""
    if order.told.get("migrate"):
        call_command("migrate", interactive=False, verbosity=0)
        with connection.cursor() as cursor:
            for statement in AUDIT[connection.vendor]:
                cursor.execute(statement)
    provider, _ = Provider.objects.update_or_create(
        slug="replicate",
        defaults={
            "name": "Replicate",
            "kind": Provider.Kind.REPLICATE,
            "base_url": order.provider,
            "concurrency": order.told.get("concurrency"),
        },
    )
    model, is_new = Model.objects.get_or_create(
        provider=provider, ref=MODEL, defaults={"slug": "llama", "name": "Llama", "is_official": True}
    )
    if is_new:
        Version.objects.create(model=model, identifier="", openapi_schema=CHAT_SCHEMA)
    if order.secret:
        Condition.note_secret(provider, order.secret)
    return {"sessions": {name: _sign_in(name) for name in PEOPLE}, "model": model.slug}


def _sign_in(name: str) -> str:
    user, _ = User.objects.get_or_create(username=name)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)
