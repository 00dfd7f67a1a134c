"""What a proxy tells of a request is believed of those that `PARLEY_PROXIES` names; from anybody else it is dropped."""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.core.exceptions import ImproperlyConfigured

Application = Callable[[Any, Any, Any], Awaitable[None]]  # as ASGI has them
Network = IPv4Network | IPv6Network

OURS_AND_PRIVATE = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
FOR = b"x-forwarded-for"
TOLD = {b"forwarded", b"x-real-ip", FOR, *(b"x-forwarded-" + end for end in (b"host", b"port", b"proto", b"server"))}
HOPS = 20  # addresses of one header that are looked at


def networks(texts: Sequence[str]) -> list[Network]:
    """Read addresses and networks such as `10.0.0.0/8`; raise ImproperlyConfigured in words."""
    try:
        return [ip_network(text.strip()) for text in texts]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"PARLEY_PROXIES lists addresses and networks, such as 10.0.0.0/8: {error}"
        ) from error


def behind(proxies: Sequence[Network], application: Application) -> Application:
    """Hand on requests with the address of whoever sent them, and without what strangers tell of themselves."""

    async def believed(scope: Any, receive: Any, send: Any) -> None:
        scope = _believed(proxies, scope)
        await application(scope, receive, send)

    return believed


def _believed(proxies: Sequence[Network], scope: Any) -> Any:
    peer = (scope.get("client") or ("",))[0]
    headers = scope["headers"]
    # A header of the same meaning with a "_" is nobody's honest word, and daphne takes a prefix for all addresses
    # from whoever sends one.
    kept = [pair for pair in headers if pair[0] in TOLD or pair[0].replace(b"_", b"-") not in TOLD]
    changes: dict[str, Any] = {"root_path": "", "headers": kept}
    if _is_among(proxies, peer):
        told = b",".join(value for name, value in headers if name == FOR).decode("latin-1")
        changes["client"] = [_sender(proxies, told.split(",")[-HOPS:]) or peer, 0]
    else:
        changes["headers"] = [pair for pair in kept if pair[0] not in TOLD]
    return {**scope, **changes}


def _sender(proxies: Sequence[Network], hops: Sequence[str]) -> str:
    """Return the last address that is no proxy of ours: what stands before it, anybody may have written."""
    for hop in reversed(hops):
        address = hop.strip()
        if not _is_address(address):
            return ""
        if not _is_among(proxies, address):
            return address
    return hops[0].strip()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_among(proxies: Sequence[Network], text: str) -> bool:
    if not _is_address(text):
        return False
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in proxies)
