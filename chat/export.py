"""A conversation to keep elsewhere: the whole tree as JSON, or the branch that is shown as Markdown.

Nothing secret is in either: no inputs as hosts were sent them, no addresses, no contents of files but their hashes.
"""

import re
import uuid
from typing import Any

from django.db.models import prefetch_related_objects

from chat.models import BULKY, RELATIONS, Conversation, Message
from predictions import clock
from predictions.events import CANCELED, SUCCEEDED
from predictions.models import File, Prediction
from predictions.receipts import Times, grade_of

FORMAT = 1  # of `as_json`; another number where a key goes or changes its meaning
UNFIT = re.compile(r"[^\w -]+")  # for the name of a file
LONG = ("prediction__input", "prediction__logs", "prediction__urls", "html")  # and not in an export


def as_json(conversation: Conversation) -> dict[str, Any]:
    """Return all messages of a conversation, on all its branches, oldest first; `shown` names those of the branch."""
    tree = conversation.tree
    messages = list(conversation.messages.present().select_related(*RELATIONS).defer(BULKY, *LONG).order_by("ordinal"))
    prefetch_related_objects(messages, "prediction__files")
    return {
        "format": "parley-conversation",
        "version": FORMAT,
        "exported_at": clock.now().isoformat(),
        "id": str(conversation.pk),
        "title": conversation.title,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "is_pinned": conversation.pinned_at is not None,
        "is_archived": conversation.archived_at is not None,
        "shown": [str(key) for key in tree.branch_to(conversation.leaf_id)],
        "messages": [_message(message, tree.parent_of(message.pk)) for message in messages],
    }


def as_markdown(conversation: Conversation) -> str:
    """Return the branch of a conversation that is shown, a heading for each message."""
    parts = [f"# {conversation.title}", f"*Exported from Parley on {clock.now():%Y-%m-%d}.*"]
    for message in conversation.branch():
        parts += _section(message)
    return "\n\n".join(parts) + "\n"


def file_name(conversation: Conversation, ending: str) -> str:
    name = " ".join(UNFIT.sub(" ", conversation.title).split())
    return f"{name or 'conversation'}.{ending}"


# ---------------------------------------------------------------- JSON


def _message(message: Message, above: uuid.UUID | None) -> dict[str, Any]:
    told = {
        "id": str(message.pk),
        "parent": above and str(above),
        "role": message.role,
        "created_at": message.created_at.isoformat(),
        "text": message.text_so_far,
    }
    return told if message.prediction is None else {**told, **_answer(message.prediction)}


def _answer(prediction: Prediction) -> dict[str, Any]:
    cost = prediction.cost
    return {
        "model": prediction.model.ref,
        "model_name": prediction.model.name,
        "provider": prediction.model.provider.slug,
        "asked_for": prediction.asked_for,
        "answered_model": prediction.answered_model,
        "answered_version": prediction.answered_version,
        "grade": str(grade_of(prediction)),
        "status": prediction.status,
        "error": prediction.error,
        "rating": prediction.rating,
        "rating_reason": prediction.rating_reason,
        "rating_note": prediction.rating_note,
        "metrics": prediction.metrics,
        "cost": None if cost is None else format(cost, "f"),  # US dollars
        "times": Times.of(prediction).as_json(),
        "files": [_file(file) for file in prediction.files.all()],
    }


def _file(file: File) -> dict[str, Any]:
    noted = ("role", "name", "media_type", "size", "sha256", "error")
    return {name: getattr(file, name) for name in noted}


# ---------------------------------------------------------------- Markdown


def _section(message: Message) -> list[str]:
    prediction = message.prediction
    heading = "## You" if prediction is None else f"## {prediction.model.name}"
    files = message.input_files if prediction is None else message.files
    listed = "\n".join(f"- {file.name} ({file.media_type or 'not stored'}, SHA-256 `{file.sha256}`)" for file in files)
    return [part for part in (heading, message.text_so_far.strip(), listed, _end_of(prediction)) if part]


def _end_of(prediction: Prediction | None) -> str:
    """Say what became of an answer, unless all is well."""
    if prediction is None or prediction.status == SUCCEEDED:
        return ""
    if not prediction.is_terminal:
        return "*Still being written.*"
    return "*Stopped.*" if prediction.status == CANCELED else f"*Failed: {prediction.error or 'no reason was given'}*"
