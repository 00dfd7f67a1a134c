"""The one way out: which addresses it lets through, what it bounds, and what cancelling does to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from predictions.providers import http
from predictions.providers.errors import AddressRefused, AnswerLost, ProviderUnavailable, StreamInterrupted
from predictions.providers.http import HostClient
from predictions.runner import cancel_once
from tests.fake_replicate import FakeReplicate

BASE = "https://api.replicate.com/v1"
STREAMS = ("replicate.com", "replicate.net")


def answering(status: int = 200, content: bytes = b"{}") -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status, content=content))


async def test_what_is_not_permitted_at_the_last_moment_is_not_sent_and_the_next_request_is(
    host: FakeReplicate,
) -> None:
    async def forbid() -> None:
        raise PermissionError

    async def allow() -> None:
        pass

    headers = {"Authorization": f"Bearer {host.token}"}
    client = HostClient(host.url, headers=headers)
    for _ in range(2):  # over a new connection, and over one that stands
        requests = len(host.ledger.calls)
        with pytest.raises(PermissionError):
            await client.request("GET", "/account", permit=forbid)
        assert len(host.ledger.calls) == requests
        assert (await client.request("GET", "/account", permit=allow)).status == 200
    await client.close()


@pytest.mark.parametrize(
    "address",
    [
        "https://stream.replicate.com/v1/streams/x",
        "https://stream-b.svc.rno2.c.replicate.net/v1/streams/x",
        "https://api.replicate.com/v1/elsewhere",
    ],
)
async def test_streams_of_the_providers_hosts_are_opened(address: str) -> None:
    client = HostClient(BASE, stream_hosts=STREAMS, transport=answering())
    async with client.stream("GET", address) as response:
        assert response.status == 200
    await client.close()


@pytest.mark.parametrize(
    "address",
    [
        "http://stream.replicate.com/x",
        "https://replicate.com.evil.example/x",
        "https://evilreplicate.com/x",
        "https://replicate.com@evil.example/x",
        "https://user@stream.replicate.com/x",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:6379/",
        "https://2130706433/",
        "ftp://stream.replicate.com/x",
        "file:///etc/passwd",
        "https:///x",
    ],
)
async def test_no_other_stream_is_opened(address: str) -> None:
    def no_request(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was asked")

    client = HostClient(BASE, stream_hosts=STREAMS, transport=httpx.MockTransport(no_request))
    with pytest.raises(AddressRefused):
        async with client.stream("GET", address):
            pass
    await client.close()


async def test_requests_go_to_the_base_address_alone() -> None:
    client = HostClient(BASE, stream_hosts=STREAMS, transport=answering())
    with pytest.raises(AddressRefused):
        await client.request("GET", "https://stream.replicate.com/x")
    await client.close()


async def test_redirects_are_not_followed() -> None:
    asked = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(302, headers={"location": "http://169.254.169.254/"})

    client = HostClient(BASE, transport=httpx.MockTransport(redirect))
    answer = await client.request("GET", "/account")
    await client.close()

    assert (answer.status, len(asked)) == (302, 1)


async def test_a_huge_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_LIMIT", 100)
    client = HostClient(BASE, transport=answering(content=b"[" + b"1," * 100 + b"1]"))
    with pytest.raises(AnswerLost):
        await client.request("GET", "/account")
    await client.close()


async def test_what_is_no_json_is_none() -> None:
    client = HostClient(BASE, transport=answering(502, b"<html>"))
    answer = await client.request("GET", "/account")
    await client.close()

    assert (answer.status, answer.json) == (502, None)


async def test_nobody_there_means_nothing_was_taken() -> None:
    client = HostClient("http://127.0.0.1:1")
    with pytest.raises(ProviderUnavailable):
        await client.request("POST", "/predictions", body={})
    with pytest.raises(StreamInterrupted):
        async with client.stream("GET", "/stream"):
            pass
    await client.close()


@asynccontextmanager
async def an_endless_stream() -> AsyncIterator[str]:
    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        try:
            request = await reader.read(65_536)
            if b"/quick" in request:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            for _ in range(1_000):
                writer.write(b"data: more\n\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(20):
            while any(task and not task.done() for task in talks):
                await asyncio.sleep(0.01)  # a reader that has gone is noticed at the next write
        await asyncio.sleep(0)


async def test_streams_that_are_cancelled_twice_cost_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is cancelled twice with a turn of the loop between stays in httpx's pool for ever."""
    monkeypatch.setattr(http, "CONNECTIONS", 10)
    async with an_endless_stream() as url:
        client = HostClient(url)

        async def read() -> None:
            async with client.stream("GET", "/stream") as response:
                async for _ in response.chunks():
                    pass

        async def run() -> None:
            reading = asyncio.create_task(read())
            try:
                await asyncio.wait({reading})
            finally:
                await cancel_once(reading)

        for turns in list(range(5)) * 10:
            running = asyncio.create_task(run())
            await asyncio.sleep(0.02)
            running.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        assert (await asyncio.wait_for(client.request("GET", "/quick"), 5)).status == 200
        await client.close()


@pytest.mark.parametrize("path", ["/quick", "/stream"])
async def test_whatever_is_cancelled_at_any_await_costs_no_connection(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECTIONS", 2)
    async with an_endless_stream() as url:
        client = HostClient(url)
        await client.request("GET", "/quick")

        async def ask() -> None:
            if path == "/quick":
                await client.request("GET", path)
                return
            async with client.stream("GET", path) as response:
                async for _ in response.chunks():
                    pass

        for turns in range(200):
            asking = asyncio.create_task(ask())
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancel_once(asking)

        answers = await asyncio.wait_for(asyncio.gather(*(client.request("GET", "/quick") for _ in range(4))), 5)
        assert [answer.status for answer in answers] == [200] * 4
        await client.close()
