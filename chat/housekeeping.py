"""What is made again where the process that should have made it was killed, and what goes for good."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from chat.models import Conversation, Message
from chat.news import store_html
from chat.search import forget_words
from chat.tree import Row, Tree
from predictions import clock
from predictions.events import TERMINAL
from predictions.models import Allowance, Prediction

BATCH = 500  # answers, or conversations; the rest is left for the next time
UNDO = timedelta(hours=1)  # in which what was deleted can be had back


def store_missing_html(**_: Any) -> None:
    """Keep finished answers as HTML that have none."""
    finished = Message.objects.filter(role=Message.Role.ASSISTANT, prediction__status__in=TERMINAL, html="")
    missing = finished.exclude(prediction__output="").order_by("-created_at")
    for key in missing.values_list("prediction", flat=True)[:BATCH]:
        store_html(key)


def delete_discarded(**_: Any) -> None:
    """Delete the conversations that their owners have deleted, and all that came of them."""
    old = Conversation.objects.filter(deleted_at__lt=clock.now() - UNDO).order_by("deleted_at")
    going = list(old[:BATCH])
    for conversation in going:
        # A worker may still be writing: what is stopped now goes the next time.
        if not conversation.stop_all():
            _delete(conversation)
    if going:
        forget_words()


def delete_discarded_messages(**_: Any) -> None:
    """Delete the messages that their owners have deleted, and join what was said below to what is left."""
    before = clock.now() - UNDO
    old = Message.objects.filter(deleted_at__lt=before).values("conversation")
    going = list(Conversation.objects.filter(pk__in=old)[:BATCH])
    for conversation in going:
        _delete_messages(conversation, before)
    if going:
        forget_words()


@transaction.atomic
def _delete_messages(conversation: Conversation, before: datetime) -> None:
    Conversation.objects.select_for_update().filter(pk=conversation.pk).first()
    old = conversation.messages.filter(deleted_at__lt=before)
    if Prediction.objects.filter(message__in=old).stop_all():
        return  # a worker may still be writing: what is stopped now goes the next time
    going = dict(old.values_list("pk", "prediction"))
    rows = conversation.messages.order_by("ordinal").values_list("pk", "parent", "role")
    tree = Tree(Row(key, parent, role == Message.Role.ASSISTANT, key in going) for key, parent, role in rows)
    for child in conversation.messages.filter(parent__in=going).exclude(pk__in=going).only("pk"):
        Message.objects.filter(pk=child.pk).update(parent=tree.parent_of(child.pk))
    old.delete()
    delete_predictions([key for key in going.values() if key])


@transaction.atomic
def _delete(conversation: Conversation) -> None:
    still = Conversation.objects.select_for_update().filter(pk=conversation.pk, deleted_at__isnull=False)
    if not still.exists():
        return  # another worker was here, or its owner wanted it back
    predictions = list(conversation.messages.exclude(prediction=None).values_list("prediction", flat=True))
    predictions += still.exclude(title_prediction=None).values_list("title_prediction", flat=True)
    still.delete()
    delete_predictions(predictions)


def delete_predictions(predictions: list[UUID]) -> None:
    """Delete those that no message has any more, with their files."""
    for at in range(0, len(predictions), BATCH):
        going = Prediction.objects.filter(pk__in=predictions[at : at + BATCH])
        Allowance.note_deleted(going)
        # Without their inputs, each of which has all that was said before.
        going.only("pk").delete()
