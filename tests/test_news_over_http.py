"""The news over HTTP: the same frames as over a socket, for whoever has no socket."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import DatabaseError

from chat import limits, news_views
from chat.leaving import LEAVE
from chat.models import Conversation, User
from chat.news_views import Seen
from config.asgi import application
from predictions.database import query
from predictions.models import Model, Prediction
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.site import Site
from tests.test_socket import begin, headers, prediction_of, session_of
from tests.visitor import Visitor, events
from tests.waiting import WAIT_LIMIT, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

STREAM, JSON = "text/event-stream", "application/json"


# ---------------------------------------------------------------- before a real server


@pytest.fixture(scope="module")
def ada(site: Site) -> Iterator[Visitor]:
    with Visitor(site.url) as ada:
        ada.set_up(site.address)
        yield ada


def test_an_event_stream_tells_an_answer_as_it_is_written(ada: Visitor, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Grüße 👩‍🚀 ", gate, "und\n\nmehr."]))
    asked = ada.ask("Say hello")
    with ada.stream(asked.frames()) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in response.headers
        told = events(response)
        assert next(told) == {}
        text = ""
        for frame in told:
            if frame.get("type") == "output":
                assert frame["offset"] == len(text)
                text += frame["text"]
                gate.open()
            elif frame.get("type") == "ended":
                break

    assert frame["status"] == "succeeded"
    assert "mehr." in frame["html"]
    assert "Grüße 👩‍🚀 und\n\nmehr.".startswith(text)


def test_polls_tell_an_answer_and_wait_while_there_is_nothing_new(ada: Visitor, host: FakeReplicate) -> None:
    gates = [Gate() for _ in range(3)]
    host.script(Script(steps=[step for n, gate in enumerate(gates) for step in (f"part {n} ", gate)]))
    asked = ada.ask("Count")
    answers, text, seen, frame = [], "", "", {}
    with ThreadPoolExecutor(1) as executor:
        while frame.get("type") != "ended":
            poll = executor.submit(ada.poll, asked.frames(messages=2, after=len(text)), seen)
            if text.endswith(" ") and seen == answers[-1]["seen"]:
                # Whatever is told from here on was not there when it was asked.
                gates[text.count("part") - 1].open()
            answers.append(poll.result())
            seen = answers[-1]["seen"]
            for frame in answers[-1]["frames"]:
                if frame["type"] == "output":
                    assert frame["offset"] == len(text)
                    text += frame["text"]

    assert all(answer["frames"] for answer in answers), "a poll came back with nothing"
    assert len(answers) < 25
    assert (frame["status"], "part 2" in frame["html"]) == ("succeeded", True)
    for kind in ("messages", "state"):
        told = [json.dumps(frame) for answer in answers for frame in answer["frames"] if frame["type"] == kind]
        assert len(told) == len(set(told)), "told twice"


def test_one_person_has_fifty_places_and_who_leaves_gives_one_back(ada: Visitor, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Hold", gate]))
    frames = ada.ask("Hold the line").frames()

    def status() -> int:
        with ada.stream(frames) as response:
            return response.status_code

    with ExitStack() as stack:
        for _ in range(limits.CONNECTIONS):
            wait_until(lambda: stack.enter_context(ada.stream(frames)).status_code == 200)
        last = stack.pop_all()
        with ada.stream(frames) as refused:
            refused.read()
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
        assert refused.json() == {"detail": "You have too many pages open here. Close some of them."}
        last.close()

    wait_until(lambda: status() == 200)
    gate.open()


def test_a_process_that_ends_lets_streams_end_as_they_should(ada: Visitor, site: Site, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["Hold", gate]))
    try:
        with ada.stream(ada.ask("Hold the line").frames()) as response:
            told = events(response)
            assert next(told) == {}
            site.process.terminate()
            for _ in told:  # to the end, which a stream that is cut off does not have
                pass
        assert site.process.wait(WAIT_LIMIT) == 0
    finally:
        gate.open()
        site.kill()
        site.start()


@pytest.mark.parametrize("accept", [STREAM, JSON])
def test_who_is_not_signed_in_is_told_so(accept: str, site: Site) -> None:
    answer = httpx.get(f"{site.url}/news/?frames=[]", headers={"Accept": accept}, trust_env=False)

    assert (answer.status_code, answer.json()) == (401, {"detail": "Sign in."})


def test_news_are_only_read(ada: Visitor) -> None:
    answer = ada.http.post("/news/", data={"frames": "[]"})

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


OPEN = {"type": "open", "conversation": str(uuid.uuid4()), "after": 0}
FOLLOW = {"type": "follow", "prediction": str(uuid.uuid4()), "edition": 0, "after": 0}


@pytest.mark.parametrize("accept", [STREAM, JSON])
@pytest.mark.parametrize(
    "frames",
    [
        *("", "hello", "7", "{}", "[]", "[7]", "[[]]", "[{}]", '"open"', "[" * 5_000),
        json.dumps([{"type": "delete"}]),
        json.dumps([OPEN, OPEN]),
        json.dumps([FOLLOW] * 21),
    ],
    ids=lambda frames: frames[:20],
)
def test_frames_that_no_page_sends_are_refused(frames: str, accept: str, ada: Visitor) -> None:
    answer = ada.http.get("/news/", params={"frames": frames}, headers={"Accept": accept})

    assert (answer.status_code, answer.json()) == (400, {"detail": "These frames are not understood."})


def test_a_question_without_frames_is_refused(ada: Visitor) -> None:
    assert ada.http.get("/news/").status_code == 400


def test_a_neighbouring_site_gets_no_news(ada: Visitor) -> None:
    answer = ada.http.get("/news/", params={"frames": json.dumps([OPEN])}, headers={"Sec-Fetch-Site": "same-site"})

    assert answer.status_code == 403


# ---------------------------------------------------------------- before the application alone


class Exchange:
    """One request, and its response as it comes."""

    def __init__(self, communicator: ApplicationCommunicator) -> None:
        self._communicator = communicator
        self._frames: list[dict[str, Any]] = []  # that came together with others
        self.has_ended = False

    async def start(self) -> int:
        message = await self._communicator.receive_output(WAIT_LIMIT)
        assert message["type"] == "http.response.start"
        status: int = message["status"]
        return status

    async def next(self) -> str:
        message = await self._communicator.receive_output(WAIT_LIMIT)
        self.has_ended = not message.get("more_body", False)
        return message["body"].decode()

    async def next_frame(self, *kinds: str) -> dict[str, Any]:
        """The next frame of one of these kinds from an event stream."""
        while True:
            while self._frames:
                if (frame := self._frames.pop(0)).get("type") in kinds:
                    return frame
            events = (await self.next()).removesuffix("\n\n").split("\n\n")
            self._frames = [json.loads(event.removeprefix("data: ")) for event in events]

    async def read(self) -> str:
        """The rest, to the end."""
        pieces = []
        while not self.has_ended:
            pieces.append(await self.next())
        return "".join(pieces)

    async def tell(self, kind: str) -> None:
        """Have the server say something about this request."""
        await self._communicator.send_input({"type": kind})

    async def wait(self) -> None:
        await self._communicator.wait(WAIT_LIMIT)


@asynccontextmanager
async def asking(user: User, frames: list[dict[str, Any]], accept: str, seen: str = "") -> AsyncIterator[Exchange]:
    session = await query(session_of, user)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/news/",
        "query_string": urlencode({"frames": json.dumps(frames), "seen": seen}).encode(),
        "headers": [*headers(session), (b"accept", accept.encode())],
    }
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
    try:
        yield Exchange(communicator)
    finally:
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(WAIT_LIMIT)


def frames_of(conversation: Conversation, prediction: Prediction, after: int = 2) -> list[dict[str, Any]]:
    return [
        {"type": "open", "conversation": str(conversation.pk), "after": after},
        {"type": "follow", "prediction": str(prediction.pk), "edition": 0, "after": 0},
    ]


@pytest.fixture
async def frames(alice: User, model: Model) -> list[dict[str, Any]]:
    """What a page of alice's asks that shows an answer that is waited for."""
    conversation = await query(begin, alice, model)
    return frames_of(conversation, await query(prediction_of, conversation))


