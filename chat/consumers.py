"""The socket: one for each tab."""

from channels.generic.websocket import AsyncWebsocketConsumer

from chat import news
from chat.tab import Tab

FRAME_LIMIT = 65_536  # characters of one frame from the browser
NOT_SIGNED_IN = 4401
INTERNAL_ERROR = 1011


class TabConsumer(AsyncWebsocketConsumer):
    """Carries the frames of one tab over a WebSocket.

    From the browser: `{"type": "open", "conversation": id, "after": ordinal}` and
    `{"type": "follow", "prediction": id, "edition": n, "after": offset}`.
    """

    tab: Tab | None = None

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        self.tab = Tab(user, self._tell, self._fail)
        await self.tab.start()

    async def disconnect(self, code: int) -> None:
        if self.tab is not None:
            await self.tab.close()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.tab is None:
            return
        if text_data is None or len(text_data) > FRAME_LIMIT:
            await self._tell(news.refused("This frame is not understood."))
        else:
            await self.tab.take(text_data)

    async def _tell(self, frame: str) -> None:
        await self.send(frame)

    async def _fail(self) -> None:
        await self.close(INTERNAL_ERROR)
