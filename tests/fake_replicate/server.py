"""An ASGI application on a loopback port.

HTTP/1.1 by h11, with keep-alive and chunked bodies, and two things that no decent server offers. With the message
`{"type": "http.response.cut", "reset": bool}` the application ends its connection at once, and the body of
`{"type": "http.response.raw", "body": bytes}` is sent whatever the headers say of its length.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import h11

from tests.loopback import LoopbackListener, reset_on_close

BODY_LIMIT = 16 * 1024 * 1024  # bytes of one request
READ_SIZE = 64 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class LoopbackServer(LoopbackListener):
    """Serves `application`."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    async def see_to(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(reader, writer).converse(self._application)


class _Connection:
    """One client's connection: requests and answers in turn."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_SIZE)

    async def converse(self, application: Application) -> None:
        try:
            while isinstance(request := await self._next_event(), h11.Request):
                body = await self._read_body()
                await application(self._scope(request), self._receiver(body), self._send)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except ConnectionError:
            pass  # the client is gone, or its connection was cut on purpose
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(READ_SIZE))
        return event

    async def _read_body(self) -> bytes:
        body = bytearray()
        while isinstance(part := await self._next_event(), h11.Data):
            body += part.data
            if len(body) > BODY_LIMIT:
                raise h11.RemoteProtocolError("too much", error_status_hint=413)
        return bytes(body)

    def _scope(self, request: h11.Request) -> Message:
        target, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(target.decode("ascii")),
            "raw_path": target,
            "query_string": query,
            "root_path": "",
            "headers": [(name, value) for name, value in request.headers],
            "client": self._writer.get_extra_info("peername"),
            "server": self._writer.get_extra_info("sockname"),
            "extensions": {"http.response.cut": {}, "http.response.raw": {}},
        }

    def _receiver(self, body: bytes) -> Receive:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await self._hear_the_client_go()
            return {"type": "http.disconnect"}

        return receive

    async def _hear_the_client_go(self) -> None:
        while received := await self._reader.read(READ_SIZE):
            self._http.receive_data(received)  # the next request, ahead of its turn
            if len(self._http.trailing_data[0]) > BODY_LIMIT:
                return

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                await self._write(h11.Response(status_code=message["status"], headers=message["headers"]))
            case "http.response.body":
                if message.get("body"):
                    await self._write(h11.Data(data=message["body"]))
                if not message.get("more_body"):
                    await self._write(h11.EndOfMessage())
            case "http.response.raw":
                await self._write_bytes(message["body"])
            case "http.response.cut":
                if message["reset"]:
                    reset_on_close(self._writer)
                raise ConnectionAbortedError("cut on purpose")

    async def _write(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._write_bytes(data)

    async def _write_bytes(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            try:
                headers = [(b"content-length", b"0"), (b"connection", b"close")]
                await self._write(h11.Response(status_code=status, headers=headers))
                await self._write(h11.EndOfMessage())
            except ConnectionError:
                pass
