"""Whoever may not stay is sent away, also where a page is open: over a socket, an event stream, a long poll."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.test import Client

from chat.models import Conversation, User
from chat.people import presence
from config.asgi import application
from predictions.database import query
from predictions.models import Model
from tests.conftest import WorkerThread
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.test_news_over_http import JSON, STREAM, asking
from tests.test_socket import begin, headers, prediction_of, session_of

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 15  # seconds


def disable(alice: User, session: str) -> None:
    alice.is_active = False
    alice.save()


def delete(alice: User, session: str) -> None:
    Conversation.objects.all().delete()
    alice.delete()


def sign_out(alice: User, session: str) -> None:
    client = Client()
    client.cookies["sessionid"] = session
    client.post("/accounts/logout/")


def demote(alice: User, session: str) -> None:
    User.objects.get(pk=alice.pk).groups.clear()


def change_password(alice: User, session: str) -> None:
    user = User.objects.get(pk=alice.pk)
    user.set_password("a long enough phrase")
    user.save()


def quietly_disable(alice: User, session: str) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)


def quietly_end(alice: User, session: str) -> None:
    Session.objects.filter(pk=session).update(expire_date="2020-01-01T00:00:00Z")


TOLD = [disable, delete, sign_out, demote, change_password]
Change = Callable[[User, str], None]


async def closes(communicator: WebsocketCommunicator) -> int:
    """Read to the close; return its code."""
    async with asyncio.timeout(WAIT):
        while (output := await communicator.receive_output(WAIT))["type"] != "websocket.close":
            pass
    code: int = output["code"]
    return code


async def connected(session: str) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(application, "/socket/", headers(session))
    assert (await communicator.connect())[0]
    return communicator


@pytest.mark.parametrize("change", TOLD)
async def test_a_socket_is_closed_at_once(change: Change, alice: User, model: Model, monkeypatch: Any) -> None:
    monkeypatch.setattr(presence, "CHECK", 60.0)
    conversation = await query(begin, alice, model)
    session = await query(session_of, alice)
    tab = await connected(session)
    await tab.send_to(json.dumps({"type": "open", "conversation": str(conversation.pk), "after": 0}))
    while json.loads(await tab.receive_from(WAIT)).get("type") != "messages":
        pass

    await query(change, alice, session)

    assert await closes(tab) == 1011  # the page comes back at once, and hears then what became of it
    again = await connected(session)
    if change is demote:
        assert json.loads(await again.receive_from(WAIT)) == {}
        await again.disconnect()
    else:
        assert await closes(again) == 4401


@pytest.mark.parametrize("change", [quietly_disable, quietly_end])
async def test_what_no_hint_tells_is_found_within_fifteen_seconds(
    change: Change, alice: User, monkeypatch: Any
) -> None:
    assert presence.CHECK * 1.2 < 15 - 3
    monkeypatch.setattr(presence, "CHECK", 0.05)
    session = await query(session_of, alice)
    tab = await connected(session)

    await query(change, alice, session)

    assert await closes(tab) == 1011


async def test_a_command_of_whoever_may_not_stay_is_not_done(alice: User, model: Model, monkeypatch: Any) -> None:
    monkeypatch.setattr(presence, "CHECK", 60.0)
    conversation = await query(begin, alice, model)
    session = await query(session_of, alice)
    tab = await connected(session)
    assert json.loads(await tab.receive_from(WAIT)) == {}
    await query(quietly_disable, alice, session)

    await tab.send_to(json.dumps({"type": "open", "conversation": str(conversation.pk), "after": 0}))

    assert await closes(tab) == 1011


@pytest.mark.parametrize("accept", [STREAM, JSON])
async def test_news_over_http_end(
    accept: str, alice: User, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    """Somebody signs out in one tab while another one hears an answer."""
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " secret."]))
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    follow = {"type": "follow", "prediction": str(prediction.pk), "edition": 0, "after": 0}
    async with asking(alice, [follow], accept) as exchange:
        if accept == STREAM:
            await exchange.start()
        sessions = await query(lambda: list(Session.objects.values_list("pk", flat=True)))
        await query(sign_out, alice, sessions[0])
        async with asyncio.timeout(WAIT):
            if accept == JSON:
                await exchange.start()
            told = await exchange.read()
        gate.open()

        assert "secret" not in told
