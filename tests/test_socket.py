"""The socket: what one tab is told, and who may listen."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from chat.models import Conversation, User
from config.asgi import application
from predictions.database import query
from predictions.models import Condition, File, Model, Prediction
from tests.conftest import WorkerThread
from tests.fake_replicate import Answer, FakeReplicate, Gate, Logs, Output, Script

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "http://localhost"
PNG = b"\x89PNG\r\n\x1a\n" + b"a picture" * 1_000


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def headers(session: str = "", origin: str | None = ORIGIN) -> list[tuple[bytes, bytes]]:
    sent = [(b"host", b"localhost")]
    if origin is not None:
        sent.append((b"origin", origin.encode()))
    if session:
        sent.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
    return sent


class Tab:
    """A page that only listens."""

    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self._communicator = communicator

    async def send(self, **frame: Any) -> None:
        await self._communicator.send_to(text_data=json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self._communicator.send_to(text_data=text)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next frame of one of these kinds."""
        async with asyncio.timeout(15):
            while True:
                frame: dict[str, Any] = json.loads(await self._communicator.receive_from(timeout=15))
                if frame.get("type") in kinds:
                    return frame

    async def read_to_end(self) -> tuple[str, dict[str, Any]]:
        """Keep the text as the page does, and return it with the last frame."""
        text, end, edition = "", 0, 0
        while True:
            frame = await self.next("output", "ended", "refused")
            if frame["type"] != "output":
                return text, frame
            if frame["edition"] != edition:
                text, end, edition = "", 0, frame["edition"]
            assert frame["offset"] == end
            text, end = text + frame["text"], frame["end"]


@asynccontextmanager
async def a_tab(user: User | None) -> AsyncIterator[Tab]:
    session = await query(session_of, user) if user else ""
    communicator = WebsocketCommunicator(application, "/socket/", headers(session))
    connected, _ = await communicator.connect()
    assert connected
    try:
        yield Tab(communicator)
    finally:
        await communicator.disconnect()


