"""Browsers in a process of their own: each tab shows a conversation in which nothing happens."""

import asyncio
from typing import Any

from benchmarks.relaying.control import serve
from benchmarks.relaying.websocket import Page, handshake

CONNECTING = 20  # at once
OPEN_LIMIT = 30.0  # seconds until a tab has been told what there is
TOLD = {"messages", "sidebar"}
# What a browser sends beside: the server keeps it for as long as the socket is open.
HEADERS = (
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
)

Wish = dict[str, Any]  # a frame, as the page sends it


class Tab(Page):
    """A page that asks what there is, and then hears heartbeats."""

    def __init__(self, wishes: tuple[Wish, ...], request: bytes) -> None:
        super().__init__(request)
        self._wishes = wishes
        self._lacks = set(TOLD)
        self.is_told = asyncio.Event()
        self.problem = ""

    def connection_lost(self, _: Exception | None) -> None:
        self.complain(f"A socket was closed with {self.close_code}.")
        self.is_told.set()

    def opened(self) -> None:
        for wish in self._wishes:
            self.tell(wish)

    def read(self, frame: dict[str, Any]) -> None:
        self._lacks.discard(frame.get("type", ""))
        if not self._lacks:
            self.is_told.set()

    def complain(self, problem: str) -> None:
        self.problem = self.problem or problem


class Tabs:
    """All tabs, and what they are told to do."""

    def __init__(self) -> None:
        self._tabs: list[Tab] = []

    async def open(self, *, port: int, shown: list[tuple[str, str]], after: int) -> None:
        """Open one tab more for each of `shown`, ids and cookies, which has the messages up to ordinal `after`."""
        slots = asyncio.Semaphore(CONNECTING)

        async def connect(conversation: str, cookie: str) -> None:
            wishes = ({"type": "open", "conversation": conversation, "after": after}, {"type": "sidebar"})
            tab = Tab(wishes, handshake(port, *HEADERS, f"Cookie: {cookie}"))
            async with slots, asyncio.timeout(OPEN_LIMIT):
                await asyncio.get_running_loop().create_connection(lambda: tab, "127.0.0.1", port)
                await tab.is_told.wait()
            self._tabs.append(tab)

        await asyncio.gather(*(connect(*each) for each in shown))

    async def problems(self) -> list[str]:
        """Tell what is wrong with tabs, each kind once."""
        return sorted({tab.problem for tab in self._tabs if tab.problem})


if __name__ == "__main__":
    tabs = Tabs()
    serve({name: getattr(tabs, name) for name in ("open", "problems")})
