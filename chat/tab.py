"""One tab of a browser: the conversation it shows, the answers it follows, and the frames it is told.

How the frames travel (WebSocket, event stream, long poll) is no concern of it. It relays news and nothing else;
whatever it was doing, the database knows.
"""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from structlog.contextvars import bind_contextvars

from chat import news, sidebar
from chat.models import User
from chat.people.presence import Visit, watch
from predictions.bus import bus
from predictions.database import AWAY, query
from predictions.follow import follow
from predictions.models import Prediction
from predictions.runner import cancel_once

Work = Callable[[], Awaitable[None]]

logger = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds; a page that hears nothing for 15 connects anew
LOOK_AGAIN = 5.0  # seconds between looks for new messages when no news comes
LOOK_SELDOM = 30.0  # the same where all processes' news arrives, but for what gets lost
FOLLOWED = 20  # answers that one tab may follow at once
BESIDE = {"heartbeat", "open", "sidebar"}  # what it hears of beside answers


class NotUnderstood(Exception):
    """A frame from a browser that says nothing a tab can do."""


class Tab:
    """Tells one tab what happens, from `open` and `follow` until `close`.

    `send` takes a frame and returns when there is room for the next one. `fail` is called where the news cannot be
    had: the page then comes back by itself.
    """

    def __init__(
        self, user: User, session: str, send: Callable[[str], Awaitable[None]], fail: Callable[[], Awaitable[None]]
    ) -> None:
        self._user = user
        self._send = send
        self._fail = fail
        self._visit = Visit(session, user, self._dismiss)
        self._watch = watch()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._next_beat: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._watch.admit(self._visit)
        self._beat()

    async def close(self) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
        await self._watch.forget(self._visit)
        for task in list(self._tasks.values()):
            await cancel_once(task)

    async def _dismiss(self) -> None:
        """Tell nothing any more: the page comes back as what its person is by now, and may have to sign in."""
        await self.close()
        await self._fail()

    async def take(self, text: str) -> None:
        """Do what a frame from the browser asks for; one that is not understood is refused."""
        if not await self._may_stay():
            return
        try:
            await self._do(json.loads(text))
        except (ValueError, RecursionError, NotUnderstood):
            await self._send(news.refused("This frame is not understood."))

    async def _may_stay(self) -> bool:
        try:
            return await self._watch.still(self._visit)
        except AWAY:
            await self._fail()  # the page comes back, and by then the database may be there again
            return False

    async def _do(self, frame: Any) -> None:  # whatever JSON came
        match frame:
            case {"type": "open", "conversation": str(key), "after": int(after)} if after >= 0:
                await self._start("open", partial(self._tell_messages, UUID(key), after))
            case {"type": "sidebar"}:
                await self._start("sidebar", self._tell_sidebar)
            case {"type": "follow", "prediction": str(key), "edition": int(edition), "after": int(after)} if (
                edition >= 0 and after >= 0
            ):
                await self._start(f"follow {UUID(key)}", partial(self._tell_progress, UUID(key), edition, after))
            case _:
                raise NotUnderstood

    async def _start(self, name: str, work: Work) -> None:
        """Do `work` beside the others, in the place of what was done under this name."""
        former = self._tasks.pop(name, None)
        if former is not None:
            await cancel_once(former)
        if name not in BESIDE and len(self._tasks.keys() - BESIDE) >= FOLLOWED:
            await self._send(news.refused("This page follows too many answers at once."))
            return
        self._tasks[name] = asyncio.create_task(self._see_to(name, work))

    async def _see_to(self, name: str, work: Work) -> None:
        try:
            await work()
        except Prediction.DoesNotExist:
            await self._send(news.refused("There is no such answer."))
        except Exception:
            # The page connects anew and says what it has; by then the database may be there again.
            logger.exception("A tab is left, because its news failed.")
            await self._fail()
        if self._tasks.get(name) is asyncio.current_task():
            del self._tasks[name]

    def _beat(self) -> None:
        """Send a heartbeat, unless the last one still waits for room, and again and again."""
        if "heartbeat" not in self._tasks:
            self._tasks["heartbeat"] = asyncio.create_task(
                self._see_to("heartbeat", partial(self._send, news.HEARTBEAT))
            )
        # Between two of them no task waits: that would be a tenth of what an idle tab costs.
        self._next_beat = asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)

    async def _tell_messages(self, conversation: UUID, after: int) -> None:
        bind_contextvars(conversation=str(conversation))
        marks: tuple[str, ...] | None = None
        with bus.subscribe(f"conversation:{conversation}") as subscription:
            while True:
                tale = await query(news.messages_after, self._user, conversation, after, marks)
                if tale is None:
                    await self._send(news.refused("There is no such conversation."))
                    return
                if tale.html or tale.marks != marks:
                    await self._send(tale.frame())
                marks, after = tale.marks, tale.after
                del tale  # its HTML may be long, and the next news far away
                pause = LOOK_SELDOM if bus.reaches_others else LOOK_AGAIN
                await subscription.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that not all look at once

    async def _tell_sidebar(self) -> None:
        told = ""
        with bus.subscribe(f"user:{self._user.pk}") as subscription:
            while True:
                frame = await query(sidebar.tell, self._user)
                if frame != told:
                    await self._send(frame)
                told = frame
                await subscription.wait(LOOK_SELDOM * random.uniform(0.8, 1.2))  # noqa: S311 - not all at once

    async def _tell_progress(self, prediction: UUID, edition: int, after: int) -> None:
        bind_contextvars(prediction=str(prediction))
        shown = await query(news.answers_for, self._user)
        standing: tuple[Any, ...] = ()
        has, told_files = (edition, after), 0
        async for frame in follow(prediction, edition=edition, after=after, among=shown):
            if frame.is_last:
                await self._send(await query(news.ended, prediction))
                return
            if frame.standing != standing:
                await self._send(news.state(frame))
                standing = frame.standing
            if frame.files > told_files:
                await self._send(await query(news.files, prediction))
                told_files = frame.files
            if (frame.edition, frame.end) != has:
                await self._send(news.output(frame))
                has = (frame.edition, frame.end)
