"""Whether new answers are stopped, for the admin's front page: whoever did it may be on holiday."""

from typing import Any

from django import template
from django.template.context import Context

from predictions.models import Limits

register = template.Library()


@register.inclusion_tag("admin/predictions/limits/_alarm.html", takes_context=True)
def limits_alarm(context: Context) -> dict[str, Any]:
    """Say that new answers are stopped, to whoever may see the limits."""
    return {"is_stopped": context["request"].user.has_perm("predictions.view_limits") and Limits.now().is_stopped}
