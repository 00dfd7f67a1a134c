"""Which version of a model answers, here and now: the newest pin of this environment, else the latest."""

from django.conf import settings

from predictions.models import Model, Version


def version_for(model: Model) -> Version | None:
    """Return the version that answers, or None if the host has not described it yet."""
    pin = model.pins.filter(environment=settings.ENVIRONMENT).select_related("version").first()
    if pin is not None and pin.version is not None:
        return pin.version if pin.version.is_described else None
    return model.versions.filter(is_described=True).first()
