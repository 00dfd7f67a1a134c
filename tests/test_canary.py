"""Secrets are planted, an answer is had and another one fails; then they are looked for wherever people can look."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core import serializers
from django.test import Client
from django.urls import reverse

from chat.models import Conversation, User
from config.logs import TALKATIVE, logging_config
from predictions import providers, webhooks
from predictions.database import query
from predictions.models import Condition, Model, Prediction
from predictions.providers.replicate import ReplicateProvider
from tests.conftest import ended
from tests.fake_replicate import FakeReplicate, Script
from tests.test_socket import a_tab, begin, prediction_of, session_of

METRICS = "metrics-canary-8d1f"
# What has to be there to do its work: the table and the secrets in it.
NEEDED = {
    "predictions_prediction": {"stream"},
    "django_session": {"session"},
    "people_signin": {"session"},
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that Parley's log holds when it is told to say everything."""
    written = io.StringIO()
    how = logging_config("json", level="DEBUG", own_level="DEBUG")
    formatter = how["formatters"]["line"]
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter["()"](**{name: value for name, value in formatter.items() if name != "()"}))
    loggers = [logging.getLogger(name) for name in ("", "chat", "predictions", "django.request")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    assert all(logging.getLogger(name).getEffectiveLevel() > logging.DEBUG for name in TALKATIVE)
    yield written
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
async def test_no_secret_is_where_people_can_look(
    alice: User, fake: FakeReplicate, secret: str, log: io.StringIO, settings: Any
) -> None:
    settings.METRICS_TOKEN = METRICS
    await query(User.objects.filter(pk=alice.pk).update, is_staff=True, is_superuser=True)
    person = await query(User.objects.get, pk=alice.pk)
    session, model = await query(session_of, person), await query(Model.objects.get)
    fake.script(Script(steps=["Hello"]), Script(steps=["Half"], status="failed", error="It broke."))
    first, second = await query(begin, person, model), await query(begin, person, model, "Again")
    answer, failure = await query(prediction_of, first), await query(prediction_of, second)
    frames = [await followed(person, key) for key in (answer, failure)]
    for prediction in (answer, failure):
        await query(ended, prediction)

    streams = await query(lambda: [each.urls["stream"] for each in Prediction.objects.exclude(urls={})])
    canaries = {
        "token": fake.token,
        "stream": streams[0].rpartition("/")[2],
        "webhook secret": secret.removeprefix("whsec_"),
        "webhook address": webhooks._token(answer.pk),
        "metrics token": METRICS,
        "session": session,
        "key": settings.SECRET_KEY,
        "password": "correct horse",
    }
    assert len(streams) == 2
    assert all(len(canary) > 8 for canary in canaries.values())
    places = {
        "log": log.getvalue(),
        "frames": json.dumps(frames),
        "reprs": await query(reprs, answer),
        **await query(pages, person, session, first, second),
    }

    assert len(log.getvalue()) > 100
    assert len(places) > 30
    found = [(place, name) for place, text in places.items() for name, canary in canaries.items() if canary in text]
    assert found == []
    for table, text in (await query(database)).items():
        there = {name for name, canary in canaries.items() if canary in text}
        assert there <= NEEDED.get(table, set()), table
    assert not await asyncio.to_thread(on_disk, list(canaries.values()))


async def followed(user: User, prediction: Prediction) -> list[dict[str, Any]]:
    """Every frame that a page is told until an answer has ended."""
    frames = []
    async with a_tab(user) as tab:
        await tab.send(type="sidebar")
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        while not frames or frames[-1]["type"] != "ended":
            frames.append(await tab.next("output", "state", "files", "messages", "sidebar", "ended"))
    return frames


def pages(user: User, session: str, *conversations: Conversation) -> dict[str, str]:
    """What an admin is shown, who has the right to see everything; exports, and pages of errors, among it."""
    client = Client(raise_request_exception=False)
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    addresses = [
        reverse("chat:home"),
        "/sidebar/",
        "/search/?q=hi",
        "/nowhere/",
        "/metrics",
        "/health/ready",
        "/admin/",
    ]
    for conversation in conversations:
        shown_as = ("detail", "manage", "json", "md")
        addresses += [reverse(f"chat:conversation_{name}", args=[conversation.pk]) for name in shown_as]
        message = conversation.branch()[-1].pk
        addresses += [reverse(f"chat:receipt_{name}", args=[message]) for name in ("detail", "download")]
    for kind in admin.site._registry:
        page = f"admin:{kind._meta.app_label}_{kind._meta.model_name}_"
        addresses.append(reverse(page + "changelist"))
        addresses += [reverse(page + "change", args=[row.pk]) for row in kind._default_manager.all()[:3]]
    shown = {address: client.get(address) for address in addresses}
    shown["without a token"] = Client(enforce_csrf_checks=True).post("/accounts/login/", {"password": "x"})
    shown["broken"] = broken(client, conversations[0])
    assert shown["broken"].status_code == 500
    return {address: f"{answer.headers} {answer.content.decode()}" for address, answer in shown.items()}


def broken(client: Client, conversation: Conversation) -> Any:
    """Have a page break that was about to read everything."""

    def fail(*args: Any) -> None:
        raise RuntimeError("this went wrong")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chat.export.as_json", fail)
        return client.get(reverse("chat:conversation_json", args=[conversation.pk]))


def reprs(prediction: Prediction) -> str:
    """What a debugger or an exception shows of the objects that hold secrets."""
    row = prediction.model.provider
    provider = providers.connect(row)
    assert isinstance(provider, ReplicateProvider)
    held = [prediction, row, provider, *vars(provider).values(), Condition.objects.of(row)]
    held += list(vars(provider._client).values())
    asyncio.run(provider.close())
    return " ".join(f"{each!r} {each}" for each in held)


def database() -> dict[str, str]:
    tables = {kind._meta.db_table: kind for kind in apps.get_models() if kind._meta.managed}
    return {name: serializers.serialize("json", kind._default_manager.all()) for name, kind in tables.items()}


def on_disk(canaries: list[str]) -> list[str]:
    """The files of people and models that hold one of `canaries`."""
    kept = [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]
    return [str(path) for path in kept if any(canary.encode() in path.read_bytes() for canary in canaries)]