async def test_a_stream_ends_by_itself_so_that_the_page_comes_back(
    alice: User, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_views, "STREAM_LIMIT", 0.3)
    async with asking(alice, frames, STREAM) as exchange:
        assert await exchange.start() == 200
        text = await exchange.read()

    assert text.startswith("data: {}\n\n")
    assert text.endswith("}\n\n")


async def poll(user: User, frames: list[dict[str, Any]], seen: str = "") -> tuple[list[dict[str, Any]], str]:
    async with asking(user, frames, JSON, seen) as exchange:
        assert await exchange.start() == 200
        answer = json.loads(await exchange.read())
    return answer["frames"], answer["seen"]


async def see_everything(user: User, frames: list[dict[str, Any]], kinds: set[str]) -> str:
    """Poll until frames of these kinds were told, each once."""
    told, seen = [], ""
    while len(told) < len(kinds):
        fresh, seen = await poll(user, frames, seen)
        told += [frame["type"] for frame in fresh]
    assert set(told) == kinds
    return seen


async def test_a_poll_without_news_ends_with_an_empty_list(
    alice: User, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = await see_everything(alice, frames, {"messages", "state"})
    monkeypatch.setattr(news_views, "POLL_PATIENCE", 0.3)

    assert (await poll(alice, frames, seen))[0] == []


@pytest.mark.parametrize("accept", [STREAM, JSON])
async def test_a_process_that_ends_has_responses_end_before(
    accept: str, alice: User, frames: list[dict[str, Any]]
) -> None:
    seen = await see_everything(alice, frames, {"messages", "state"})
    async with asking(alice, frames, accept, seen) as exchange:
        if accept == STREAM:
            await exchange.start()
            await exchange.next()
        await exchange.tell(LEAVE)
        if accept == JSON:
            assert await exchange.start() == 200
        text = await exchange.read()
        await exchange.wait()

    if accept == JSON:
        assert json.loads(text)["frames"] == []


async def test_news_that_cannot_be_had_end_a_stream_and_fail_a_poll(
    alice: User, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("chat.news.messages_after", fail)
    async with asking(alice, frames[:1], STREAM) as exchange:
        assert await exchange.start() == 200
        await exchange.read()
        await exchange.wait()
    async with asking(alice, frames[:1], JSON) as exchange:
        assert await exchange.start() == 503
        assert json.loads(await exchange.read()) == {"detail": "The news cannot be had at the moment."}


@pytest.mark.parametrize("accept", [STREAM, JSON])
async def test_whoever_goes_away_is_followed_no_longer(
    accept: str, alice: User, frames: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()

    class WatchedTab(news_views.Tab):
        async def close(self) -> None:
            await super().close()
            closed.set()

    monkeypatch.setattr(news_views, "Tab", WatchedTab)
    monkeypatch.setattr(news_views, "GATHERING", WAIT_LIMIT)
    async with asking(alice, frames, accept) as exchange:
        if accept == STREAM:
            await exchange.start()
        await exchange.tell("http.disconnect")
        async with asyncio.timeout(WAIT_LIMIT):
            await closed.wait()
        await exchange.wait()


@pytest.mark.parametrize("accept", [STREAM, JSON])
async def test_a_stranger_is_told_nothing(accept: str, charlie: User, frames: list[dict[str, Any]]) -> None:
    async with asking(charlie, frames, accept) as exchange:
        await exchange.start()
        if accept == JSON:
            told = json.loads(await exchange.read())["frames"]
        else:
            told = [await exchange.next_frame("refused", "messages", "state", "output") for _ in range(2)]

    assert {frame["type"] for frame in told} == {"refused"}
    assert {frame["reason"] for frame in told} == {"There is no such conversation.", "There is no such answer."}


async def test_a_frame_that_a_tab_does_not_understand_is_refused_as_over_a_socket(alice: User) -> None:
    async with asking(alice, [{"type": "open", "conversation": "x", "after": 0}], JSON) as exchange:
        assert await exchange.start() == 200
        told = json.loads(await exchange.read())["frames"]

    assert told == [{"type": "refused", "reason": "This frame is not understood."}]


# ---------------------------------------------------------------- what a page has seen


def state(prediction: int, phase: str) -> str:
    return json.dumps({"type": "state", "prediction": str(prediction), "phase": phase})


def test_what_is_told_as_a_whole_is_news_once_until_it_changes() -> None:
    seen = Seen("")
    assert [seen.notes(state(1, phase)) for phase in ("queued", "queued", "running", "queued")] == [
        *(True, False, True, True)
    ]
    again = Seen(str(seen))

    assert (again.notes(state(1, "queued")), again.notes(state(1, "running"))) == (False, True)
    assert str(Seen(str(seen))) == str(seen)


def test_text_and_ends_are_always_news_and_heartbeats_never() -> None:
    seen = Seen("")
    for frame in ('{"type": "output", "prediction": "1", "text": "a"}', '{"type": "ended", "prediction": "1"}'):
        assert [seen.notes(frame), seen.notes(frame)] == [True, True]
    assert not seen.notes("{}")
    assert str(seen) == ""


def test_what_a_page_has_seen_does_not_grow_for_ever_and_the_newest_is_kept() -> None:
    text = ""
    for prediction in range(500):
        seen = Seen(text)
        assert seen.notes(state(prediction, "queued"))
        text = str(seen)
        assert not Seen(text).notes(state(prediction, "queued"))

    assert len(text) < 1_500


@pytest.mark.parametrize("text", ["x", "0", "zz" * 500, "\0" * 24, "0" * 23])
def test_what_no_server_gave_counts_for_nothing(text: str) -> None:
    assert Seen(text).notes(state(1, "queued"))
