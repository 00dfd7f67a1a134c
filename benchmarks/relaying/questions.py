"""Somebody who asks, in a process of their own: conversations by the hundred, through Parley's models."""

import time
import uuid

import django

django.setup()

from django.conf import settings  # noqa: E402 - models exist once Django is set up
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402

from benchmarks.relaying.control import serve_plainly  # noqa: E402
from chat.models import Conversation, Message, User  # noqa: E402
from predictions.models import Model, Prediction  # noqa: E402

LONGEST_WAIT = 30.0  # seconds until the worker has read what the model takes
EACH = 25  # answers of one person; the sockets that one may have are limited


def ask(count: int) -> list[tuple[str, str]]:
    """Begin `count` conversations of several people; return ids, and cookies of who may follow them."""
    model = wait_for_model()
    answers = []
    for number in range(0, count, EACH):
        person, cookie = sign_in(number // EACH)
        for _ in range(min(EACH, count - number)):
            conversation = Conversation.begin(person, "How are you?", message_id=uuid.uuid4(), model=model)
            [key] = Prediction.objects.filter(message__conversation=conversation).values_list("pk", flat=True)
            answers.append((str(key), cookie))
    return answers


def look(people: int, questions: int) -> list[tuple[str, str]]:
    """Give each of so many people a conversation of so many questions; return ids, and cookies of who sees them."""
    shown = []
    for person, cookie in map(sign_in, range(people)):
        conversation = Conversation.objects.create(owner=person, title="How are you?")
        Message.objects.bulk_create(
            Message(conversation=conversation, ordinal=ordinal, role=Message.Role.USER, text="How are you?")
            for ordinal in range(1, questions + 1)
        )
        shown.append((str(conversation.pk), cookie))
    return shown


def sign_in(number: int) -> tuple[User, str]:
    """Return one of the people, and the cookie of their browser."""
    person, _ = User.objects.get_or_create(username=f"alice{number}")
    session = SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.save()
    return person, f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def wait_for_model() -> Model:
    end = time.monotonic() + LONGEST_WAIT
    while (model := Model.objects.filter(versions__is_described=True).first()) is None:
        assert time.monotonic() < end, "no worker has described the model"
        time.sleep(0.1)
    return model


if __name__ == "__main__":
    serve_plainly({"ask": ask, "look": look})
