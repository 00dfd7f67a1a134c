from itertools import groupby, pairwise

from django.db import migrations

from predictions.models.catalogue import schema_digest


def link_pins(apps, schema_editor):
    """Tell each pin which one it took the place of."""
    pins = apps.get_model("predictions", "Pin").objects.order_by("model", "environment", "created_at", "pk")
    for _, history in groupby(pins, key=lambda pin: (pin.model_id, pin.environment)):
        for former, pin in pairwise(history):
            pin.replaces = former
            pin.save(update_fields=["replaces"])


def hash_schemas(apps, schema_editor):
    for version in apps.get_model("predictions", "Version").objects.filter(schema_hash="").iterator():
        version.schema_hash = schema_digest(version.openapi_schema)
        version.save(update_fields=["schema_hash"])


class Migration(migrations.Migration):
    dependencies = [("predictions", "0004_version_pins")]

    operations = [
        migrations.RunPython(link_pins, migrations.RunPython.noop),
        migrations.RunPython(hash_schemas, migrations.RunPython.noop),
    ]
