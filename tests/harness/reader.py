"""A tab: it fetches the page, connects, shows what it is told and connects again, as the page's scripts do.

`static/js/cursor.js`, `socket.js` and `elements/conversation-news.js` are what it repeats.
"""

import html
import json
import random
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.harness.history import Overheard, Page, View
from tests.websocket import CLOSE, PING, TEXT, WebSocket

if TYPE_CHECKING:
    from tests.harness.fleet import Fleet

ARTICLE = re.compile(r'<article class="message[^>]* data-message="([^"]+)".*?</article>', re.DOTALL)
STREAMING = re.compile(
    r'<streaming-answer prediction="([^"]+)" edition="(\d+)" end="(\d+)".*?<template>(.*?)</template>', re.DOTALL
)
NEWEST = re.compile(r'<conversation-news[^>]* after="(\d+)"')
PONG = 10
RECONNECT = 0.03  # seconds between attempts


class Connection(WebSocket):
    """A WebSocket that leaves nothing open, even if the server ends while it is made."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        try:
            super().__init__(port, path, headers)
        except BaseException:
            for opened in (getattr(self, "_file", None), getattr(self, "_socket", None)):
                if opened is not None:
                    opened.close()
            raise

    def tell(self, frame: dict[str, Any]) -> None:
        self.send(json.dumps(frame))

    def answer_ping(self, content: bytes) -> None:
        self._send(PONG, content)

    def hang_up(self) -> None:
        """End it from another thread, which wakes whoever is reading."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True)
class Answer:
    """An answer that is still being written, as it is shown."""

    message: str
    edition: int
    end: int
    text: str
    is_careless: bool = False  # a planted bug: whatever comes is put at the end

    @property
    def request(self) -> dict[str, Any]:
        return {"type": "follow", "edition": self.edition, "after": self.end}

    def read(self, frame: dict[str, Any]) -> bool:
        """Take a frame of output; say whether something is missing."""
        edition, offset, end = frame["edition"], frame["offset"], frame["end"]
        if self.is_careless:
            offset = self.end
        if edition < self.edition or (edition == self.edition and end <= self.end):
            return False
        if edition > self.edition:
            self.edition, self.end, self.text = edition, 0, ""
        if offset != self.end:
            return True
        self.end, self.text = end, self.text + frame["text"]
        return False


@dataclass(slots=True)
class Shown:
    """What the page shows."""

    articles: dict[str, str] = field(default_factory=dict)  # message id -> HTML, in order
    running: dict[str, Answer] = field(default_factory=dict)  # prediction id -> its text so far
    newest: int = 0


