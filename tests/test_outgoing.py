"""The one way out: which addresses it lets through, what it bounds, and what cancelling does to it."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import httpcore
import httpx
import pytest

from predictions.providers import http, places
from predictions.providers.errors import AddressRefused, AnswerLost, ProviderUnavailable, StreamInterrupted
from predictions.providers.http import HostClient
from predictions.runner import cancel_once
from tests.fake_replicate import FakeReplicate

BASE = "https://api.replicate.com/v1"
STREAMS = ("replicate.com", "replicate.net")
FILES = ("replicate.delivery",)


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


INNER = [  # this machine, its network, the metadata services of clouds: in every spelling that some parser takes
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
    *("127.0.0.1.", "127.000.000.001", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]"),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1%25lo]", "[fe80::1]", "[fd00::1]", "[::ffff:169.254.169.254]"),
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[fd00:ec2::254]"),
    *("metadata.google.internal", "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.0.1", "224.0.0.1"),
    *(
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1.nip.io",
        "localtest.me",
        "evil.example",
        "xn--replicate-delivery-.example",
    ),
]
FORMS = [
    *("https://{}/", "http://{}/", "https://{}:443/", "http://{}:6379/", "https://replicate.delivery@{}/"),
    *("https://{}#.replicate.delivery", "https://{}?.replicate.delivery", "https://{}/.replicate.delivery"),
    *("https://replicate.delivery:443@{}/", "https://{}:80/replicate.delivery", "//{}/", "https:\\\\{}/", "ws://{}/"),
]
SPELLINGS = [form.format(host) for host in INNER for form in FORMS]


async def test_no_spelling_of_another_address_is_asked_by_itself_or_after_a_redirect() -> None:
    asked: list[httpx.URL] = []

    def lead_on(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(302, headers={"location": location.encode()})

    client = HostClient(BASE, stream_hosts=STREAMS, file_hosts=FILES, transport=httpx.MockTransport(lead_on))
    for location in SPELLINGS:
        assert not client.may_hold_files(location), location
        for address in (location, "https://replicate.delivery/file"):
            with suppress(AddressRefused, AnswerLost):
                async with client.download(address):
                    pass
        with suppress(AddressRefused, StreamInterrupted):
            async with client.stream("GET", location):
                pass
    await client.close()

    assert len(SPELLINGS) > 500
    # A place without a host of its own is one on the host that named it.
    assert {url.host for url in asked} <= {"replicate.delivery", "api.replicate.com"}


@pytest.mark.parametrize(
    "address",
    [
        *("https://evil.example\\.replicate.delivery/", "https://evil.example\n.replicate.delivery/"),
        *("https://127.0.0.1%2f.replicate.delivery/", "https://127.0.0.1\x00.replicate.delivery/"),
        *("https://evil.example\t/.replicate.delivery", "https://[::1].replicate.delivery/"),
        *("https://[replicate.delivery]/", "https://replicate.delivery:x/", "https://replicate.delivery:99999/"),
    ],
)
async def test_what_is_read_in_two_ways_leads_nowhere_else(address: str) -> None:
    def only_there(request: httpx.Request) -> httpx.Response:
        assert request.url.host.endswith(".replicate.delivery"), request.url
        return httpx.Response(200)

    client = HostClient(BASE, file_hosts=FILES, transport=httpx.MockTransport(only_there))
    with suppress(AddressRefused, AnswerLost, ProviderUnavailable):
        async with client.download(address):
            pass
    await client.close()


# ---------------------------------------------------------------- where names lead

LEADING_INSIDE = [
    *(["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["100.64.0.1"], ["0.0.0.0"], ["224.0.0.1"], ["240.0.0.1"]),
    *(["::1"], ["::"], ["fe80::1%eth0"], ["fd00:ec2::254"], ["ff02::1"], ["::ffff:127.0.0.1"], ["::ffff:a9fe:a9fe"]),
    *(["::127.0.0.1"], ["64:ff9b::7f00:1"], ["64:ff9b:1::7f00:1"], ["2002:7f00:1::"], ["2001:0:7f00:1::"]),
    *(["2001:db8::1"], ["93.184.216.34", "127.0.0.1"], ["2606:4700::1", "::1"], ["93.184.216.34", "fd00::1"]),
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What the name service says of each name, one answer after the other; the last one again and again."""
    told: dict[str, list[list[str]]] = {}

    async def look_up(loop: object, host: str | bytes, port: int, **how: object) -> list[tuple[object, ...]]:
        answers = told[host if isinstance(host, str) else host.decode()]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)
    return told


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where connections are begun; none of them stands."""
    places: list[str] = []

    async def begin(_: object, place: str, port: int, *arguments: object, **options: object) -> None:
        places.append(place)
        raise httpcore.ConnectError

    async def begin_stream(_: object, protocol: object, place: str, port: int, **options: object) -> None:
        places.append(place)
        raise OSError

    monkeypatch.setattr(httpcore._backends.auto.AutoBackend, "connect_tcp", begin)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", begin_stream)
    return places


@asynccontextmanager
async def reaching(base: str = BASE) -> AsyncIterator[HostClient]:
    client = HostClient(base, stream_hosts=STREAMS, file_hosts=FILES)
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("inside", LEADING_INSIDE, ids=", ".join)
async def test_a_name_that_leads_into_ones_own_network_is_not_followed_there(
    inside: list[str], names: dict[str, list[list[str]]], connected: list[str]
) -> None:
    names |= {"x.replicate.delivery": [inside], "stream.replicate.com": [inside]}
    async with reaching() as client:
        with pytest.raises(AddressRefused, match=r"leads (in)?to"):
            async with client.download("https://x.replicate.delivery/file"):
                pass
        with pytest.raises(AddressRefused, match=r"leads (in)?to"):
            async with client.stream("GET", "https://stream.replicate.com/x"):
                pass

    assert connected == []


async def test_what_was_judged_is_what_is_connected_to(names: dict[str, list[list[str]]], connected: list[str]) -> None:
    outside = ["93.184.216.34", "64:ff9b::5db8:d822", "2606:2800:220:1::1"]
    names |= {name: [outside, ["127.0.0.1"]] for name in ("x.replicate.delivery", "stream.replicate.com")}
    async with reaching() as client:
        with pytest.raises(ProviderUnavailable):
            async with client.download("https://x.replicate.delivery/file"):
                pass
        with pytest.raises(StreamInterrupted):
            async with client.stream("GET", "https://stream.replicate.com/x"):
                pass

        assert connected == outside * 2
        with pytest.raises(AddressRefused):  # by now the name says something else
            async with client.download("https://x.replicate.delivery/file"):
                pass
    assert connected == outside * 2


async def test_an_address_that_says_nothing_keeps_none_of_the_others_from_being_tried(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["2606:2800:220:1::1", "93.184.216.34"]
    tried = []

    async def say_nothing(_: object, protocol: object, place: str, port: int, **options: object) -> None:
        tried.append(place)
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", say_nothing)
    monkeypatch.setattr(http, "CONNECT_TIMEOUT", 0.05)
    names["stream.replicate.com"] = [places]
    async with reaching() as client:
        with pytest.raises(StreamInterrupted):
            async with client.stream("GET", "https://stream.replicate.com/x"):
                pass

    assert tried == places


async def test_a_host_that_an_admin_has_named_may_be_inside(
    names: dict[str, list[list[str]]], connected: list[str]
) -> None:
    names["cog.internal"] = [["10.0.0.7"]]
    async with reaching("http://cog.internal:5000") as client:
        with pytest.raises(ProviderUnavailable):
            await client.request("GET", "/health-check")
        with pytest.raises(StreamInterrupted):
            async with client.stream("GET", "/stream"):
                pass

    assert connected == ["cog.internal", "10.0.0.7"]


@pytest.mark.parametrize(
    "secret", ["169.254.169.254", "::ffff:a9fe:a9fe", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"]
)
@pytest.mark.parametrize("base", ["http://cog.internal:5000", "http://2852039166"])
async def test_no_host_is_where_clouds_tell_machines_their_secrets(
    base: str, secret: str, names: dict[str, list[list[str]]], connected: list[str]
) -> None:
    names |= {"cog.internal": [["10.0.0.7", secret]], "2852039166": [[secret]]}
    async with reaching(base) as client:
        with pytest.raises(AddressRefused):
            await client.request("GET", "/openapi.json")
        with pytest.raises(AddressRefused):
            async with client.stream("GET", "/stream"):
                pass

    assert connected == []


async def test_a_host_whose_name_leads_to_secrets_by_now_is_told_nothing(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(places, "METADATA", {ip_address("127.0.0.1")})
    names["cog.internal"] = [["10.0.0.7"], ["127.0.0.1"]]
    async with reaching(f"http://cog.internal:{port}") as client:
        with pytest.raises(AddressRefused):
            await client.request("GET", "/openapi.json")
    async with asyncio.timeout(5):
        while not heard:
            await asyncio.sleep(0.01)
    server.close()

    assert heard == [b""]


@pytest.mark.parametrize("asking", [0, 401, 403])
async def test_a_token_goes_to_its_own_host_and_to_others_of_the_settings_if_they_ask(asking: int) -> None:
    seen: dict[str, list[str]] = {}

    def note(request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("authorization", "")
        seen.setdefault(request.url.host, []).append(shown)
        return httpx.Response(200 if shown or not asking else asking, content=b"{}")

    headers = {"Authorization": "Bearer r8_secret"}
    transport = httpx.MockTransport(note)
    client = HostClient(BASE, headers=headers, stream_hosts=STREAMS, file_hosts=FILES, transport=transport)
    await client.request("GET", "/account")
    file, stream = client.download("https://x.replicate.delivery/file"), client.stream("GET", "https://replicate.net/x")
    async with file as sent, stream as events:
        assert (sent.status, events.status) == (200, 200)
    for elsewhere in ("https://replicate.delivery.evil.example/", "http://replicate.delivery/file"):
        with pytest.raises(AddressRefused):
            async with client.download(elsewhere):
                pass
    await client.close()

    tries = ["", "Bearer r8_secret"] if asking else [""]
    assert seen == {"api.replicate.com": ["Bearer r8_secret"], "x.replicate.delivery": tries, "replicate.net": tries}


# ---------------------------------------------------------------- what comes back


@pytest.mark.parametrize("packing", ["gzip, gzip", "gzip, deflate", "gzip,gzip,gzip"])
async def test_what_is_packed_more_than_once_is_not_unpacked(packing: str) -> None:
    """A thousand bytes, packed twice, can be gigabytes."""
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    client = HostClient(
        BASE,
        file_hosts=FILES,
        transport=httpx.MockTransport(
            lambda _: httpx.Response(200, headers={"content-encoding": packing}, stream=httpx.ByteStream(bomb))
        ),
    )
    with pytest.raises(AnswerLost):
        await client.request("GET", "/account")
    with pytest.raises(AnswerLost):
        async with client.download("https://replicate.delivery/file"):
            pass
    with pytest.raises(StreamInterrupted):
        async with client.stream("GET", "/stream"):
            pass
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


class Dripping(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.005)


async def test_an_answer_that_drips_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_TIME", 0.05)
    client = HostClient(BASE, transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=Dripping())))
    with pytest.raises(AnswerLost):
        async with asyncio.timeout(10):
            await client.request("GET", "/account", wait=0.05)
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
