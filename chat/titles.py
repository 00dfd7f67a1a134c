"""Titles that a model makes of a conversation's first question and the beginning of its answer.

An admin chooses the model. It is asked once for each conversation, when the first answer has ended, and has its turn
when nobody waits for an answer. Until then, and where nothing comes of it, the title is the first line of the question.
"""

import logging
import re
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction

from chat.models import Conversation, Message, make_title
from predictions import clock, pins
from predictions.bus import bus
from predictions.events import CANCELED, SUCCEEDED, TERMINAL
from predictions.models import Model, Prediction
from predictions.pins import Choice, NothingAnswers
from predictions.prompts import Turn
from predictions.thoughts import split_thoughts

logger = logging.getLogger(__name__)

PROMPT = (
    "Write a title for the conversation below: at most six words, in the language of the question."
    " Answer with the title alone.\n\nQuestion: {question}"
)
SHOWN = 1_000  # characters of the question, and of its answer, that the model is told
MOST_TOKENS = 400  # of what it may write; some think before they answer
READ = 10_000  # characters of what it wrote
LATE = timedelta(hours=2)  # in which an end that was missed may still lead to a title
BATCH = 500  # conversations; the rest is left for the next time

LABEL = re.compile(r"title\s*:", re.IGNORECASE)
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")  # what turns other text around, too
EDGES = " \t-_\"'“”„«»‘’."


def note_end(prediction_id: uuid.UUID, **_: Any) -> None:
    """Ask for a title where a first answer has ended; give the title where it was made."""
    titled = Conversation.objects.select_related("title_prediction").filter(title_prediction=prediction_id).first()
    if titled is not None:
        give_title(titled)
    elif answer := _answers().filter(prediction=prediction_id).first():
        ask_for_title(answer)


def make_missing_titles(**_: Any) -> None:
    """Make the titles whose moment nobody noted."""
    made = Conversation.objects.filter(is_titled=False, title_prediction__status__in=TERMINAL)
    for conversation in made.select_related("title_prediction")[:BATCH]:
        give_title(conversation)
    if _model() is None:
        return
    untitled = _answers().filter(conversation__is_titled=False, conversation__title_prediction=None)
    for answer in untitled.filter(prediction__completed_at__gt=clock.now() - LATE)[:BATCH]:
        ask_for_title(answer)


def ask_for_title(answer: Message) -> None:
    """Ask for a title of the conversation that begins with `answer`, unless that was done before."""
    model = _model()
    if model is None:
        return
    try:
        _ask(answer, pins.choose(model))
    except NothingAnswers as error:
        logger.warning("%s makes no title: %s", model, error)


def give_title(conversation: Conversation) -> None:
    """Give a conversation the title that was made for it, unless it has one by now that nobody is to change."""
    made = conversation.title_prediction
    assert made is not None  # noqa: S101 - whoever calls has looked for it
    title = read_title(made.output) if made.status == SUCCEEDED else ""
    untitled = Conversation.objects.filter(pk=conversation.pk, is_titled=False)
    if not title:
        untitled.update(is_titled=True)
        why = made.error or "nothing readable came"
        logger.warning("No title was made: %s", why, extra={"prediction": str(made.pk)})
    elif untitled.update(is_titled=True, title=title):
        conversation.tell_owner()


def read_title(output: str) -> str:
    """Return what a model wrote as one line without Markdown, quotation marks and thoughts; "" if there is nothing."""
    _, written = split_thoughts(output[:READ])
    lines = filter(None, map(_bare, UNSEEN.sub("\n", written).splitlines()))
    return make_title(title) if (title := next(lines, "")) else ""


def _bare(line: str) -> str:
    words = re.sub(r"[*`~]+", "", line).lstrip("#> ").strip(EDGES)
    return LABEL.sub("", words, count=1).strip(EDGES) if LABEL.match(words) else words


def _answers() -> Any:  # a MessageQuerySet; its relations make it one that mypy does not know
    """The first answers of conversations that have ended as they should, or were stopped."""
    ended = Message.objects.filter(parent__parent=None, prediction__status__in=(SUCCEEDED, CANCELED))
    return ended.select_related("conversation", "parent", "prediction").filter(conversation__deleted_at=None)


def _model() -> Model | None:
    return Model.objects.available().filter(makes_titles=True).first()


@transaction.atomic
def _ask(answer: Message, choice: Choice) -> None:
    # Several workers may have noted the same end.
    untitled = Conversation.objects.filter(pk=answer.conversation_id, is_titled=False, title_prediction=None)
    conversation = untitled.select_for_update().first()
    if conversation is None:
        return
    given = choice.input_for([Turn("user", _prompt(answer))], **_limits(choice))
    conversation.title_prediction = choice.ask(given, user=conversation.owner, is_background=True)
    conversation.save(update_fields=["title_prediction"])
    transaction.on_commit(lambda: bus.publish(("work", {})))


def _prompt(answer: Message) -> str:
    assert answer.parent is not None  # noqa: S101 - it answers the first question
    prompt = PROMPT.format(question=answer.parent.text[:SHOWN])
    said = _begin_of(answer.prediction)
    return f"{prompt}\n\nAnswer: {said}" if said else prompt


def _begin_of(prediction: Prediction | None) -> str:
    return split_thoughts(prediction.output)[1][:SHOWN] if prediction else ""


def _limits(choice: Choice) -> dict[str, int]:
    """Return the input that keeps the answer short, where the version has one."""
    name = choice.family.max_tokens
    if not name or name not in choice.version.inputs:
        return {}
    most = choice.version.inputs[name].maximum
    return {name: min(MOST_TOKENS, int(most)) if most else MOST_TOKENS}
