"""The news over HTTP, for browsers whose WebSockets do not get through: an event stream, or a long poll.

`GET /news/?frames=[…]`, where the list holds what the page would send over a socket, and `Accept` chooses:

- `text/event-stream`: the tab's frames, each as an event, until the browser goes or `STREAM_LIMIT` is over.
- anything else: `{"frames": […], "seen": "…"}` as soon as there is something, at the latest after `POLL_PATIENCE`.
  The next request says what the page has by then, and gives back `seen`.

An ASGI application of its own. Django's handler would keep a thread for each reader, and with PostgreSQL one of the
pool's twenty connections, for as long as the reader is there.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any
from urllib.parse import parse_qs

from chat import news
from chat.leaving import LEAVE
from chat.limits import CROWDED, RETRY_AFTER, TooManyConnections, places
from chat.models import User
from chat.tab import FOLLOWED, Tab
from chat.walls import ALWAYS as WALLS
from chat.walls import is_own_origin
from predictions import metrics
from predictions.runner import cancel_once

STREAM_LIMIT = 300.0  # seconds after which an event stream ends; the page comes back
POLL_PATIENCE = 25.0  # seconds; many proxies give up after 30 or 60
GATHERING = 0.2  # seconds for which a poll waits for more after its first frame: a request for each tick would be dear
POLL_SIZE = 262_144  # characters after which a poll waits for no more
WAITING = 4  # frames that wait for a slow reader; then the tab waits
KEPT = 2 * FOLLOWED + 3  # things told as a whole: states and files of each answer, the path, the list, a refusal

Scope = dict[str, Any]  # as ASGI has it
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ALWAYS = {"Cache-Control": "no-store, no-transform", "Content-Security-Policy": "default-src 'none'", **WALLS}
JSON = {"Content-Type": "application/json"}
CLOSE = {"Connection": "close"}  # whoever comes back is not to come back to a process that is about to end
EVENT_STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", **CLOSE}


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = headers or {}


async def tell_news(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request; `scope["user"]` says whose it is."""
    try:
        user, request = scope["user"], _understand(scope)
        with places.take(user.pk), metrics.STREAMS.track_inprogress():
            reader = Reader(user, scope["session"].session_key, request.frames, receive)
            await (_stream if request.wants_stream else _poll)(reader, request, send)
    except TooManyConnections:
        metrics.REFUSED.labels("crowded").inc()
        await _answer(send, 429, _detail(CROWDED), {"Retry-After": str(RETRY_AFTER)})
    except Refused as refused:
        await _answer(send, refused.status, _detail(refused.words), refused.headers)


@dataclass(frozen=True, slots=True)
class Request:
    frames: list[str]  # what the page would send over a socket
    seen: str
    wants_stream: bool


def _understand(scope: Scope) -> Request:
    headers = dict(scope["headers"])
    if scope["method"] != "GET":
        raise Refused(405, "News are only read.", {"Allow": "GET"})
    # Cookies of other sites' requests stay away by themselves, but not those of a neighbour under the same domain.
    is_own = headers.get(b"sec-fetch-site", b"same-origin") in {b"same-origin", b"none"}
    if not is_own or (b"origin" in headers and not is_own_origin(scope)):
        raise Refused(403, "News are for this site's own pages.")
    if not scope["user"].is_authenticated:
        raise Refused(401, "Sign in.")
    try:
        asked = parse_qs(scope["query_string"].decode(), max_num_fields=2)
        frames = json.loads(asked["frames"][0])
        _check(frames)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(400, "These frames are not understood.") from error
    return Request(
        frames=[json.dumps(frame) for frame in frames],
        seen=asked.get("seen", [""])[0],
        wants_stream=b"text/event-stream" in headers.get(b"accept", b""),
    )


def _check(frames: Any) -> None:  # whatever JSON came
    """Raise an error unless `frames` is what one page may ask for; what each says is for the tab to understand."""
    kinds = [frame["type"] for frame in frames]
    opens, follows, sidebars = map(kinds.count, ("open", "follow", "sidebar"))
    if not kinds or opens > 1 or sidebars > 1 or follows > FOLLOWED or opens + follows + sidebars < len(kinds):
        raise ValueError


