"""The ASGI application: pages over HTTP, one socket per tab, or news over HTTP where sockets do not get through.

Any ASGI server runs it; daphne is the one that is tested.
"""

import os
from collections.abc import Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()  # first: it sets Django up, and what follows imports models

from chat.leaving import NEWS  # noqa: E402
from chat.routing import news, websocket_urlpatterns  # noqa: E402
from config.forwarded import behind  # noqa: E402
from config.request_ids import with_ids  # noqa: E402
from config.telemetry import traced  # noqa: E402

tabs = URLRouter(websocket_urlpatterns)


async def http(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await (news if scope["path"] == NEWS else pages)(scope, receive, send)


async def websocket(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    async def tab(scope: dict[str, Any], receive: Callable[..., Any], _: Callable[..., Any]) -> None:
        # With the outer `send`: the session's looks at each frame whether there is a cookie to set.
        await tabs(scope, receive, send)

    await AuthMiddlewareStack(tab)(scope, receive, send)


def outermost(application: Callable[..., Any]) -> Callable[..., Any]:
    return behind(settings.PROXIES, with_ids(application))


application = ProtocolTypeRouter(
    {
        "http": outermost(traced(http, settings.OTLP_ENDPOINT)),
        "websocket": outermost(AllowedHostsOriginValidator(websocket)),
    }
)
