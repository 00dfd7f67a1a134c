"""The fake's front as an ASGI application: who may pass its doors, what is spoilt there, how answers go out."""

import asyncio
import re
import sys
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, urlencode

from .ledger import Call, Ledger
from .replies import NO_REPLY, Refused, Reply, answer_reply, json_reply, next_fault, origin_of, spoil
from .scripts import NOT_FOUND, SERVICE_UNAVAILABLE, Cut, Disconnect, Ending, Fault, recorded_errors
from .server import Message, Receive, Send
from .throttle import Throttle

PAGE_SIZE = 100  # as documented
# The stream's address is the right to read it: one official client sends no token there. Output files are served
# by another host, which asks for none.
OPEN_DOORS = ("stream", "output")
SILENT_DOORS = ("upload", "files", "file", "delete_file")  # recorded without the headers that tell the limits

_WRONG_TOKEN, _NO_TOKEN = recorded_errors(401)
[_NO_CREDIT] = recorded_errors(402)

T = TypeVar("T")


class Front(ABC):
    """One account's view of Replicate. All but `__init__` runs in the server's event loop."""

    doors: tuple[tuple[str, str, str, str], ...] = ()  # (method, pattern of the path, name, method of this class)

    def __init__(self, *, token: str) -> None:
        self.token = token
        self.ledger = Ledger()
        self.page_size = PAGE_SIZE
        self._throttle: Throttle | None = None
        self._is_down = False
        self._refuses_token = False
        self._is_out_of_credit = False
        self._faults: defaultdict[str, deque[Fault | None]] = defaultdict(deque)

    @abstractmethod
    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start work that nobody waits for: the life of a prediction, a webhook."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request = await receive()
        call = Call(
            scope["method"],
            scope["path"],
            scope["query_string"].decode(),
            {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            request["body"],
        )
        self.ledger.note_call(call)
        # The answer takes its first steps before anybody looks whether the client is still there: what has been
        # asked in full is done, as on a real server.
        answering = asyncio.create_task(self._answer(call, send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone = not answering.done()
            answering.cancel()
            leaving.cancel()
            [outcome, _] = await asyncio.gather(answering, leaving, return_exceptions=True)
        if gone:
            raise ConnectionResetError("the client went away")
        if outcome is not None:
            raise outcome

    async def _answer(self, call: Call, send: Send) -> None:
        try:
            handle = self._find_door(call)
            limits = self._admit(call)
            reply = await self._handle(call, handle)
        except Refused as refused:
            reply = answer_reply(refused.answer)
        else:
            if reply.tells_limits and call.door not in SILENT_DOORS:
                reply = replace(reply, headers={**limits, **reply.headers})
        await self._send(call, reply, send)

    def _find_door(self, call: Call) -> Callable[[], Awaitable[Reply]]:
        for method, pattern, door, handler in self.doors:
            if call.method == method and (match := re.fullmatch(pattern, call.path)):
                with self.ledger.writing():
                    call.door = door
                return lambda: getattr(self, handler)(call, **match.groupdict())
        raise Refused(SERVICE_UNAVAILABLE if self._is_down else NOT_FOUND)

    def _admit(self, call: Call) -> Mapping[str, str]:
        """Return the headers that tell what is left of the limits; raise Refused."""
        if self._is_down and call.door != "stream":
            raise Refused(SERVICE_UNAVAILABLE)
        if call.door in OPEN_DOORS:
            return {}
        self._check_token(call)
        limits = self._check_limits(call)
        if self._is_out_of_credit and call.door == "create":
            raise Refused(_NO_CREDIT)
        return limits

    def _check_token(self, call: Call) -> None:
        match call.headers.get("authorization", "").split():
            case ["Bearer" | "Token", self.token]:
                if self._refuses_token:
                    raise Refused(_WRONG_TOKEN)
            case []:
                raise Refused(_NO_TOKEN)
            case _:
                raise Refused(_WRONG_TOKEN)

    def _check_limits(self, call: Call) -> Mapping[str, str]:
        if self._throttle is None:
            # What every recorded answer says; the numbers are those of a single call.
            return {"ratelimit-remaining": "599" if call.door == "create" else "2999", "ratelimit-reset": "1"}
        limits, refusal = self._throttle.admit(call.door or "")
        if refusal:
            with self.ledger.writing():
                call.was_throttled = True
            raise Refused(refusal)
        return limits

    async def _handle(self, call: Call, handle: Callable[[], Awaitable[Reply]]) -> Reply:
        fault = next_fault(self._faults[call.door or ""])
        if fault and not fault.handled:
            return spoil(fault, NO_REPLY)
        try:
            reply = await handle()
        except Refused as refused:
            reply = answer_reply(refused.answer)
        return spoil(fault, reply)

    def _page(self, call: Call, rows: Mapping[str, T], show: Callable[[T], Any]) -> Reply:
        """Show a page of the rows; `next` is an address with a cursor, `previous` always null."""
        query = dict(parse_qsl(call.query))
        keys = list(rows)
        first = keys.index(query["cursor"]) + 1 if query.get("cursor") in rows else 0
        page, rest = keys[first : first + self.page_size], keys[first + self.page_size :]
        reached = f"{origin_of(call)}{call.path}?{urlencode(query | {'cursor': page[-1]})}" if rest else None
        return json_reply(200, {"next": reached, "previous": None, "results": [show(rows[key]) for key in page]})

    # Delivery

    async def _send(self, call: Call, reply: Reply, send: Send) -> None:
        """Send the reply, as far as its cut lets it come.

        The ledger is written before the bytes go out: what a client has seen can be found there.
        """
        try:
            if reply.late:
                await reply.late.wait_open()
            ending = await self._send_until_cut(call, reply, send)
            self._note_end(reply, "server")
            if ending == "end":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await send({"type": "http.response.cut", "reset": ending == "reset"})
        finally:
            self._note_end(reply, "client")

    async def _send_until_cut(self, call: Call, reply: Reply, send: Send) -> Ending:
        """Send head and body, and return how the connection is to end."""
        cut = reply.cut or Cut(after=sys.maxsize, how="end")
        if cut.after is None:
            return cut.how
        with self.ledger.writing():
            call.status = reply.status
        if isinstance(reply.body, bytes):
            self._note_end(reply, "server")  # its length is known: the client goes when it has it all
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.raw_headers()})
        kind = "http.response.raw" if reply.is_misframed else "http.response.body"
        left = cut.after
        async with aclosing(reply.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Disconnect):
                    return piece.how
                if reply.read:
                    with self.ledger.writing():
                        reply.read.sent += len(piece[:left])
                await send({"type": kind, "body": piece[:left], "more_body": True})
                left -= len(piece)
                if left <= 0:
                    return cut.how
        return "close" if reply.is_misframed else "end"

    def _note_end(self, reply: Reply, who: Literal["client", "server"]) -> None:
        if reply.read and reply.read.ended is None:
            with self.ledger.writing():
                reply.read.ended = who


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
