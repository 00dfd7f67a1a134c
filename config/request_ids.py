"""Each request and each socket has an id: in the log, in the answer's `X-Request-ID`, on the page of an error."""

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from structlog.contextvars import bind_contextvars

Application = Callable[[Any, Any, Any], Awaitable[None]]  # as ASGI has them

HEADER = b"x-request-id"
# What proxies make: UUIDs, hexadecimal digits, base64. Anybody may send one, and all of it comes into the log.
SANE = re.compile(rb"[A-Za-z0-9._=+/-]{1,128}")


def with_ids(application: Application) -> Application:
    """Take the id that a proxy has given, if it is sane, or make one."""

    async def identified(scope: Any, receive: Any, send: Any) -> None:
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        key = given if SANE.fullmatch(given) else uuid.uuid4().hex.encode()
        bind_contextvars(request=key.decode())
        await application(scope, receive, _with_id(key, send) if scope["type"] == "http" else send)

    return identified


def _with_id(key: bytes, send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def send_with_id(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), (HEADER, key)]}
        await send(message)

    return send_with_id
