"""The socket: one for each tab."""

from contextlib import suppress
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from chat import news
from chat.limits import CROWDED, FLOODING, Bucket, TooManyConnections, places
from chat.tab import Tab
from predictions import metrics

FRAME_LIMIT = 65_536  # characters of one frame from the browser
NOT_SIGNED_IN = 4401
INTERNAL_ERROR = 1011
POLICY_VIOLATION = 1008  # too much of something: the page comes back, but not soon


class TabConsumer(AsyncWebsocketConsumer):
    """Carries the frames of one tab over a WebSocket.

    From the browser: `{"type": "open", "conversation": id, "after": ordinal}` and
    `{"type": "follow", "prediction": id, "edition": n, "after": offset}`.
    """

    tab: Tab | None = None
    has_place = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # as ASGI has them
        self.scope, self.base_send = scope, send
        with metrics.SOCKETS.track_inprogress(), suppress(StopConsumer):
            try:
                while True:
                    await self.dispatch(await receive())
            finally:
                # `disconnect` is not called for a consumer that is cancelled.
                if self.has_place:
                    places.leave(self.scope["user"].pk)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # By itself channels has a task for each socket and, with each frame, goes to another thread to close
        # connections to the database, of which there are none.
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            places.enter(user.pk)
        except TooManyConnections:
            await self._send_away(CROWDED)
            return
        self.has_place = True
        self._allowance = Bucket()
        self.tab = Tab(user, self.scope["session"].session_key, self._tell, self._fail)
        await self.tab.start()

    async def disconnect(self, code: int) -> None:
        metrics.note_closed(code)
        if self.tab is not None:
            await self.tab.close()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.tab is None:
            return
        if not self._allowance.take():
            await self._send_away(FLOODING)
        elif text_data is None or len(text_data) > FRAME_LIMIT:
            await self._tell(news.refused("This frame is not understood."))
        else:
            await self.tab.take(text_data)

    async def _send_away(self, reason: str) -> None:
        metrics.REFUSED.labels("flooding" if reason == FLOODING else "crowded").inc()
        if self.tab is not None:
            await self.tab.close()
            self.tab = None  # what comes until the end is not read
        await self._tell(news.refused(reason))
        await self.close(POLICY_VIOLATION)

    async def _tell(self, frame: str) -> None:
        metrics.FRAMES.inc()
        metrics.FRAME_BYTES.inc(len(frame))
        await self.send(frame)

    async def _fail(self) -> None:
        await self.close(INTERNAL_ERROR)
