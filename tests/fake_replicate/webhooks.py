"""Webhooks: who asked for which, what is due, and the sending of it; signed as the Standard Webhooks are."""

import base64
import hmac
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .front import Front
from .ledger import Call, Created, Delivery, WebhookSent
from .predictions import random_id
from .replies import Flaw, Reply, json_reply
from .scripts import Gate, pause

EVENTS = ("start", "output", "logs", "completed")
THROTTLED = ("output", "logs")
INTERVAL = 0.5  # seconds between two of the throttled ones, as documented
RETRIES = (0.05, 0.1, 0.2)  # seconds; Replicate goes on for about a minute
ANSWER_LIMIT = 5.0  # seconds; a guess

WEBHOOK_DOORS = (("GET", r"/v1/webhooks/default/secret", "secret", "_secret"),)


def sign(body: bytes, *, secret: str, webhook_id: str, timestamp: int | str) -> dict[str, str]:
    """Return the headers that go with the body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhook_flaws(body: dict[str, Any]) -> list[Flaw]:
    """Return what is wrong with the webhook of a create. No refusal of one is on record: the words are a guess."""
    flaws = []
    address = body.get("webhook", "https://nowhere.example/")
    if not isinstance(address, str) or not _is_https(address):
        flaws.append(Flaw("format", "webhook", "Does not match format 'https URL'"))
    events = body.get("webhook_events_filter", [])
    if not isinstance(events, list):
        return [*flaws, Flaw("invalid_type", "webhook_events_filter", "Invalid type. Expected: array")]
    choices = ", ".join(f'"{event}"' for event in EVENTS)
    for number, event in enumerate(events):
        if event not in EVENTS:
            field = f"webhook_events_filter.{number}"
            flaws.append(Flaw("enum", field, f"{field} must be one of the following: {choices}"))
    return flaws


def _is_https(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)


@dataclass(slots=True)
class Subscription:
    """What a create asked to be told."""

    url: str
    events: Sequence[str]
    is_held: bool
    throttled_until: float = 0  # on the monotonic clock

    def takes(self, event: str, interval: float) -> bool:
        """Whether a delivery is due now; the throttle drops what comes too early (a guess: or is it put off?)."""
        if event not in self.events:
            return False
        if event in THROTTLED:
            now = time.monotonic()
            if now < self.throttled_until:
                return False
            self.throttled_until = now + interval
        return True


class WebhookDoors(Front):
    def __init__(self, *, token: str) -> None:
        super().__init__(token=token)
        # `http://127.0.0.1:port`, which takes the place of scheme and host: a webhook's address must be https, and
        # nobody holds a certificate for loopback. None: nothing is sent, only noted as due.
        self.webhook_target: str | None = None
        self.webhook_retries: Sequence[Gate | float] = RETRIES
        self.webhook_interval = INTERVAL
        self._secrets: tuple[str, ...] = (_new_secret(),)  # newest first
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def webhook_secret(self) -> str:
        return self._secrets[0]

    def rotate_secret(self, overlap: bool) -> None:
        """Sign with a new secret from now on; with `overlap`, with the one before too."""
        self._secrets = (_new_secret(), *(self._secrets[:1] if overlap else ()))

    async def _secret(self, call: Call) -> Reply:
        return json_reply(200, {"key": self.webhook_secret})

    def _subscribe(self, created: Created, *, is_held: bool) -> None:
        body = created.body
        if "webhook" in body:
            events = body.get("webhook_events_filter", EVENTS)
            self._subscriptions[created.id] = Subscription(body["webhook"], events, is_held)

    def _announce(self, prediction_id: str, event: str, show: Callable[[], Any]) -> None:
        """Note the delivery as due, with what `show` returns as its body, and let it go its way."""
        subscription = self._subscriptions.get(prediction_id)
        if subscription is None or not subscription.takes(event, self.webhook_interval):
            return
        body = json.dumps(show()).encode()
        headers = self._sign(body, f"msg_{random_id(27)}")
        delivery = Delivery(prediction_id, event, subscription.url, headers, body)
        self.ledger.note_due(delivery)
        if self.webhook_target and not subscription.is_held:
            self.spawn(self._deliver(delivery))

    def _sign(self, body: bytes, webhook_id: str) -> dict[str, str]:
        now = int(time.time())
        signed = [sign(body, secret=secret, webhook_id=webhook_id, timestamp=now) for secret in self._secrets]
        signatures = " ".join(headers["webhook-signature"] for headers in signed)
        return signed[0] | {"webhook-signature": signatures, "content-type": "application/json"}

    async def _deliver(self, delivery: Delivery) -> None:
        """Send it; the last word is sent again, under the same id, until somebody takes it."""
        pauses = self.webhook_retries if delivery.event == "completed" else ()
        for how_long in (0, *pauses):
            await pause(how_long)
            if await self._post(delivery):
                return

    async def _post(self, delivery: Delivery) -> bool:
        """Return whether it was taken: a redirect is not followed, and a failure."""
        address = urlsplit(delivery.url)._replace(scheme="", netloc="", fragment="").geturl()
        headers = self._sign(delivery.body, delivery.webhook_id)
        status = None
        try:
            # There is nothing to verify on loopback, and to load the certificates takes its time.
            async with httpx.AsyncClient(trust_env=False, verify=False, timeout=ANSWER_LIMIT) as client:
                answer = await client.post(f"{self.webhook_target}{address}", content=delivery.body, headers=headers)
                status = answer.status_code
        except httpx.TransportError:
            pass
        self.ledger.note_sent(WebhookSent(delivery, headers, status))
        return status is not None and status < 300


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(random.randbytes(24)).decode()}"
