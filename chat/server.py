"""The web server: daphne, but it waits for slow readers, and takes its leave of browsers.

Daphne takes all that an application sends into memory, however slowly it is read, and all that browsers send; on
SIGTERM it cuts every connection off. Here `send` returns when there is room again, bodies are bounded and wait on disk,
and the browsers are told to come back (1012) one after the other, so that those who serve them next are not overrun.
"""

import asyncio
import logging
import random
import signal
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from channels.routing import get_default_application

# Before Twisted's reactor, which its server chooses.
from daphne.http_protocol import WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from django.conf import settings
from django.core.management.base import CommandError
from twisted.internet import reactor
from twisted.logger import LogLevel, STDLibLogObserver, globalLogPublisher
from twisted.web.http import HTTPChannel

from chat.leaving import LEAVE, NEWS
from chat.limits import Bucket
from predictions import watchdog
from predictions.proxies import ROOM

logger = logging.getLogger(__name__)

FRAME_LIMIT = 65_536  # bytes of a message from a browser's socket
HEAD_PATIENCE = 15.0  # seconds from the first byte of a request's head to its last
UPLOADS = b"/uploads/"  # where whole files are sent to
PIECE = 65_536  # bytes of a body that the application is given at once
FAREWELL = 5.0  # seconds over which browsers are sent elsewhere
LONGEST_LEAVE = 8.0  # seconds after which whatever still runs is cut off
SOCKET_BUFFER = 65_536  # bytes that the system keeps for a socket; it doubles that, and Twisted keeps as much again
LOOK_AGAIN = 0.05  # seconds between looks whether all have gone
UNREAD = 64  # messages of a browser's socket that wait for the application; no page sends so many at once
SERVICE_RESTART, POLICY_VIOLATION = 1012, 1008
GONE = {"disconnected": 0.0}  # what daphne notes of a connection that has ended
BODY = "parley.body"  # under which a scope has it on its way to the application
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebServer(Server):
    """Serve `application` until a signal comes; a second one ends it at once."""

    def __init__(self, *, host: str, port: int, farewell: float = FAREWELL, application: Any = None) -> None:
        super().__init__(
            _with_body(application or get_default_application()),
            endpoints=[f"tcp:port={port}:interface={host.replace(':', chr(92) + ':')}"],
            signal_handlers=False,
            websocket_max_message_size=FRAME_LIMIT,
            websocket_max_frame_size=FRAME_LIMIT,
            server_name="parley",
        )
        self._place = f"Port {port} on {host}"
        self._farewell = farewell
        self._ports: list[Any] = []
        self._leaving: asyncio.Future[None] | None = None

    def run(self) -> None:
        """Return after the end; raise CommandError if somebody else listens there."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: reactor.callFromThread(self.leave))
        # Daphne sends Twisted's log nowhere; what goes wrong there should be seen.
        publisher: Any = globalLogPublisher  # mypy does not know its interfaces
        observe = STDLibLogObserver("twisted")
        publisher.addObserver(lambda event: observe(event) if event["log_level"] >= LogLevel.warn else None)
        clock: Any = reactor  # mypy takes it for an interface
        clock.callLater(0, lambda: watchdog.watch(asyncio.get_running_loop()))
        super().run()
        if not self.listening_addresses:
            raise CommandError(f"{self._place} is taken. Choose another one with --port or PARLEY_PORT.")

    def stop_soon(self) -> None:
        """End at once; from any thread."""
        reactor.callFromThread(self.stop)

    def leave(self) -> None:
        """Take nothing new, send the browsers elsewhere, and end."""
        if self._leaving is not None:
            self.stop()
            return
        for port in self._ports:
            port.stopListening()
        self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        for protocol in self._open():
            if (leave := _way_to_leave(protocol)) is not None:
                pause = random.uniform(0, self._farewell)  # noqa: S311 - so that not all come back at once
                asyncio.get_running_loop().call_later(pause, leave)
        try:
            async with asyncio.timeout(LONGEST_LEAVE):
                while self._open():  # noqa: ASYNC110 - daphne tells nobody when a connection ends
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError:
            logger.warning("%d connections are cut off.", len(self._open()))
        self.stop()

    def _open(self) -> list[Any]:
        """The requests and sockets that are not over yet."""
        return [protocol for protocol, details in self.connections.items() if "disconnected" not in details]

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        self.ws_factory.protocol = Socket
        self.http_factory.protocol = Channel
        self.http_factory.buildProtocol = partial(_with_own_requests, self.http_factory.buildProtocol)
        super().listen_success(port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:  # the queue of what it receives
        if isinstance(protocol, Request):
            scope[BODY] = protocol.content
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:  # a Deferred
        # Daphne expects an application for each connection; one that comes or goes at this moment has none.
        for connection, about in list(self.connections.items()):
            if "application_instance" not in about:
                del self.connections[connection]
        return super().kill_all_applications()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        flow = self._flow_of(protocol, message)
        await super().handle_reply(protocol, message)
        if flow is not None:
            await flow.wait()

    def _flow_of(self, protocol: Any, message: dict[str, Any]) -> "Flow | None":
        """Return what tells whether there is room after `message`; None if nothing follows, or nobody is there."""
        follows = message["type"] == "websocket.send" or message.get("more_body", False)
        flow: Flow | None = getattr(protocol, "flow", None)
        if follows and flow is None and "disconnected" not in self.connections.get(protocol, GONE):
            flow = protocol.flow = Flow()
            flow.watch(protocol)
        if flow is not None and message["type"] == "http.response.body" and not follows:
            protocol.flow = None
            protocol.unregisterProducer()
            return None
        return flow


def _with_own_requests(build: Callable[[Any], Any], address: Any) -> Any:
    protocol = build(address)
    protocol.requestFactory = Request
    return protocol


def _with_body(application: Callable[..., Any]) -> Callable[..., Any]:
    """Have `application` receive bodies piece by piece, from where they wait."""

    async def run(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        body = scope.pop(BODY, None)
        await application(scope, partial(body.next, receive) if body else receive, send)

    return run


class Channel(HTTPChannel):
    """Twisted's, but silence alone does not bound a head: one that drips ends its connection, too."""

    def __init__(self) -> None:
        super().__init__()
        self._is_in_head = False
        self._is_past_head = False

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's names
        if not self._is_past_head and not self._is_in_head:
            self._is_in_head = True
            self.setTimeout(HEAD_PATIENCE)
        super().dataReceived(data)

    def resetTimeout(self) -> None:  # noqa: N802
        if not self._is_in_head:
            super().resetTimeout()

    def allHeadersReceived(self) -> None:  # noqa: N802
        self._is_in_head, self._is_past_head = False, True
        self.setTimeout(self.factory.timeOut)
        super().allHeadersReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802
        self._is_past_head = False
        super().requestDone(request)


