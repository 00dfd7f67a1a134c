"""Hints between processes, through one publish/subscribe channel of Redis.

They are signed with SECRET_KEY: some bring the text of an answer along, and who can write to Redis is not to write into
what people read.
"""

import hashlib
import hmac
import json
import logging
import threading
import time
from collections import deque

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from predictions import metrics
from predictions.bus import Bus, Subscription, Topical

logger = logging.getLogger(__name__)

CHANNEL = "parley"
OUTBOX = 10_000  # messages that may wait for Redis; what is pushed out is found in the database
REDIS_TIMEOUT = 2.0  # seconds
PUBLISH_TIMEOUT = 0.5  # seconds; hints that take longer are not worth waiting for
RECONNECT_PAUSE = (0.2, 5.0)  # seconds between attempts, doubling
PUBLISH_PAUSE = 5.0  # seconds without attempts to publish after Redis failed to take a hint
DIGEST = hashlib.sha256().digest_size  # bytes of a signature, which stands before what it signs
FOREIGN = "Something other than Parley, or Parley with another SECRET_KEY, writes to the Redis channel %r."


class RedisBus(Bus):
    """Sends the messages through Redis, so that the subscribers of all processes get them.

    Two threads do all that waits for Redis: nobody who publishes is held up, however slow it is.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._key = hashlib.sha256(f"{__name__} {settings.SECRET_KEY}".encode()).digest()
        self._client = _connect(url, REDIS_TIMEOUT)
        self._sender = _connect(url, PUBLISH_TIMEOUT)
        self._listening = threading.Event()
        self._listener: threading.Thread | None = None
        self._outbox: deque[Topical] = deque(maxlen=OUTBOX)
        self._outgoing = threading.Condition()
        self._publisher: threading.Thread | None = None
        self._publisher_pause_until = 0.0
        self._closing = threading.Event()

    @property
    def reaches_others(self) -> bool:
        return self._listening.is_set()

    def subscribe(self, *topics: str) -> Subscription:
        self._start_listening()
        return super().subscribe(*topics)

    def publish(self, *messages: Topical) -> None:
        if time.monotonic() < self._publisher_pause_until or self._closing.is_set():
            self.deliver(messages)
            return
        with self._outgoing:
            self._outbox.extend(messages)
            self._outgoing.notify()
            if self._publisher is None:
                self._publisher = threading.Thread(target=self._publish_for_ever, name="bus-out", daemon=True)
                self._publisher.start()

    def trouble(self) -> str | None:
        try:
            self._client.ping()
        except redis.RedisError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Send what is left, and end."""
        self._closing.set()
        with self._outgoing:
            self._outgoing.notify()
        for thread in (self._publisher, self._listener):
            if thread is not None:
                thread.join(2 * REDIS_TIMEOUT)
        self._client.close()
        self._sender.close()

    # ------------------------------------------------------------ out

    def _publish_for_ever(self) -> None:
        while messages := self._take_outgoing():
            try:
                self._sender.publish(CHANNEL, self._signed(json.dumps(messages).encode()))
            except redis.RedisError as error:
                metrics.BUS_FAILURES.inc()
                logger.warning("Redis does not take hints (%s); readers look into the database instead.", error)
                self._publisher_pause_until = time.monotonic() + PUBLISH_PAUSE
                self.deliver(messages)

    def _take_outgoing(self) -> tuple[Topical, ...]:
        """Wait for messages; return all there are, or none at the end."""
        with self._outgoing:
            while not self._outbox and not self._closing.is_set():
                self._outgoing.wait()
            messages = tuple(self._outbox)
            self._outbox.clear()
            return messages

    # ------------------------------------------------------------ in

    def _start_listening(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen_for_ever, name="bus", daemon=True)
                self._listener.start()

    def _listen_for_ever(self) -> None:
        pause, longest = RECONNECT_PAUSE
        while not self._closing.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                metrics.BUS_FAILURES.inc()
                logger.warning("Lost the hints of Redis (%s); trying again in %.1f s.", error, pause)
            if self._listening.is_set():
                pause = RECONNECT_PAUSE[0]
                self._listening.clear()
                self.tell_all_to_look()
            self._closing.wait(pause)
            pause = min(2 * pause, longest)

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:
            pubsub.subscribe(CHANNEL)
            while not self._closing.is_set():
                message = pubsub.get_message(timeout=REDIS_TIMEOUT / 2)
                if message is None:
                    pubsub.check_health()
                elif message["type"] == "subscribe":
                    if self._listening.is_set():  # the client has connected anew by itself
                        self.tell_all_to_look()
                    self._listening.set()
                elif message["type"] == "message":
                    self._take(message["data"])

    def _take(self, data: bytes) -> None:
        text = data[DIGEST:]
        if not hmac.compare_digest(self._signed(text), data):
            logger.warning(FOREIGN, CHANNEL)
            return
        metrics.BUS_RECEIVED.inc()
        self.deliver(tuple((topic, message) for topic, message in json.loads(text)))

    def _signed(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256") + text


def _connect(url: str, timeout: float) -> redis.Redis:
    # The client's own retries would take half a minute; one at once suffices for a connection that has gone stale.
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
    )