# ---------------------------------------------------------------- the two ways


async def _stream(reader: "Reader", request: Request, send: Send) -> None:
    await send(_start(200, EVENT_STREAM))

    async def pass_on() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STREAM_LIMIT):
                while True:
                    events = "".join(f"data: {frame}\n\n" for frame in await reader.next())
                    await send({"type": "http.response.body", "body": events.encode(), "more_body": True})

    await reader.read(pass_on())
    # Also when the news cannot be had any more: the page comes back, and then hears why.
    await send({"type": "http.response.body", "body": b""})


async def _poll(reader: "Reader", request: Request, send: Send) -> None:
    told: list[str] = []
    seen = Seen(request.seen)

    async def gather() -> None:
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_PATIENCE) as patience:
                while sum(map(len, told)) < POLL_SIZE:
                    fresh = [frame for frame in await reader.next() if seen.notes(frame)]
                    if fresh and not told:
                        patience.reschedule(loop.time() + GATHERING)
                    told.extend(fresh)

    await reader.read(gather())
    if reader.has_failed and not told:
        await _answer(send, 503, _detail("The news cannot be had at the moment."))
    else:
        body = f'{{"frames": [{", ".join(told)}], "seen": "{seen}"}}'
        await _answer(send, 200, body, CLOSE if reader.is_sent_away else None)


class Reader:
    """A tab whose frames wait here until there is room for them on their way."""

    def __init__(self, user: User, session: str, frames: list[str], receive: Receive) -> None:
        self._asked = frames
        self._receive = receive
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._failed = asyncio.Event()
        self.is_sent_away = False  # by the server, which is about to end
        self._tab = Tab(user, session, self._waiting.put, self._fail)

    @property
    def has_failed(self) -> bool:
        return self._failed.is_set()

    async def next(self) -> list[str]:
        """Wait for frames."""
        frames = [await self._waiting.get()]
        while not self._waiting.empty():
            frames.append(self._waiting.get_nowait())
        return frames

    async def read(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which calls `next`, until it is done, browser or server leave, or the news cannot be had."""
        asking = asyncio.create_task(self._ask())
        ends = [asyncio.create_task(end) for end in (work, self._departure(), self._failure())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (asking, *ends):
                await cancel_once(task)
            await self._tab.close()
        for task in done:
            task.result()

    async def _ask(self) -> None:
        await self._tab.start()
        for frame in self._asked:
            await self._tab.take(frame)

    async def _departure(self) -> None:
        while (kind := (await self._receive())["type"]) not in {"http.disconnect", LEAVE}:
            pass
        self.is_sent_away = kind == LEAVE

    async def _failure(self) -> None:
        await self._failed.wait()

    async def _fail(self) -> None:
        self._failed.set()


class Seen:
    """What a page was last told of the things that are told as a whole, and so are no news when they are told again.

    A tab tells a page that begins where everything stands; one that polls begins with each request.
    """

    def __init__(self, text: str) -> None:
        """Take what the answer before this one said; whatever else is given counts for nothing."""
        self._told = dict(re.findall(r"([0-9a-f]{8})([0-9a-f]{16})", text)[-KEPT:])

    def __str__(self) -> str:
        return "".join(key + state for key, state in self._told.items())

    def notes(self, frame: str) -> bool:
        """Note a frame that goes to the page; False if it has it."""
        if frame == news.HEARTBEAT:
            return False
        said = json.loads(frame)
        if said["type"] in {"output", "ended"}:
            return True
        key, state = _digest(f"{said['type']} {said.get('prediction')}", 4), _digest(frame, 8)
        before = self._told.pop(key, None)
        self._told[key] = state  # as the newest: the oldest are forgotten first
        return state != before


def _digest(text: str, size: int) -> str:
    return blake2s(text.encode(), digest_size=size).hexdigest()


# ---------------------------------------------------------------- what ASGI wants


async def _answer(send: Send, status: int, body: str, headers: dict[str, str] | None = None) -> None:
    await send(_start(status, JSON | (headers or {})))
    await send({"type": "http.response.body", "body": body.encode()})


def _start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode()) for name, value in (ALWAYS | headers).items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _detail(words: str) -> str:
    return json.dumps({"detail": words})
