"""The only outgoing HTTP client, with the one guard that all requests pass: hosts, redirects, sizes, time.

Whoever holds a `HostClient` reaches its provider's base address, and the hosts of streams and files it was given.
httpx is imported here, in the two transports and `tls` alone; its exceptions become those of `errors` at this border.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import httpx

from predictions.providers.errors import (
    AccountRefused,
    AddressRefused,
    AnswerLost,
    ProviderUnavailable,
    StreamInterrupted,
)
from predictions.providers.pool import PooledTransport
from predictions.providers.stream_transport import StreamTransport

CONNECT_TIMEOUT = 5.0  # seconds
ANSWER_TIMEOUT = 30.0  # seconds between two bytes of an answer
ANSWER_TIME = 120.0  # seconds that an answer may take beyond the wait for it, however steadily it drips
STREAM_SILENCE = 30.0  # seconds without a byte before a stream counts as silent; Replicate itself ends one then
ANSWER_LIMIT = 33_554_432  # bytes of one JSON answer
CONNECTIONS, KEPT_CONNECTIONS = 1_000, 50  # at once, and of those that wait for the next request
STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
ASK_FOR_TOKEN = {401, 403}
NONE: Mapping[str, Any] = {}
REDIRECTS = 3  # of a file, each of which must lead to a host that is allowed


Permit = Callable[[], Awaitable[None]]  # raises where something must not be sent


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: its status, its headers in lower case, and its JSON (None if it is none)."""

    status: int
    headers: Mapping[str, str]
    json: Any  # whatever JSON the host wrote


