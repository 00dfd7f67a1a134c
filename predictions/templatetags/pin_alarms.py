"""What an admin should know of the pins, for the admin's front page."""

from datetime import timedelta
from functools import partial
from typing import Any

from django import template
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.template.context import Context

from predictions import clock
from predictions.models import Model, Pin, Prediction
from predictions.standing import answering, latest_of, newest_pins

register = template.Library()

NAMED = 10  # of each kind; the rest is a number
SUBSTITUTED_SINCE = timedelta(days=7)


def _substituted() -> int:
    """How many answers came from another version than was asked for in the last days."""
    since = clock.now() - SUBSTITUTED_SINCE
    return Prediction.objects.filter(is_substituted=True, created_at__gt=since).count()


@register.inclusion_tag("admin/predictions/pin/_alarms.html", takes_context=True)
def pin_alarms(context: Context) -> dict[str, Any]:
    """Show pinned versions that are gone, models without a pin in production, and how many have newer versions."""
    user = context["request"].user
    if not (user.has_perm("predictions.view_pin") or user.has_perm("predictions.add_pin")):
        return {}
    offered = Model.objects.filter(enabled=True, provider__enabled=True)
    here = newest_pins(offered).filter(environment=settings.ENVIRONMENT)
    pins = list(here.exclude(version=None).select_related("model"))
    gone = [pin for pin in pins if pin.version and pin.version.gone_at]
    latest = {version.model_id: version for version in latest_of([pin.model for pin in gone[:NAMED]])} if gone else {}
    production = Pin.objects.filter(model=OuterRef("pk"), environment=Pin.Environment.PRODUCTION)
    unpinned = list(offered.filter(~Exists(production)).only("name"))
    return {
        "gone": [(pin, answering(pin, partial(latest.get, pin.model_id))[0]) for pin in gone[:NAMED]],
        "gone_more": max(0, len(gone) - NAMED),
        "unpinned": unpinned[:NAMED],
        "unpinned_count": len(unpinned),
        "substituted": _substituted() if user.has_perm("predictions.view_prediction") else 0,
        "newer": sum(bool(pin.newer) for pin in pins),  # type: ignore[attr-defined]
    }
