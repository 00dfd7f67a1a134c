"""The socket: one for each tab."""

from contextlib import ExitStack
from typing import Any

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

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # as ASGI has them
        # `disconnect` is not called for a consumer that is cancelled.
        with ExitStack() as self._places, metrics.SOCKETS.track_inprogress():
            await super().__call__(scope, receive, send)

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            self._places.enter_context(places.take(user.pk))
        except TooManyConnections:
            await self._send_away(CROWDED)
            return
        self._allowance = Bucket()
        self.tab = Tab(user, self._tell, self._fail)
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
