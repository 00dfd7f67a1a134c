"""What holds an event loop up is named in the log."""

import asyncio
import logging
import threading
import time

import pytest

from predictions import watchdog
from tests.waiting import WAIT_LIMIT


def hold_everything_up() -> None:
    time.sleep(1.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.3)
    monkeypatch.setattr(watchdog, "LOOK_AGAIN", 0.05)


def test_what_holds_a_loop_up_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def stand_still() -> None:
        watchdog.watch(asyncio.get_running_loop())
        await asyncio.sleep(0)
        hold_everything_up()

    with caplog.at_level(logging.WARNING, watchdog.logger.name):
        asyncio.run(stand_still())

    [told] = caplog.messages
    assert "hold_everything_up" in told


def test_a_watch_ends_with_its_loop() -> None:
    async def begin() -> set[threading.Thread]:
        before = set(threading.enumerate())
        watchdog.watch(asyncio.get_running_loop())
        return set(threading.enumerate()) - before

    [watch] = asyncio.run(begin())
    watch.join(WAIT_LIMIT)
    assert not watch.is_alive()
