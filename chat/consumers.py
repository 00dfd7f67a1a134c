"""The socket: one for each tab. It relays news and nothing else; whatever it was doing, the database knows."""

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer

from chat import news
from predictions.bus import bus
from predictions.database import query
from predictions.follow import follow
from predictions.models import Prediction
from predictions.runner import cancel_once

logger = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds; a page that hears nothing for 15 connects anew
LOOK_AGAIN = 5.0  # seconds between looks for new messages when no news comes
FOLLOWED = 20  # answers that one tab may follow at once
FRAME_LIMIT = 65_536  # characters of one frame from the browser
NOT_SIGNED_IN = 4401
INTERNAL_ERROR = 1011


class TabConsumer(AsyncWebsocketConsumer):
    """Tells one tab what happens in the conversation it shows.

    From the browser: `{"type": "open", "conversation": id, "after": ordinal}` and
    `{"type": "follow", "prediction": id, "edition": n, "after": offset}`.
    """

    async def connect(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        await self.accept()
        if not self.scope["user"].is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        await self._start("heartbeat", self._beat())

    async def disconnect(self, code: int) -> None:
        for task in list(self._tasks.values()):
            await cancel_once(task)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            frame = json.loads(text_data or "") if len(text_data or "") <= FRAME_LIMIT else None
            match frame:
                case {"type": "open", "conversation": str(key), "after": int(after)} if after >= 0:
                    await self._start("open", self._tell_messages(UUID(key), after))
                case {"type": "follow", "prediction": str(key), "edition": int(edition), "after": int(after)} if (
                    edition >= 0 and after >= 0
                ):
                    await self._start(f"follow {UUID(key)}", self._tell_progress(UUID(key), edition, after))
                case _:
                    await self.send(news.refused("This frame is not understood."))
        except (ValueError, RecursionError):
            await self.send(news.refused("This frame is not understood."))

    async def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside the others, in the place of what was done under this name."""
        former = self._tasks.pop(name, None)
        if former is not None:
            await cancel_once(former)
        if len(self._tasks) > FOLLOWED:
            work.close()
            await self.send(news.refused("This page follows too many answers at once."))
            return
        self._tasks[name] = asyncio.create_task(self._do(name, work))

    async def _do(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # The page connects anew and says what it has; by then the database may be there again.
            logger.exception("A socket is closed, because its news failed.")
            await self.close(INTERNAL_ERROR)
        if self._tasks.get(name) is asyncio.current_task():
            del self._tasks[name]

    async def _beat(self) -> None:
        while True:
            await self.send(news.HEARTBEAT)
            await asyncio.sleep(HEARTBEAT)

    async def _tell_messages(self, conversation: UUID, after: int) -> None:
        path: tuple[str, ...] = ()
        with bus.subscribe(f"conversation:{conversation}") as subscription:
            while True:
                tale = await query(news.messages_after, self.scope["user"], conversation, after)
                if tale is None:
                    await self.send(news.refused("There is no such conversation."))
                    return
                if tale.html or tale.path != path:
                    await self.send(tale.frame())
                path, after = tale.path, tale.after
                await subscription.wait(LOOK_AGAIN)

    async def _tell_progress(self, prediction: UUID, edition: int, after: int) -> None:
        allowed = Prediction.objects.for_user(self.scope["user"]).filter(pk=prediction, message__isnull=False)
        if not await query(allowed.exists):
            await self.send(news.refused("There is no such answer."))
            return
        told_state, has, told_files = "", (edition, after), 0
        async for frame in follow(prediction, edition=edition, after=after):
            if frame.is_last:
                await self.send(await query(news.ended, prediction))
                return
            if (state := news.state(frame)) != told_state:
                await self.send(state)
                told_state = state
            if frame.files > told_files:
                await self.send(await query(news.files, prediction))
                told_files = frame.files
            if (frame.edition, frame.end) != has:
                await self.send(news.output(frame))
                has = (frame.edition, frame.end)
