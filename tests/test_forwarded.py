"""Forged headers: what strangers tell of themselves is not believed."""

import socket
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.forwarded import OURS_AND_PRIVATE, behind, networks
from tests.site import Site
from tests.waiting import WAIT_LIMIT
from tests.websocket import WebSocket

PROXY, STRANGER = "10.1.2.3", "203.0.113.7"


async def seen(client: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """Return what the application is told of a request."""
    told: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        told.update(scope)

    scope = {"type": "http", "client": (client, 1), "root_path": "/x", "headers": list(headers)}
    await behind(networks(OURS_AND_PRIVATE), application)(scope, None, None)
    return told


@pytest.mark.parametrize("client", [STRANGER, "::ffff:203.0.113.7", "", "no address"])
async def test_what_strangers_tell_is_dropped(client: str) -> None:
    forged = [(name, b"https") for name in (b"x-forwarded-proto", b"x-forwarded-for", b"forwarded", b"x-real-ip")]
    told = await seen(client, (b"host", b"h"), *forged, (b"x_forwarded_proto", b"https"))

    assert told["headers"] == [(b"host", b"h")]
    assert told["client"][0] == client
    assert told["root_path"] == ""


@pytest.mark.parametrize(
    ("hops", "sender"),
    [
        (b"203.0.113.7", STRANGER),
        (b"6.6.6.6, 203.0.113.7", STRANGER),  # what a browser wrote stands first
        (b"6.6.6.6, 203.0.113.7, 192.168.0.9", STRANGER),  # two proxies
        (b"10.0.0.1, 10.0.0.2", "10.0.0.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"<script>", PROXY),
        (b"6.6.6.6, unknown", PROXY),
        (b"", PROXY),
        (b"203.0.113.7," * 5_000, PROXY),
    ],
)
async def test_a_proxy_is_believed_whom_it_speaks_for(hops: bytes, sender: str) -> None:
    told = await seen(PROXY, (FOR, hops), (b"x-forwarded-proto", b"https"), (b"x_forwarded_for", b"6.6.6.6"))

    assert told["client"][0] == sender
    assert told["headers"] == [(FOR, hops), (b"x-forwarded-proto", b"https")]


FOR = b"x-forwarded-for"


def test_a_network_that_is_none_is_an_error_in_words() -> None:
    with pytest.raises(ImproperlyConfigured, match="PARLEY_PROXIES lists addresses and networks"):
        networks(["10.0.0.0/8", "proxy.example.org"])


def test_a_site_is_not_fooled_by_headers_that_parsers_split_differently(site: Site) -> None:
    """CVE-2026-44546: an Origin that one parser takes for two headers; and daphne's prefix for all addresses."""
    forged = ("null", f"http://evil.example\x0bOrigin: {site.url}", f"http://evil.example\x0c{site.url}")
    for origin, status in ((site.url, {101}), *((one, {400, 403}) for one in forged)):
        with WebSocket(site.port, "/socket/", {"Origin": origin}) as tab:
            assert tab.status in status, origin

    with socket.create_connection(("127.0.0.1", site.port), WAIT_LIMIT) as connection:
        request = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nDaphne-Root-Path: //evil.example\r\nConnection: close"
        )
        connection.sendall(f"{request}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b"evil.example" not in answer
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
