"""What is made again where the process that should have made it was killed, and what goes for good."""

from datetime import timedelta
from typing import Any

from django.db import transaction

from chat.models import Conversation, Message
from chat.news import store_html
from predictions import clock
from predictions.events import TERMINAL
from predictions.models import Prediction

BATCH = 500  # answers, or conversations; the rest is left for the next time
UNDO = timedelta(hours=1)  # in which a deleted conversation can be had back


def store_missing_html(**_: Any) -> None:
    """Keep finished answers as HTML that have none."""
    finished = Message.objects.filter(role=Message.Role.ASSISTANT, prediction__status__in=TERMINAL, html="")
    missing = finished.exclude(prediction__output="").order_by("-created_at")
    for key in missing.values_list("prediction", flat=True)[:BATCH]:
        store_html(key)


def delete_discarded(**_: Any) -> None:
    """Delete the conversations that their owners have deleted, and all that came of them."""
    old = Conversation.objects.filter(deleted_at__lt=clock.now() - UNDO).order_by("deleted_at")
    for conversation in old[:BATCH]:
        # A worker may still be writing: what is stopped now goes the next time.
        if not conversation.stop_all():
            _delete(conversation)


@transaction.atomic
def _delete(conversation: Conversation) -> None:
    still = Conversation.objects.select_for_update().filter(pk=conversation.pk, deleted_at__isnull=False)
    if not still.exists():
        return  # another worker was here, or its owner wanted it back
    predictions = list(conversation.messages.exclude(prediction=None).values_list("prediction", flat=True))
    still.delete()
    for at in range(0, len(predictions), BATCH):
        # Without their inputs, each of which has all that was said before.
        Prediction.objects.only("pk").filter(pk__in=predictions[at : at + BATCH]).delete()
