"""How much one person's browsers may ask."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from channels.testing import WebsocketCommunicator

from chat.limits import BURST, CONNECTIONS, Bucket, Places, TooManyConnections
from chat.models import User
from config.asgi import application
from predictions.database import query
from tests.test_socket import headers, session_of
from tests.waiting import WAIT_LIMIT


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_granted_at_once_and_no_more() -> None:
    bucket = Bucket(burst=60, rate=10, clock=Clock())

    assert [bucket.take() for _ in range(62)] == [True] * 60 + [False] * 2


def test_ten_a_second_are_granted_for_long() -> None:
    clock = Clock()
    bucket = Bucket(burst=60, rate=10, clock=clock)

    for _ in range(10_000):
        clock.now += 0.1
        assert bucket.take()


def test_more_than_ten_a_second_are_not_granted_for_long() -> None:
    clock = Clock()
    bucket = Bucket(burst=60, rate=10, clock=clock)

    granted = 0
    for _ in range(2_000):
        clock.now += 0.05
        granted += bucket.take()

    assert granted == pytest.approx(60 + 2_000 * 0.05 * 10, abs=1)


def test_what_was_not_taken_in_an_hour_is_no_more_than_a_burst() -> None:
    clock = Clock()
    bucket = Bucket(burst=60, rate=10, clock=clock)
    clock.now += 3_600

    assert sum(bucket.take() for _ in range(100)) == 60


def test_each_person_has_so_many_places_and_gets_them_back() -> None:
    places = Places(2)
    with places.take("alice"), places.take("alice"):
        with pytest.raises(TooManyConnections), places.take("alice"):
            pass
        with places.take("bob"):
            pass

    with places.take("alice"), places.take("alice"):
        pass


def test_a_place_is_given_back_however_its_holder_ends() -> None:
    places = Places(1)
    for _ in range(2):
        with pytest.raises(KeyError), places.take("alice"):
            raise KeyError


# ---------------------------------------------------------------- sockets


@asynccontextmanager
async def a_socket(user: User) -> AsyncIterator[WebsocketCommunicator]:
    communicator = WebsocketCommunicator(application, "/socket/", headers(await query(session_of, user)))
    assert (await communicator.connect())[0]
    yield communicator
    await communicator.disconnect()


async def closing(communicator: WebsocketCommunicator) -> tuple[str, int]:
    """What is said last, and the code."""
    reason = ""
    while (sent := await communicator.receive_output(WAIT_LIMIT))["type"] != "websocket.close":
        reason = json.loads(sent["text"]).get("reason", reason)
    return reason, sent["code"]


@pytest.mark.django_db(transaction=True)
async def test_a_tab_that_sends_too_much_is_told_so_and_closed(alice: User) -> None:
    async with a_socket(alice) as socket:
        for _ in range(BURST + 20):
            await socket.send_to(text_data="{}")

        assert await closing(socket) == ("This page sends too much. It comes back in a while.", 1008)


@pytest.mark.django_db(transaction=True)
async def test_who_has_fifty_tabs_open_is_told_so_and_others_are_not_held_up(alice: User, charlie: User) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            await stack.enter_async_context(a_socket(alice))
        async with a_socket(alice) as socket:
            assert await closing(socket) == ("You have too many pages open here. Close some of them.", 1008)
        async with a_socket(charlie) as socket:
            assert await socket.receive_from(WAIT_LIMIT) == "{}"

    async with a_socket(alice) as socket:
        assert await socket.receive_from(WAIT_LIMIT) == "{}"
