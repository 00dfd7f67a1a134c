"""Tell the other threads and processes that something has happened.

What is told is a hint, never the truth: it may be lost, and then a reader finds it in the database a
second later. Without `REDIS_URL` the hints stay in this process; with it they reach all processes
(`redis_bus.py`).
"""

import asyncio
import threading
from collections import defaultdict
from contextlib import suppress
from typing import Any, Self

from django.conf import settings

from predictions import metrics

Message = dict[str, Any]  # JSON, whose shape depends on the topic
Topical = tuple[str, Message]

BACKLOG = 64  # messages a subscriber may leave unread before it must look into the database


class Subscription:
    """The messages of some topics, for one reader in one event loop; within `with` they come."""

    # Idle tabs have two of these each.
    __slots__ = ("_bus", "_lapsed", "_messages", "_topics", "_waiter", "loop")

    def __init__(self, bus: "Bus", topics: tuple[str, ...]) -> None:
        self.loop = asyncio.get_running_loop()
        self._bus = bus
        self._topics = topics
        self._messages: list[Topical] = []
        self._lapsed = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._bus.add(self, self._topics)
        return self

    def __exit__(self, *exception: object) -> None:
        self._bus.remove(self, self._topics)

    async def wait(self, timeout: float) -> list[Topical] | None:
        """Wait for messages up to `timeout` seconds; None means that some were lost: look into the database."""
        if not self._messages and not self._lapsed:
            # By hand: `asyncio.timeout` around an event costs several times as much, and this runs for each frame.
            self._waiter = self.loop.create_future()
            timer = self.loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        messages, self._messages = self._messages, []
        lapsed, self._lapsed = self._lapsed, False
        metrics.BUS_LAPSED.inc(lapsed)
        return None if lapsed else messages

    def put(self, message: Topical) -> None:
        """Take a message; only to be called in the reader's loop."""
        if len(self._messages) < BACKLOG:
            self._messages.append(message)
        else:
            self._lapsed = True
        self._wake()

    def lapse(self) -> None:
        """Note that something may have been lost; only to be called in the reader's loop."""
        self._lapsed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Bus:
    """Hands messages to this process's subscribers, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)

    def subscribe(self, *topics: str) -> Subscription:
        return Subscription(self, topics)

    def add(self, subscription: Subscription, topics: tuple[str, ...]) -> None:
        with self._lock:
            for topic in topics:
                self._subscriptions[topic].add(subscription)

    def remove(self, subscription: Subscription, topics: tuple[str, ...]) -> None:
        with self._lock:
            for topic in topics:
                self._subscriptions[topic].discard(subscription)
                if not self._subscriptions[topic]:
                    del self._subscriptions[topic]

    def publish(self, *messages: Topical) -> None:
        """Tell everybody; never raises, and never waits for long."""
        self.deliver(messages)

    @property
    def reaches_others(self) -> bool:
        """Whether what other processes tell is heard here."""
        return False

    def trouble(self) -> str | None:
        """Say what keeps hints from other processes, or None; this may take a few seconds."""
        return None

    def close(self) -> None:
        """Tell and hear nothing any more: the process is about to end."""

    def deliver(self, messages: tuple[Topical, ...]) -> None:
        """Hand the messages to the subscribers in this process."""
        parcels: defaultdict[asyncio.AbstractEventLoop, list[tuple[Subscription, Topical]]] = defaultdict(list)
        with self._lock:
            for message in messages:
                for subscription in self._subscriptions.get(message[0], ()):
                    parcels[subscription.loop].append((subscription, message))
        for loop, parcel in parcels.items():
            try:
                loop.call_soon_threadsafe(_put_all, parcel)
            except RuntimeError:  # the loop has ended, and its readers with it
                continue

    def tell_all_to_look(self) -> None:
        """Have all subscribers look into the database: hints may have been lost."""
        with self._lock:
            subscriptions = set().union(*self._subscriptions.values())
        for subscription in subscriptions:
            with suppress(RuntimeError):  # the loop has ended, and its readers with it
                subscription.loop.call_soon_threadsafe(subscription.lapse)


def _put_all(parcel: list[tuple[Subscription, Topical]]) -> None:
    for subscription, message in parcel:
        subscription.put(message)


def _of_this_process() -> Bus:
    if not settings.REDIS_URL:
        return Bus()
    from predictions.redis_bus import RedisBus  # noqa: PLC0415 - its client would take a fifth of each start without it

    return RedisBus(settings.REDIS_URL)


bus = _of_this_process()