class HostClient:
    """Requests to one provider. `transport` is the seam for tests."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        stream_hosts: Iterable[str] = (),
        file_hosts: Iterable[str] = (),
        refusal: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """With `refusal`, nothing is sent: each request raises AccountRefused with this text."""
        self._refusal = refusal
        self._base_url = base_url.rstrip("/")
        self._origin = _origin(self._base_url)
        self._stream_hosts = tuple(stream_hosts)
        self._file_hosts = tuple(file_hosts)
        own_host = _host(self._base_url)
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=KEPT_CONNECTIONS)
        pooled = transport or PooledTransport(own_host, limits=limits, trust_env=False)
        self._client = self._make_client(pooled)
        self._streams = self._make_client(transport or StreamTransport(own_host))
        # With the token, which is for this host alone, and which these do not show in their `repr`.
        self._headers = httpx.Headers(headers)

    @staticmethod
    def _make_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()
        await self._streams.aclose()

    async def request(
        self,
        method: str,
        address: str,
        *,
        body: Any = None,  # anything JSON can say
        headers: Mapping[str, str] | None = None,
        wait: float = ANSWER_TIMEOUT,
        permit: Permit | None = None,
    ) -> Answer:
        """Send a request and return the whole answer, whatever its status.

        `address` is a path below the base address, or a whole address on the same host. `wait` is how many
        seconds may pass between two bytes. `permit` is awaited when a connection stands and nothing is sent yet;
        what it raises comes through. Raises ProviderUnavailable if nothing was sent, else AnswerLost.
        """
        timeout = httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT, read=wait)
        extensions = {"trace": _before_sending(permit)} if permit else None
        options = {"json": body, "headers": headers, "timeout": timeout, "extensions": extensions}
        try:
            async with asyncio.timeout(wait + ANSWER_TIME) as time:
                return await self._send(method, address, **options)
        except TimeoutError as error:
            if not time.expired():  # it was `permit`
                raise
            raise AnswerLost(f"{self._origin} did not answer to the end.") from error

    async def upload(self, address: str, content: IO[bytes], *, name: str, media_type: str) -> Answer:
        """Post a file as the form field `content`, read from `content` piece by piece; errors as of `request`."""
        return await self._send("POST", address, files={"content": (name, content, media_type)})

    async def _send(
        self, method: str, address: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:  # options: those of httpx
        url = self._check(address)
        sent = {**self._headers_for(url), **(headers or {})}
        try:
            async with self._client.stream(method, url, headers=sent, **options) as response:
                content = await _read(_packed_once(response))
                return Answer(response.status_code, response.headers, _parse(content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ProviderUnavailable(f"{self._origin} cannot be reached.") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise AddressRefused(f"{self._origin} is not a web address.") from error
        except httpx.HTTPError as error:
            raise AnswerLost(f"{self._origin} did not answer to the end.") from error

    @asynccontextmanager
    async def stream(
        self, method: str, address: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator["EventStreamResponse"]:
        """Open an event stream. Errors of the transport become StreamInterrupted."""
        url = self._check(address, self._stream_hosts)
        sent = {**STREAM_HEADERS, **(headers or {})}
        options = {"json": body, "timeout": httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT, read=STREAM_SILENCE)}
        try:
            async with self._opened(self._streams, method, url, sent, options) as response:
                yield EventStreamResponse(_not_packed(response))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise StreamInterrupted("The event stream broke off.") from error

    @asynccontextmanager
    async def download(self, address: str) -> AsyncIterator["Download"]:
        """Open a file for reading. Raises AddressRefused, ProviderUnavailable or AnswerLost."""
        try:
            for _ in range(REDIRECTS + 1):
                url = self._check(address, self._file_hosts)
                async with self._opened(self._client, "GET", url) as response:
                    if not response.is_redirect:
                        yield Download(_packed_once(response))
                        return
                    address = urljoin(url, response.headers.get("location", ""))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ProviderUnavailable(f"{urlsplit(address).hostname} cannot be reached.") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # httpx reads where a redirect leads
            raise AnswerLost(f"{urlsplit(address).hostname} did not send the file to its end.") from error
        raise AddressRefused("the file's address leads from one address to the next")

    def may_hold_files(self, address: str) -> bool:
        """Whether a file at `address` may be fetched."""
        try:
            return "://" in address and bool(self._check(address, self._file_hosts))
        except AddressRefused:
            return False

    @asynccontextmanager
    async def _opened(
        self, client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str] = NONE, options: Any = NONE
    ) -> AsyncIterator[httpx.Response]:
        """Ask for something. A host of the settings that is not the token's own gets it only if it asks for it.

        Replicate's specification says that files may need it; its clients differ in whether they send it for streams.
        """
        own = self._headers_for(url)
        async with client.stream(method, url, headers={**own, **headers}, **options) as response:
            if own or response.status_code not in ASK_FOR_TOKEN or not self._headers:
                yield response
                return
        async with client.stream(method, url, headers={**self._headers, **headers}, **options) as response:
            yield response

    def _headers_for(self, url: str) -> dict[str, str]:
        return dict(self._headers) if _origin(url) == self._origin else {}

    def _check(self, address: str, hosts: Iterable[str] = ()) -> str:
        if self._refusal:
            raise AccountRefused(self._refusal)
        url = address if "://" in address else self._base_url + address
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise AddressRefused("this is not a web address") from error
        if _origin(url) == self._origin:
            return url
        host = (parts.hostname or "").rstrip(".")
        allowed = any(host == name or host.endswith("." + name) for name in hosts)
        if allowed and parts.scheme == "https" and not parts.username and port in {None, 443}:
            return url
        raise AddressRefused(f"requests to {parts.scheme}://{host} are not allowed here")


class Download:
    """The answer to a request for a file."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_bytes():
            yield chunk


class EventStreamResponse:
    """The answer to a request for an event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.is_event_stream = response.headers.get("content-type", "").partition(";")[0] == "text/event-stream"

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.aiter_bytes():
            yield chunk

    async def json(self) -> Any:
        """The answer's JSON, when it is not an event stream after all."""
        return _parse(await _read(self._response))


def _before_sending(permit: Permit) -> Callable[[str, Any], Awaitable[None]]:
    """Return what httpcore is to call with each step of a request."""

    async def step(name: str, _: Any) -> None:
        if name == "http11.send_request_headers.started":
            await permit()

    return step


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _host(url: str) -> str:
    """Return the host as it is looked up, "" where there is none."""
    try:
        return httpx.URL(url).raw_host.decode("ascii")
    except httpx.InvalidURL:
        return ""


def _packed_once(response: httpx.Response) -> httpx.Response:
    """Refuse what is packed more than once: a few bytes could become more than there is memory."""
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        raise httpx.DecodingError("the answer is packed more than once")
    return response


def _not_packed(response: httpx.Response) -> httpx.Response:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("an event stream is packed")
    return response


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > ANSWER_LIMIT:
            raise httpx.DecodingError("the answer is larger than allowed")
    return bytes(content)


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
