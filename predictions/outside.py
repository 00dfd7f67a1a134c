"""How this site looks from outside: whether its proxy lets sockets and event streams through, and tells of TLS.

`manage.py doctor` asks the site's own address. What it asks is signed with SECRET_KEY: the answer shows that it is this
site, and strangers cannot hold such streams open.
"""

import asyncio
import base64
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from django.core import signing
from django.http import HttpRequest
from django.urls import reverse

from predictions.providers.errors import ProviderError
from predictions.providers.http import HostClient
from predictions.providers.sse import EventStreamParser, NotAnEventStream

SALT = "predictions.outside"
PROBE_LIFE = 60  # seconds
PAUSE = 2.0  # seconds between the two events of a probe
PATIENCE = 20.0  # seconds for all that is asked
SOCKET = "/socket/"

PASTE = "`manage.py doctor --proxy nginx` (or caddy) prints what to paste."
NOT_THIS_SITE = (
    "{url} answers, but not as this site (status {status}). Does it lead here, is its name in PARLEY_ALLOWED_HOSTS, "
    "and have all processes the same SECRET_KEY?"
)
HELD_BACK = f"The proxy holds event streams back until they end: people see answers at once and late. {PASTE}"
NOT_SECURE = f"Parley is not told that people come by https: set PARLEY_BEHIND_TLS=true and X-Forwarded-Proto. {PASTE}"
OTHER_HOST = f"Parley is told that the site is {{host}}, not {{asked}}: the proxy changes the name. {PASTE}"
NO_UPGRADE = (
    f"The proxy does not let WebSockets through (status {{status}}, not 101): pages fall back to slower ways. {PASTE}"
)
WEBHOOKS_STOPPED = "Webhooks do not get through (status {status}, not 404 for one that nobody sent). Look at the proxy."


# ---------------------------------------------------------------- what the site answers


def probe() -> str:
    return signing.dumps("probe", salt=SALT)


def is_probe(text: str) -> bool:
    try:
        signing.loads(text, salt=SALT, max_age=PROBE_LIFE)
    except signing.BadSignature:
        return False
    return True


async def probe_events(request: HttpRequest) -> AsyncIterator[bytes]:
    """Yield an event that says how the request came, and after a pause another one."""
    yield _event({"secure": request.is_secure(), "host": request.get_host()})
    await asyncio.sleep(PAUSE)
    yield _event({})


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()


# ---------------------------------------------------------------- what doctor finds


async def look(url: str, *, with_webhooks: bool) -> list[tuple[str, str | None]]:
    """Ask the site at `url`; return each part's name with what is wrong and what to do, or None."""
    client = HostClient(url)
    try:
        async with asyncio.timeout(PATIENCE):
            return [finding async for finding in _findings(client, url, with_webhooks=with_webhooks)]
    except TimeoutError:
        return [(url, f"It takes longer than {PATIENCE:.0f} s to answer. Look at the proxy’s log.")]
    except ProviderError as error:
        return [(url, f"{error} Does the proxy run, is the name right, and is its certificate good?")]
    finally:
        await client.close()


async def _findings(client: HostClient, url: str, *, with_webhooks: bool) -> AsyncIterator[tuple[str, str | None]]:
    status, events = await _read_probe(client)
    if status != 200 or not events:
        yield url, NOT_THIS_SITE.format(url=url, status=status)
        return
    yield url, _way_told(url, events[0][1])
    # Half of the pause: the way itself takes some time, and a busy machine more.
    is_held_back = events[-1][0] - events[0][0] < PAUSE / 2
    yield f"{url}: event streams", HELD_BACK if is_held_back else None
    upgrade = await client.request("GET", SOCKET, headers=_upgrade(url))
    yield f"{url}: WebSockets", None if upgrade.status == 101 else NO_UPGRADE.format(status=upgrade.status)
    if with_webhooks:
        answer = await client.request("POST", reverse("webhook", args=[uuid.uuid4(), "nobody"]), body={})
        yield f"{url}: webhooks", None if answer.status == 404 else WEBHOOKS_STOPPED.format(status=answer.status)


async def _read_probe(client: HostClient) -> tuple[int, list[tuple[float, Any]]]:
    """Return the status, and the two events with the seconds at which they came."""
    loop, parser = asyncio.get_running_loop(), EventStreamParser()
    events: list[tuple[float, Any]] = []
    async with client.stream("GET", f"{reverse('health_stream')}?probe={probe()}") as response:
        if response.status != 200 or not response.is_event_stream:
            return response.status, []
        try:
            async for chunk in response.chunks():
                events += [(loop.time(), json.loads(event.data)) for event in parser.feed(chunk)]
                if len(events) > 1:
                    break
        except (NotAnEventStream, ValueError):
            return response.status, []
    return response.status, events


def _way_told(url: str, told: Any) -> str | None:
    """Return what is wrong with what the site was told of how it is reached."""
    parts = urlsplit(url)
    if not isinstance(told, dict):
        return None
    if parts.scheme == "https" and not told.get("secure"):
        return NOT_SECURE
    if told.get("host") != parts.netloc.lower():
        return OTHER_HOST.format(host=told.get("host"), asked=parts.netloc)
    return None


def _upgrade(url: str) -> dict[str, str]:
    """Return the headers with which a browser asks for a socket (RFC 6455, section 4.1)."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "Origin": url,
    }
