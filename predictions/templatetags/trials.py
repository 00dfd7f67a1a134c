"""What pages tell of one answer, in figures."""

from decimal import Decimal

from django import template

from predictions.figures import tokens_per_second
from predictions.models import Prediction
from predictions.prices import format_cost
from predictions.receipts import Times, in_seconds

register = template.Library()


@register.filter
def cost(amount: Decimal) -> str:
    """Write a cost in US dollars for people."""
    return format_cost(amount)


@register.simple_tag
def figures_of(prediction: Prediction) -> list[tuple[str, str]]:
    """Return the names and values of what is known of an answer that has ended."""
    times = Times.of(prediction)
    speed = tokens_per_second(prediction.metrics, times.writing)
    known = [
        ("First token", times.to_first_output and in_seconds(times.to_first_output)),
        ("Speed", speed and f"{speed:.1f} tokens/s"),
        ("Predict time", _predict_time(prediction)),
        ("In all", times.total and in_seconds(times.total)),
        ("Cost", prediction.cost is not None and format_cost(prediction.cost)),
    ]
    return [(name, value) for name, value in known if isinstance(value, str)]


@register.simple_tag
def speed_of(prediction: Prediction) -> str:
    """Say how long the first text took, and how quickly the rest came; "" where nothing is known."""
    times = Times.of(prediction)
    speed = tokens_per_second(prediction.metrics, times.writing)
    told = [] if times.to_first_output is None else [f"{in_seconds(times.to_first_output)} to the first text"]
    return ", ".join([*told, *([] if speed is None else [f"{speed:.0f} tokens/s"])])


def _predict_time(prediction: Prediction) -> str | None:
    told = prediction.metrics.get("predict_time")
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return in_seconds(told) if is_number else None