class Request(WebRequest):
    """Daphne's, but a body is bounded, and nobody but the application reads it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._parsePOSTFormSubmission = False  # Twisted would take forms apart in memory, whoever sends them
        self._room = 0  # bytes
        self._is_refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's names
        super().gotLength(length)
        self.content: Any = Body(self.content)
        path = self.channel._path.partition(b"?")[0]  # noqa: SLF001 - its own is set when all has come
        self._room = ROOM + (settings.FILE_LIMIT if path == UPLOADS else 0)
        if length is not None and length > self._room:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._room -= len(data)
        if self._room < 0:
            self._refuse()
        if not self._is_refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        if not self._is_refused:
            self._is_refused = True
            self.channel.transport.write(TOO_LARGE)
            self.channel.loseConnection()

    def process(self) -> Any:  # a Deferred, or nothing
        return None if self._is_refused else super().process()


class Body:
    """A request's body: in memory or on disk, as Twisted keeps it, until the application reads it.

    To daphne it is empty: it would put all of it into a queue.
    """

    def __init__(self, content: Any) -> None:  # a binary file
        self._content = content
        self._is_there = self._is_read = False
        self.write, self.tell, self.seek, self.close = content.write, content.tell, content.seek, content.close

    @property
    def closed(self) -> bool:
        return bool(self._content.closed)

    def read(self, _: int = -1) -> bytes:
        return b""

    async def next(self, receive: Callable[..., Any]) -> dict[str, Any]:
        """Return what the application is to receive next."""
        if not self._is_there:
            message: dict[str, Any] = await receive()
            if message["type"] != "http.request":
                return message
            self._is_there = True
        if self._is_read or self.closed:
            return dict(await receive())
        await asyncio.sleep(0)  # a large file holds nobody else up
        piece = self._content.read(PIECE)
        self._is_read = len(piece) < PIECE
        return {"type": "http.request", "body": piece, "more_body": not self._is_read}


def _way_to_leave(protocol: Any) -> Callable[[], None] | None:
    """Return what sends a browser elsewhere; None where an end is near anyhow."""
    if isinstance(protocol, Socket):
        return protocol.leave
    if getattr(protocol, "path", b"") == NEWS.encode() and protocol.application_queue:
        return partial(protocol.application_queue.put_nowait, {"type": LEAVE})
    return None


class Socket(WebSocketProtocol):
    """Daphne's, but it closes with any code, sends messages of any size, and bounds what browsers may send."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pings = Bucket()

    def onOpen(self) -> None:  # noqa: N802 - daphne's names
        super().onOpen()
        # The application has had it, and sockets are open for days.
        self.http_request_data = b""
        self.http_headers.clear()
        self.clean_headers.clear()

    def leave(self) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=SERVICE_RESTART)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        # `sendMessage` holds what is sent to the limit of what browsers may send, and `sendFrame` costs as much as all
        # the rest of a frame's way through the server.
        if self.state == self.STATE_OPEN:
            self._write(_as_frame(content if binary else content.encode(), binary=binary))

    def _write(self, data: bytes) -> None:
        """Write at once where nothing waits: by way of the reactor it costs as much as all the rest."""
        transport = self.transport
        waits = transport.dataBuffer or transport._tempDataBuffer  # noqa: SLF001 - Twisted has no other way to ask
        if transport.connected and not waits:
            written = transport.writeSomeData(data)
            if written == len(data):
                return
            if isinstance(written, int):
                data = data[written:]
        transport.write(data)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        # `sendClose` takes no codes but 1000 and those from 3000 on.
        self.sendCloseFrame(code=code or 1000)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if self.application_queue.qsize() < UNREAD:
            super().onMessage(payload, isBinary)
        else:
            self.serverClose(POLICY_VIOLATION)

    def onPing(self, payload: bytes) -> None:  # noqa: N802
        # Answers that nobody reads would stand in memory.
        if self._pings.take():
            super().onPing(payload)
        else:
            self.serverClose(POLICY_VIOLATION)


def _as_frame(payload: bytes, *, binary: bool) -> bytes:
    """Return a whole message as one unmasked frame (RFC 6455, section 5.2)."""
    kind, length = 0x82 if binary else 0x81, len(payload)
    if length < 126:
        return struct.pack("!BB", kind, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", kind, 126, length) + payload
    return struct.pack("!BBQ", kind, 127, length) + payload


class Flow:
    """Whether more may be written to a connection, as Twisted tells a producer."""

    def __init__(self) -> None:
        self._room: asyncio.Event | None = None  # that is waited for

    def watch(self, protocol: Any) -> None:
        if isinstance(protocol, WebSocketProtocol):
            protocol.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            # The transport still tells the HTTP channel that the socket began as.
            protocol.transport.unregisterProducer()
            protocol.transport.registerProducer(self, True)
        else:
            protocol.registerProducer(self, True)

    async def wait(self) -> None:
        if self._room is not None:
            await self._room.wait()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's names
        self._room = self._room or asyncio.Event()

    def resumeProducing(self) -> None:  # noqa: N802
        if self._room is not None:
            self._room.set()
            self._room = None

    stopProducing = resumeProducing  # noqa: N815
