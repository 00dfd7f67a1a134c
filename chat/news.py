"""What the browsers of a conversation are told: the frames that go over the socket."""

import json
import logging
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.template.loader import render_to_string

from chat.markdown import render
from chat.models import MESSAGES_SHOWN, Conversation, Message, SearchEntry, User
from predictions.follow import Frame
from predictions.models import File, Prediction, Trial

logger = logging.getLogger(__name__)

HEARTBEAT = "{}"  # an empty message would not be sent by every server


def store_html(prediction_id: uuid.UUID, **_: Any) -> None:
    """Keep the finished answer as HTML, so that history pages need no parsing."""
    answer = Message.objects.select_related("prediction", "conversation").filter(prediction=prediction_id).first()
    if answer is None or answer.prediction is None:
        return  # asked from the command line
    prediction = answer.prediction
    SearchEntry.note(answer)  # before the HTML: where that is missing, both are made again
    Message.objects.filter(pk=answer.pk).update(html=render(prediction.output))
    answer.conversation.tell_owner()
    ids = {"prediction": str(prediction.pk), "conversation": str(answer.conversation_id)}
    took = ((prediction.completed_at or prediction.created_at) - prediction.created_at).total_seconds()
    logger.info("An answer has ended.", extra={**ids, "status": prediction.status, "seconds": round(took, 3)})


@dataclass(frozen=True, slots=True)
class Tale:
    """What a page that has all messages up to some ordinal lacks."""

    html: str  # the new messages, in order
    path: tuple[str, ...]  # ids of the last messages that are shown
    marks: tuple[str, ...]  # what is shown, each with its place among its siblings
    above: str  # the id of the one before them, if there is one; whatever is neither above nor here left the branch
    after: int  # the newest ordinal that the page has by now

    def frame(self) -> str:
        told = {"html": self.html, "path": self.path, "above": self.above, "after": self.after}
        return json.dumps({"type": "messages", **told})


def answers_for(user: User) -> QuerySet[Prediction]:
    """The predictions that a page of `user` may follow."""
    return Prediction.objects.for_user(user).filter(
        Q(message__isnull=False, message__conversation__deleted_at=None) | Q(trial__isnull=False)
    )


def messages_after(
    user: User, conversation_id: uuid.UUID, after: int, shown: Collection[str] | None = None
) -> Tale | None:
    """Tell which messages a page shows that has all up to ordinal `after`, or those whose marks are in `shown`.

    None if `user` may not see them.
    """
    conversation = Conversation.objects.for_user(user).filter(pk=conversation_id).first()
    if conversation is None:
        return None
    branch = conversation.branch(last=MESSAGES_SHOWN)
    lacking = [each for each in branch if (each.ordinal > after if shown is None else _mark(each) not in shown)]
    return Tale(
        html="".join(map(message_html, lacking)),
        path=tuple(str(message.pk) for message in branch),
        marks=tuple(map(_mark, branch)),
        above=str(branch[0].above or "") if branch else "",
        after=max((message.ordinal for message in branch), default=after),
    )


def _mark(message: Message) -> str:
    return f"{message.pk} {message.place}/{len(message.siblings)}"


def output(frame: Frame) -> str:
    """Tell new text; one without text tells a new reader where it stands."""
    return json.dumps(
        {
            "type": "output",
            "prediction": str(frame.prediction),
            "edition": frame.edition,
            "offset": frame.offset,
            "end": frame.end,
            "text": frame.text,
        }
    )


def state(frame: Frame) -> str:
    """Tell what a prediction is doing, and since when."""
    return json.dumps(
        {
            "type": "state",
            "prediction": str(frame.prediction),
            "phase": frame.phase,
            "since": frame.since,
            "ahead": frame.ahead,
            "progress": frame.progress,
            "note": frame.note,
        }
    )


def files(prediction_id: uuid.UUID) -> str:
    """Tell the files that a prediction has made so far."""
    files = File.objects.filter(prediction=prediction_id).outputs()
    html = render_to_string("chat/_files.html", {"files": files})
    return json.dumps({"type": "files", "prediction": str(prediction_id), "html": html})


def ended(prediction_id: uuid.UUID) -> str:
    """Tell the end of a prediction: its whole message, or trial, as the page shows it."""
    prediction = Prediction.objects.select_related("model__provider", "version", "message__conversation", "trial")
    ended = prediction.defer("version__openapi_schema").get(pk=prediction_id)
    html = message_html(ended.message) if hasattr(ended, "message") else trial_html(ended.trial)
    return json.dumps({"type": "ended", "prediction": str(prediction_id), "status": ended.status, "html": html})


def refused(reason: str) -> str:
    return json.dumps({"type": "refused", "reason": reason})


def message_html(message: Message) -> str:
    return render_to_string("chat/_message.html", {"message": message})


def trial_html(trial: Trial) -> str:
    return render_to_string("admin/predictions/comparison/_answer.html", {"trial": trial})
