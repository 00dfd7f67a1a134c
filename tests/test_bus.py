"""Hints between threads and processes; the contract is written once and run for each bus."""

import asyncio
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from predictions.bus import BACKLOG, Bus
from predictions.redis_bus import CHANNEL, RedisBus
from tests.services import real_valkey
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with real_valkey() as url:
        yield url


@pytest.fixture(params=["in-process", "redis"])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    with closing(Bus() if request.param == "in-process" else RedisBus(request.getfixturevalue("valkey"))) as bus:
        yield bus


async def live(bus: Bus) -> None:
    async with asyncio.timeout(10):
        while isinstance(bus, RedisBus) and not bus._listening.is_set():
            await asyncio.sleep(0.01)


async def test_what_is_told_arrives_with_those_who_listen(bus: Bus) -> None:
    with bus.subscribe("a") as a, bus.subscribe("a", "b") as both, bus.subscribe("c") as c:
        await live(bus)
        bus.publish(("a", {"n": 1}), ("b", {"n": 2}))

        assert await a.wait(5) == [("a", {"n": 1})]
        assert await both.wait(5) == [("a", {"n": 1}), ("b", {"n": 2})]
        assert await c.wait(0.01) == []


async def test_any_thread_may_tell(bus: Bus) -> None:
    with bus.subscribe("a") as a:
        await live(bus)
        thread = threading.Thread(target=bus.publish, args=[("a", {})])
        thread.start()
        messages = await a.wait(5)
        thread.join()

    assert messages == [("a", {})]


async def test_who_does_not_read_is_told_that_something_was_lost(bus: Bus) -> None:
    with bus.subscribe("a") as slow:
        await live(bus)
        bus.publish(*(("a", {"n": n}) for n in range(BACKLOG + 1)))

        assert await slow.wait(5) is None
        bus.publish(("a", {"n": "next"}))
        assert await slow.wait(5) == [("a", {"n": "next"})]


async def test_nothing_is_kept_of_those_who_left(bus: Bus) -> None:
    with bus.subscribe("a"):
        pass

    assert not bus._subscriptions


async def test_foreign_bytes_on_the_channel_harm_nobody(valkey: str) -> None:
    with closing(RedisBus(valkey)) as bus, bus.subscribe("a") as a:
        await live(bus)
        client = redis.Redis.from_url(valkey)
        forged = json.dumps([["a", {"text": "forged"}]]).encode()
        another = hmac.digest(b"another key", forged, "sha256") + forged
        for rubbish in (b"", b"\xff", b"7", b"[1]", b'["a"]', b'[["a", 7]]', b"[" * 5_000, forged, another, bytes(32)):
            client.publish(CHANNEL, rubbish)
        bus.publish(("a", {"n": 1}))
        client.close()

        assert await a.wait(5) == [("a", {"n": 1})]


async def test_without_redis_this_process_still_hears_itself() -> None:
    with closing(RedisBus("redis://127.0.0.1:1/0")) as bus, bus.subscribe("a") as a:
        bus.publish(("a", {"n": 1}))

        assert await a.wait(5) == [("a", {"n": 1})]


async def test_a_redis_that_comes_back_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictions.redis_bus.PUBLISH_PAUSE", 0.1)
    with real_valkey() as url, closing(RedisBus(url)) as bus, bus.subscribe("a") as a:
        await live(bus)
        admin = redis.Redis.from_url(url)
        admin.client_kill_filter(_type="pubsub")
        assert await a.wait(5) is None
        await asyncio.to_thread(wait_until, lambda: admin.client_list(_type="pubsub"))
        admin.close()
        await live(bus)
        bus.publish(("a", {"n": 2}))

        assert await a.wait(5) == [("a", {"n": 2})]


async def test_who_waits_when_redis_goes_away_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    with real_valkey() as url, closing(RedisBus(url)) as bus, bus.subscribe("a") as a:
        await live(bus)
        assert bus.reaches_others
        admin = redis.Redis.from_url(url)
        admin.client_kill_filter(_type="pubsub")
        admin.close()

        assert await a.wait(5) is None


async def test_a_redis_that_does_not_answer_holds_nobody_up() -> None:
    """The listener is dead silent: whoever publishes has it told to this process, and goes on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with closing(RedisBus(url)) as bus, bus.subscribe("a") as a:
            bus.publish(("a", {"n": 1}))
            assert await a.wait(0) == []  # it is on its way to Redis, in another thread

            assert await a.wait(5) == [("a", {"n": 1})]
