"""Where the names of hosts lead. A name is looked up once, judged, and connected to as it was judged."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from predictions.providers.errors import AddressRefused

Address = IPv4Address | IPv6Address
T = TypeVar("T")  # a connection

MOST = 4  # addresses of a name that are tried
GLOBAL = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")  # whose last four bytes are an IPv4 address (RFC 6052)
METADATA = {ip_address("100.100.100.200"), ip_address("fd00:ec2::254")}  # beside those that are link-local


async def look_up(host: str, port: int, *, may_be_inside: bool) -> list[str]:
    """Return where `host` is; raise AddressRefused where nobody may go, OSError if it is nowhere.

    What is given as an address was chosen as such, and may be inside; but not where clouds tell machines their secrets.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    judged = refuse_secrets(host, addresses)
    if not may_be_inside and not is_address(host) and not all(map(_is_outside, judged)):
        raise AddressRefused(f"{host} leads into a network of one’s own")
    return addresses[:MOST]


def refuse_secrets(host: str, addresses: Iterable[str]) -> list[Address]:
    """Return what `addresses` really are; raise AddressRefused where clouds tell machines their secrets at one."""
    judged = [_within(ip_address(address.partition("%")[0])) for address in addresses]
    if any(address.is_link_local or address in METADATA for address in judged):
        raise AddressRefused(f"{host} leads to where machines are told their secrets")
    return judged


async def connect_in_turn(
    places: list[str],
    connect: Callable[[str, float | None], Awaitable[T]],
    patience: float | None,
    *failures: type[Exception],
) -> T:
    """Return what `connect` makes of the first place that does not fail so, or of the last one, whatever comes of it.

    Each has its part of the `patience` in seconds: one that says nothing keeps none of the others from being tried.
    """
    part = patience and patience / len(places)
    for place in places[:-1]:
        with suppress(*failures):
            return await connect(place, part)
    return await connect(places[-1], part)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _within(address: Address) -> Address:
    """Return the IPv4 address that is written into an IPv6 one, or `address` itself."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address.sixtofour or _of_nat64(address) or address
    return address


def _of_nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else None


def _is_outside(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in GLOBAL or address.teredo):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