class Tab(threading.Thread):
    """One person's tab on one conversation, from `start` until `close`."""

    def __init__(
        self, fleet: "Fleet", name: str, person: str, conversation: str, seed: int, *, is_careless: bool = False
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._is_careless = is_careless
        self.person = person
        self.conversation = conversation
        self.views: list[View] = []
        self.overheard: list[Overheard] = []
        self.failure: BaseException | None = None
        self.shown = Shown()
        self._fleet = fleet
        self._random = random.Random(seed)
        self._closing = threading.Event()
        self._connection: Connection | None = None
        self._changed = threading.Condition()

    def close(self) -> None:
        self._closing.set()
        self.reconnect()
        self.join(30)
        assert not self.is_alive(), f"{self.name} does not end"
        if self.failure is not None:
            raise self.failure

    def reconnect(self) -> None:
        """Lose the connection, as a change of networks would."""
        if (connection := self._connection) is not None:
            connection.hang_up()

    def wait_for(self, condition: Any, limit: float) -> bool:
        """Wait until `condition(self.shown)` is true; say whether it became so."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self.failure or condition(self.shown), limit))

    def page(self) -> Page:
        """What is shown, beside the page fetched anew."""
        fetched = [(match[1], match[0].strip()) for match in ARTICLE.finditer(self._fetch())]
        return Page(self.name, self.person, self.conversation, tuple(self.shown.articles.items()), tuple(fetched))

    # ------------------------------------------------------------ in its own thread

    def run(self) -> None:
        try:
            self._open_page()
            while not self._closing.is_set():
                with suppress(OSError, EOFError, IndexError, ValueError):
                    self._converse()
                self._closing.wait(RECONNECT * self._random.uniform(0.5, 1.5))
        except BaseException as error:
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _fetch(self) -> str:
        status, page = self._fleet.get(self.person, f"/conversations/{self.conversation}/")
        assert status == 200, f"{self.name} gets {status}: {page}"
        return page

    def _open_page(self) -> None:
        page = self._fetch()
        newest = NEWEST.search(page)
        assert newest, page
        with self._changed:
            self.shown.newest = int(newest[1])
            self._put_in(page)

    def _converse(self) -> None:
        headers = {"Cookie": self._fleet.cookie(self.person)}
        with Connection(self._fleet.any_port(self._random), "/socket/", headers) as connection:
            self._connection = connection
            if connection.status != 101 or self._closing.is_set():
                return
            connection.tell({"type": "open", "conversation": self.conversation, "after": self.shown.newest})
            for prediction, answer in self.shown.running.items():
                connection.tell({**answer.request, "prediction": prediction})
            while True:
                kind, content = connection.receive()
                if kind == CLOSE:
                    return
                if kind == PING:
                    connection.answer_ping(content)
                if kind == TEXT:
                    self._read(connection, json.loads(content))

    def _read(self, connection: Connection, frame: dict[str, Any]) -> None:
        with self._changed:
            match frame.get("type"):
                case "messages":
                    self._take_messages(connection, frame)
                case "output":
                    self._take_output(connection, frame)
                case "ended":
                    self._take_end(frame)
            self._changed.notify_all()

    def _take_messages(self, connection: Connection, frame: dict[str, Any]) -> None:
        self.shown.newest = frame["after"]
        path = set(frame["path"])
        self.shown.articles = {key: article for key, article in self.shown.articles.items() if key in path}
        self.shown.running = {key: answer for key, answer in self.shown.running.items() if answer.message in path}
        for prediction in self._put_in(frame["html"]):
            connection.tell({**self.shown.running[prediction].request, "prediction": prediction})

    def _put_in(self, articles: str) -> list[str]:
        """Add what is not there yet; return the predictions that are to be followed."""
        added = []
        for match in ARTICLE.finditer(articles):
            if match[1] in self.shown.articles:
                continue
            self.shown.articles[match[1]] = match[0].strip()
            if streaming := STREAMING.search(match[0]):
                text = html.unescape(streaming[4])
                self.shown.running[streaming[1]] = Answer(
                    match[1], int(streaming[2]), int(streaming[3]), text, self._is_careless
                )
                self._note(streaming[1])
                added.append(streaming[1])
        return added

    def _take_output(self, connection: Connection, frame: dict[str, Any]) -> None:
        answer = self.shown.running.get(frame["prediction"])
        if answer is None:
            return
        if answer.read(frame):
            connection.tell({**answer.request, "prediction": frame["prediction"]})
        self._note(frame["prediction"])

    def _take_end(self, frame: dict[str, Any]) -> None:
        if frame["prediction"] in self.shown.running:
            self._note(frame["prediction"], status=frame["status"])
            del self.shown.running[frame["prediction"]]
        for match in ARTICLE.finditer(frame["html"]):
            if match[1] in self.shown.articles:
                self.shown.articles[match[1]] = match[0].strip()

    def _note(self, prediction: str, status: str = "") -> None:
        answer = self.shown.running[prediction]
        stored = self._fleet.database.stored(prediction)
        kept = stored.end if not status or stored.is_terminal else -1
        edition = stored.edition if not status or stored.is_terminal else -1
        self.views.append(View(self.name, prediction, answer.edition, answer.text, edition, kept, status))


class Stranger(Tab):
    """Somebody who is signed in, knows all ids, and may see nothing."""

    def __init__(self, fleet: "Fleet", conversation: str, predictions: list[str], seed: int) -> None:
        super().__init__(fleet, "stranger", "charlie", conversation, seed)
        self._predictions = predictions

    def _open_page(self) -> None:
        status, page = self._fleet.get(self.person, f"/conversations/{self.conversation}/")
        if status != 404:
            self.overheard.append(Overheard(self.person, page))
        self.shown.running = {key: Answer("", 0, 0, "") for key in self._predictions}

    def _read(self, connection: Connection, frame: dict[str, Any]) -> None:
        if frame.get("type") not in {None, "refused"}:
            self.overheard.append(Overheard(self.person, json.dumps(frame)))
