"""What is made again where the process that should have made it was killed."""

from typing import Any

from chat.models import Message
from chat.news import store_html
from predictions.events import TERMINAL

BATCH = 500  # answers; the rest is left for the next time


def store_missing_html(**_: Any) -> None:
    """Keep finished answers as HTML that have none."""
    finished = Message.objects.filter(role=Message.Role.ASSISTANT, prediction__status__in=TERMINAL, html="")
    missing = finished.exclude(prediction__output="").order_by("-created_at")
    for key in missing.values_list("prediction", flat=True)[:BATCH]:
        store_html(key)
