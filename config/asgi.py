"""The ASGI application: pages over HTTP, one socket per tab, or news over HTTP where sockets do not get through.

Any ASGI server runs it; daphne is the one that is tested.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()  # first: it sets Django up, and what follows imports models

from chat.leaving import NEWS  # noqa: E402
from chat.routing import news, websocket_urlpatterns  # noqa: E402
from chat.walls import is_own_origin  # noqa: E402
from config.forwarded import behind  # noqa: E402
from config.request_ids import with_ids  # noqa: E402
from config.telemetry import traced  # noqa: E402

# WhiteNoise hands a static file on in parts, which Django collects in a thread: right for files of this size.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

tabs = URLRouter(websocket_urlpatterns)


async def http(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    await (news if scope["path"] == NEWS else pages)(scope, receive, send)


async def websocket(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    if is_own_origin(scope):
        scope = await with_person(scope)
        # In all scopes before this one, too: tabs are open for days, and nobody reads them again.
        scope["headers"].clear()
        await tabs(scope, receive, send)
    else:
        await WebsocketDenier()(scope, receive, send)


async def with_person(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope with session and user. What finds them is gone then, and does not wait for the tab's end.

    It could set cookies, for which it would look at each frame; a socket sets none.
    """
    found: dict[str, Any] = {}

    async def note(known: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        found.update(session=known["session"], user=known["user"])

    await AuthMiddlewareStack(note)(scope, None, None)
    return {**scope, **found}


def outermost(application: Callable[..., Any]) -> Callable[..., Any]:
    return behind(settings.PROXIES, with_ids(application))


application = ProtocolTypeRouter(
    {
        "http": outermost(traced(http, settings.OTLP_ENDPOINT)),
        "websocket": outermost(websocket),
    }
)