@pytest.fixture
def hints_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody look into the database unless a hint leads there."""
    monkeypatch.setattr("predictions.follow.LOOK_AGAIN", 60.0)
    monkeypatch.setattr("predictions.follow.LOOK_SELDOM", 60.0)


def begin(user: User, model: Model, text: str = "Hi") -> Conversation:
    return Conversation.begin(user, text, message_id=uuid.uuid4(), model=model)


def prediction_of(conversation: Conversation) -> Prediction:
    prediction = conversation.branch()[-1].prediction
    assert prediction is not None
    return prediction


async def test_a_tab_watches_an_answer_from_question_to_end(
    alice: User, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hello,", gate, " **world**."]))
    async with a_tab(alice) as tab:
        conversation = await query(begin, alice, model)
        await tab.send(type="open", conversation=str(conversation.pk), after=0)
        messages = await tab.next("messages")
        prediction = await query(prediction_of, conversation)
        assert "Hi" in messages["html"]
        assert str(prediction.pk) in messages["html"]
        assert (messages["after"], len(messages["path"])) == (2, 2)

        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        while (await tab.next("output"))["end"] < 6:
            pass
        gate.open()
        ended = await tab.next("ended")

    assert ended["status"] == "succeeded"
    assert "<strong>world</strong>" in ended["html"]


async def test_two_tabs_and_a_late_one_read_the_same(
    alice: User, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gates = [Gate() for _ in range(5)]
    fake.script(Script(steps=[step for n, gate in enumerate(gates) for step in (f"part {n} ", gate)]))
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)

    async def watch(after_gate: int) -> tuple[str, dict[str, Any]]:
        async with a_tab(alice) as tab:
            await asyncio.to_thread(gates[after_gate].wait_reached)
            await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
            if after_gate == 2:
                for gate in gates:
                    gate.open()
            return await tab.read_to_end()

    watching = [asyncio.create_task(watch(0)), asyncio.create_task(watch(0))]
    for gate in gates[:2]:
        await asyncio.to_thread(gate.wait_reached)
        gate.open()
    results = await asyncio.gather(*watching, watch(2))

    whole = "".join(f"part {n} " for n in range(5))
    for text, ended in results:
        assert whole.startswith(text)
        assert ended["status"] == "succeeded"
        assert whole.strip() in ended["html"]
    assert results[0][1] == results[1][1] == results[2][1]


@pytest.mark.parametrize("after", [0, 1, 3, 7])
async def test_a_tab_that_comes_back_gets_what_it_lacks(
    after: int, alice: User, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Grü", "ße 👩‍🚀", gate, "!"]))
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    await asyncio.to_thread(gate.wait_reached)
    text = "Grüße 👩‍🚀"
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        while (await tab.next("output"))["end"] < len(text):
            pass
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=after)
        frame = await tab.next("output")
        gate.open()
        await tab.next("ended")

    assert (frame["offset"], frame["end"], frame["text"]) == (after, len(text), text[after:])


async def test_a_message_of_another_tab_arrives(alice: User, model: Model) -> None:
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    async with a_tab(alice) as tab:
        await tab.send(type="open", conversation=str(conversation.pk), after=2)
        assert (await tab.next("messages"))["html"] == ""
        await query(Prediction.objects.filter(pk=prediction.pk).update, status="succeeded", output="Hello!")
        await query(conversation.ask, "And now?", message_id=uuid.uuid4(), model=model)
        messages = await tab.next("messages")

    assert "And now?" in messages["html"]
    assert "Hi" not in messages["html"]
    assert (messages["after"], len(messages["path"])) == (4, 4)


async def test_an_answer_that_was_tried_again_leaves_the_path(alice: User, model: Model) -> None:
    conversation = await query(begin, alice, model)
    failed = (await query(conversation.branch))[-1]
    await query(Prediction.objects.filter(pk=failed.prediction_id).update, status="failed")
    async with a_tab(alice) as tab:
        await tab.send(type="open", conversation=str(conversation.pk), after=2)
        await tab.next("messages")
        await query(conversation.answer_again, (await query(conversation.branch))[-1])
        messages = await tab.next("messages")

    assert str(failed.pk) not in messages["path"]
    assert len(messages["path"]) == 2


async def test_waiting_is_told_with_the_place_in_the_queue(alice: User, charlie: User, model: Model) -> None:
    await query(begin, charlie, model)
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        state = await tab.next("state")
        assert (state["phase"], state["ahead"]) == ("queued", 1)

        await query(Prediction.objects.exclude(pk=prediction.pk).update, status="canceled")
        assert (await tab.next("state"))["ahead"] == 0

        await query(Prediction.objects.filter(pk=prediction.pk).update, asked_at=timezone.now())
        assert (await tab.next("state"))["phase"] == "starting"


async def test_the_reason_to_wait_is_told_while_there_is_one(alice: User, model: Model) -> None:
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    await query(Condition.note_trouble, model.provider, "Replicate has trouble (error 503).", pause=60)
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        state = await tab.next("state")
        assert state["phase"] == "queued"
        assert re.fullmatch(r"Replicate has trouble \(error 503\)\. Next try in about (60|5\d) s\.", state["note"])

        await query(Condition.note_success, model.provider)
        assert (await tab.next("state"))["note"] == ""

        in_a_minute = timezone.now() + timedelta(seconds=60)
        await query(Condition.objects.filter(provider=model.provider).update, not_before=in_a_minute)
        note = (await tab.next("state"))["note"]
        assert re.fullmatch(r"Replicate’s rate limit is reached\. Next try in about (60|5\d) s\.", note)

        await query(Prediction.objects.filter(pk=prediction.pk).update, asked_at=timezone.now())
        state = await tab.next("state")
        while state["phase"] == "queued":
            state = await tab.next("state")
        assert (state["phase"], state["note"]) == ("starting", "")


async def test_a_question_that_goes_back_to_the_queue_says_why(
    alice: User, model: Model, fake: FakeReplicate, no_look_at_versions: None, hints_only: None
) -> None:
    fake.script(Script(on_create=Answer(429, {"detail": "Request was throttled.", "retry_after": 50})))
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    worker = WorkerThread()
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        state = await tab.next("state")
        assert (state["phase"], state["note"]) == ("queued", "")
        worker.start()
        try:
            while not state["note"]:
                state = await tab.next("state")
        finally:
            await asyncio.to_thread(worker.stop)

    assert state["phase"] == "queued"
    assert re.fullmatch(r"Replicate’s rate limit is reached\. Next try in about (50|4\d) s\.", state["note"])


async def test_a_lost_create_is_told_as_such(alice: User, model: Model) -> None:
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    now = timezone.now()
    await query(Prediction.objects.filter(pk=prediction.pk).update, asked_at=now, lost_at=now)
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        state = await tab.next("state")

    assert (state["phase"], state["since"]) == ("unknown", now.isoformat())


# ---------------------------------------------------------------- files

BAR = "{0:3}%|███       | {0}/100 [00:01<00:03, 15.97it/s]\n"


async def test_progress_and_images_are_told_as_they_come(
    alice: User, painter: Model, fake: FakeReplicate, worker: WorkerThread, hints_only: None
) -> None:
    half, whole = Gate(), Gate()
    images = [fake.output_file(PNG, name="first.png"), fake.output_file(PNG, name="second.png")]
    steps = [Logs(BAR.format(38)), half, Output(images[0]), Logs(BAR.format(61)), whole, Output(images[1])]
    fake.script(Script(steps=steps, stream=False))
    conversation = await query(begin, alice, painter)
    prediction = await query(prediction_of, conversation)
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        state = await tab.next("state")
        while state["progress"] is None:
            state = await tab.next("state")
        assert (state["phase"], state["progress"]) == ("running", 38)

        half.open()
        told = {frame["type"]: frame for frame in (await tab.next("state", "files"), await tab.next("state", "files"))}
        assert told["state"]["progress"] == 61
        assert ("first.png" in told["files"]["html"], "second.png" in told["files"]["html"]) == (True, False)
        whole.open()
        ended = await tab.next("ended")

    first, second = await query(list, File.objects.filter(prediction=prediction))
    assert ended["html"].index(f"/files/{first.pk}") < ended["html"].index(f"/files/{second.pk}")
    assert "without a word" not in ended["html"]


async def test_files_that_are_there_already_are_told_to_a_tab_that_comes_back(alice: User, model: Model) -> None:
    conversation = await query(begin, alice, model)
    prediction = await query(prediction_of, conversation)
    fields = {"prediction": prediction, "role": File.Role.OUTPUT, "media_type": "image/png"}
    await query(File.objects.create, **fields, position=0, name="first.png")
    running = {"status": "processing", "asked_at": timezone.now(), "started_at": timezone.now()}
    await query(Prediction.objects.filter(pk=prediction.pk).update, **running, file_count=1)
    async with a_tab(alice) as tab:
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        assert "first.png" in (await tab.next("files"))["html"]

        await query(File.objects.create, **fields, position=1, name="second.png")
        await query(Prediction.objects.filter(pk=prediction.pk).update, file_count=2)
        assert "second.png" in (await tab.next("files"))["html"]


async def test_a_database_that_fails_closes_the_socket_so_that_the_page_comes_back(
    alice: User, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await query(begin, alice, model)
    communicator = WebsocketCommunicator(application, "/socket/", headers(await query(session_of, alice)))
    await communicator.connect()

    def fail(*args: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("chat.news.messages_after", fail)
    frame = {"type": "open", "conversation": str(conversation.pk), "after": 0}
    await communicator.send_to(text_data=json.dumps(frame))

    async with asyncio.timeout(5):
        while (sent := await communicator.receive_output(5))["type"] != "websocket.close":
            pass
    assert sent["code"] == 1011


# ---------------------------------------------------------------- who may listen


async def test_a_stranger_is_told_nothing(alice: User, charlie: User, model: Model) -> None:
    conversation = await query(begin, alice, model, "a secret")
    prediction = await query(prediction_of, conversation)
    async with a_tab(charlie) as tab:
        await tab.send(type="open", conversation=str(conversation.pk), after=0)
        assert await tab.next("messages", "refused") == {"type": "refused", "reason": "There is no such conversation."}
        await tab.send(type="follow", prediction=str(prediction.pk), edition=0, after=0)
        assert await tab.next("output", "state", "files", "ended", "refused") == {
            "type": "refused",
            "reason": "There is no such answer.",
        }


async def test_who_is_not_signed_in_is_sent_away() -> None:
    communicator = WebsocketCommunicator(application, "/socket/", headers())
    await communicator.connect()

    closed = await communicator.receive_output(5)

    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://localhost.evil.example", "https://evil.example:443"]
)
async def test_a_foreign_page_cannot_connect(origin: str | None, alice: User) -> None:
    session = await query(session_of, alice)
    communicator = WebsocketCommunicator(application, "/socket/", headers(session, origin))

    connected, _ = await communicator.connect()

    assert not connected


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "hello",
        "[]",
        "{}",
        "[" * 5_000,
        '{"type": "open"}',
        '{"type": "open", "conversation": "x", "after": 0}',
        '{"type": "follow", "prediction": 7, "edition": 0, "after": 0}',
        '{"type": "follow", "prediction": "00000000-0000-0000-0000-000000000000", "edition": 0, "after": -1}',
        '{"type": "delete", "conversation": "00000000-0000-0000-0000-000000000000"}',
    ],
)
async def test_a_bad_frame_is_refused_and_the_socket_lives(text: str, alice: User) -> None:
    async with a_tab(alice) as tab:
        await tab.send_text(text)
        assert (await tab.next("refused"))["reason"] == "This frame is not understood."
        await tab.send(type="open", conversation=str(uuid.uuid4()), after=0)
        assert (await tab.next("refused"))["reason"] == "There is no such conversation."
