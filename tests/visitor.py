"""A person at a running site, without a browser: the first admin, who asks, and reads what the news say."""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from tests.site import Site
from tests.waiting import WAIT_LIMIT, wait_until

PASSWORD = "a long enough phrase"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the answer that is to come."""

    conversation: str
    prediction: str

    def frames(self, *, messages: int = 0, after: int = 0) -> list[dict[str, Any]]:
        """What a page wants to hear that has so many messages, and so much of the answer."""
        return [
            {"type": "open", "conversation": self.conversation, "after": messages},
            {"type": "follow", "prediction": self.prediction, "edition": 0, "after": after},
        ]


class Visitor:
    """`with Visitor(site.url) as ada: ada.set_up(site.address)`."""

    def __init__(self, url: str) -> None:
        # An event stream is silent for ten seconds at a time.
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.Client(
            base_url=url, trust_env=False, verify=not Site.behind_nginx, timeout=WAIT_LIMIT + 10, limits=limits
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.http.close()

    def set_up(self, address: str) -> None:
        """Become the first admin, as the printed address allows."""
        fields = {"username": "ada", "password1": PASSWORD, "password2": PASSWORD}
        assert self._post(address, fields, to=address).status_code == 302

    def sign_in(self, username: str) -> None:
        page = "/accounts/login/"
        assert self._post(page, {"username": username, "password": PASSWORD}, to=page).status_code == 302

    def ask(self, text: str) -> Asked:
        # A site that has just begun does not know its models yet.
        model = wait_until(lambda: re.search(r'<option value="([^"]+)"', self.http.get("/").text))[1]
        sent = {"id": str(uuid.uuid4()), "text": text, "model": model}
        answer = self._post("/", sent, to="/conversations/", accept="application/json")
        assert answer.status_code == 201, answer.text
        shown = self.http.get(answer.json()["url"]).text
        found = re.search(r'<streaming-answer prediction="([^"]+)"', shown)
        assert found, f"it has ended already: {shown}"
        return Asked(answer.json()["conversation"], found[1])

    def upload(self, content: bytes) -> httpx.Response:
        token = self.http.get("/").text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        headers = {"X-File-Name": "file", "X-CSRFToken": token, "Accept": "application/json"}
        return self.http.post("/uploads/", content=content, headers=headers)

    def poll(self, frames: list[dict[str, Any]], seen: str = "") -> dict[str, Any]:
        query = {"frames": json.dumps(frames), "seen": seen}
        answer = self.http.get("/news/", params=query, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    @contextmanager
    def stream(self, frames: list[dict[str, Any]]) -> Iterator[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        with self.http.stream("GET", "/news/", params={"frames": json.dumps(frames)}, headers=headers) as response:
            yield response

    @property
    def cookies(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())

    def _post(self, page: str, fields: dict[str, str], *, to: str, accept: str = "text/html") -> httpx.Response:
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.http.get(page).text)[:1]
        headers = {"Accept": accept, "Referer": str(self.http.base_url)}
        return self.http.post(to, data={**fields, "csrfmiddlewaretoken": token}, headers=headers)


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the frames of an event stream as they come."""
    for line in response.iter_lines():
        if line:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))
