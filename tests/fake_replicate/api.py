"""The fake's HTTP API as an ASGI application: doors, refusals, faults."""

import asyncio
import json
import re
import sys
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from .catalogue import Catalogue, Target
from .ledger import Call, Created, Ledger, StreamRead
from .predictions import Prediction, random_id
from .scripts import (
    NOT_FOUND,
    Answer,
    Cut,
    Disconnect,
    Ending,
    Fault,
    Gate,
    Hang,
    Late,
    Script,
    recorded_errors,
)
from .server import Message, Receive, Send

STREAM_IDLE_LIMIT = 30.0  # seconds, as documented
PAGE_SIZE = 100  # as documented
WAIT_DEFAULT = 60  # seconds that `Prefer: wait` holds a create
CANCEL_AFTER_MINIMUM = timedelta(seconds=5)

_WRONG_TOKEN, _NO_TOKEN = recorded_errors(401)
_INVALID_VERSION, _INVALID_INPUT, _ = recorded_errors(422)

DOORS = (
    ("POST", r"/v1/predictions", "create", "_create_by_version"),
    ("POST", r"/v1/models/(?P<ref>[^/]+/[^/]+)/predictions", "create", "_create_by_model"),
    ("POST", r"/v1/deployments/(?P<ref>[^/]+/[^/]+)/predictions", "create", "_create_by_deployment"),
    ("GET", r"/v1/predictions", "list", "_list"),
    ("GET", r"/v1/predictions/(?P<prediction_id>[^/]+)", "get", "_get"),
    ("POST", r"/v1/predictions/(?P<prediction_id>[^/]+)/cancel", "cancel", "_cancel"),
    ("GET", r"/v1/streams/(?P<key>[^/]+)", "stream", "_stream"),
    ("GET", r"/v1/account", "account", "_account"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)", "model", "_model"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)/versions", "versions", "_versions"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)/versions/(?P<version_id>[^/]+)", "version", "_version"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over the wire: when, and how much of it."""

    status: int
    body: bytes | AsyncGenerator[bytes | Disconnect, None]
    headers: Mapping[str, str]
    late: Gate | None = None
    cut: Cut | None = None
    read: StreamRead | None = None

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        headers = dict(self.headers)
        if isinstance(self.body, bytes) and not (self.cut and self.cut.how == "end"):
            headers["content-length"] = str(len(self.body))
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    async def pieces(self) -> AsyncGenerator[bytes | Disconnect, None]:
        if isinstance(self.body, bytes):
            yield self.body
            return
        async with aclosing(self.body) as body:
            async for piece in body:
                yield piece


NO_REPLY = Reply(500, b"", {})  # to what never reached its door


def _json(status: int, value: Any, headers: Mapping[str, str]) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json", **headers})


def _answer(answer: Answer) -> Reply:
    return Reply(answer.status, answer.content(), {"content-type": answer.content_type, **answer.headers})


class Refused(Exception):
    """The request ends with an error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Api(ABC):
    """One account's view of Replicate. All but `__init__` runs in the server's event loop."""

    def __init__(self, *, token: str, default: Script | Callable[[Any], Script]) -> None:
        self.token = token
        self.default = default  # of creates that find the queue empty; may be made from the create's body
        self.ledger = Ledger()
        self.catalogue = Catalogue.with_examples()
        self.stream_origin: str | None = None  # of `urls.stream`; None: where the create came to
        self.stream_idle_limit = STREAM_IDLE_LIMIT
        self.page_size = PAGE_SIZE
        self._scripts: deque[Script] = deque()
        self._faults: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self._predictions: dict[str, Prediction] = {}
        self._streams: dict[str, Prediction] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}

    @abstractmethod
    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start the life of a prediction."""

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
            handler, found = self._find_door(call)
            reply = await handler(call, **found)
        except Refused as refused:
            reply = _answer(refused.answer)
        await self._send(call, reply, send)

    def _find_door(self, call: Call) -> tuple[Callable[..., Awaitable[Reply]], dict[str, str]]:
        for method, pattern, door, handler in DOORS:
            if call.method == method and (match := re.fullmatch(pattern, call.path)):
                with self.ledger.writing():
                    call.door = door
                # The stream's address is the right to read it: one official client sends no token there.
                if door != "stream":
                    self._check_token(call)
                return getattr(self, handler), match.groupdict()
        raise Refused(NOT_FOUND)

    def _check_token(self, call: Call) -> None:
        match call.headers.get("authorization", "").split():
            case ["Bearer" | "Token", self.token]:
                pass
            case []:
                raise Refused(_NO_TOKEN)
            case _:
                raise Refused(_WRONG_TOKEN)

    # Predictions

    async def _create_by_version(self, call: Call) -> Reply:
        body = self._read_create(call, required=("version", "input"))
        target = self.catalogue.find(str(body["version"]))
        if target is None:
            raise Refused(_INVALID_VERSION)
        return await self._create(call, body, target)

    async def _create_by_model(self, call: Call, ref: str) -> Reply:
        body = self._read_create(call, required=("input",))
        target = self.catalogue.official(ref)
        if target is None:
            raise Refused(NOT_FOUND)
        return await self._create(call, body, target)

    async def _create_by_deployment(self, call: Call, ref: str) -> Reply:
        body = self._read_create(call, required=("input",))
        target = self.catalogue.deployments.get(ref)
        if target is None:
            raise Refused(NOT_FOUND)
        return await self._create(call, body, target)

    def _read_create(self, call: Call, *, required: tuple[str, ...]) -> dict[str, Any]:
        """Return the body; it must have the keys of the OpenAPI document and no others."""
        known = {*required, "stream", "webhook", "webhook_events_filter"}
        try:
            body = call.json()
        except ValueError:
            raise Refused(Answer(400, {"detail": "JSON parse error", "status": 400})) from None
        if not isinstance(body, dict) or not isinstance(body.get("input", {}), dict):
            raise Refused(_invalid("invalid_type", "input", "Expected: object"))
        for key in required:
            if key not in body:
                raise Refused(_invalid("required", "(root)", f"{key} is required"))
        for key in body.keys() - known:
            raise Refused(
                _invalid("additional_property_not_allowed", "(root)", f"Additional property {key} is not allowed")
            )
        return body

    async def _create(self, call: Call, body: dict[str, Any], target: Target) -> Reply:
        for name in target.version.openapi_schema["components"]["schemas"]["Input"].get("required", ()):
            if name not in body["input"]:
                raise Refused(_invalid("required", "input", f"{name} is required"))
        lifetime = _parse_cancel_after(call.headers.get("cancel-after"))
        script = self._next_script(body)
        fault = script.on_create
        if fault and not fault.handled:
            return _spoil(fault, NO_REPLY)
        prediction = self._begin(call, script, target, lifetime)
        place = self._place(call)
        reply = _json(201, prediction.as_created(*place), _limits(599))
        if wait := re.fullmatch(r"wait(?:=(\d+))?", call.headers.get("prefer", "")):
            await _wait_at_most(int(wait[1] or WAIT_DEFAULT), prediction.ended)
            shown = prediction.as_waited_for(*place)
            reply = _json(201, shown, {"preference-applied": wait[0]} | _limits(599))
        return _spoil(fault, reply)

    def _next_script(self, body: dict[str, Any]) -> Script:
        if self._scripts:
            return self._scripts.popleft()
        return self.default if isinstance(self.default, Script) else self.default(body)

    def _begin(self, call: Call, script: Script, target: Target, lifetime: timedelta | None) -> Prediction:
        created = Created(random_id(26), call)
        prediction = Prediction(script, target, created, self.ledger, lifetime=lifetime)
        self._predictions[prediction.id] = self._streams[prediction.stream_key] = prediction
        self.ledger.note_created(created)
        self._lives[prediction.id] = self.spawn(prediction.live())
        if lifetime:
            loop = asyncio.get_running_loop()
            loop.call_later(lifetime.total_seconds(), self._strike_deadline, prediction.id)
        return prediction

    async def _get(self, call: Call, prediction_id: str) -> Reply:
        prediction = self._find(prediction_id)
        with self.ledger.writing():
            prediction.record.gets += 1
        reply = _json(200, prediction.as_json(*self._place(call)), _limits(2999))
        return _spoil(_next_fault(prediction.faults["get"]), reply)

    async def _cancel(self, call: Call, prediction_id: str) -> Reply:
        """Cancel; one that has ended is answered as it is (a guess: nobody has recorded that answer)."""
        prediction = self._find(prediction_id)
        with self.ledger.writing():
            prediction.record.cancels += 1
        fault = _next_fault(prediction.faults["cancel"])
        if fault and not fault.handled:
            return _spoil(fault, NO_REPLY)
        if not prediction.script.ignores_cancel:
            self._end(prediction, "canceled")
        return _spoil(fault, _json(200, prediction.as_canceled(*self._place(call)), _limits(2999)))

    async def _list(self, call: Call) -> Reply:
        """List the newest first; `next` is an address with a cursor, `previous` always null."""
        query = dict(parse_qsl(call.query))
        after, before = _parse_time(query.get("created_after")), _parse_time(query.get("created_before"))
        rows = [
            prediction
            for prediction in reversed(self._predictions.values())
            if (after is None or prediction.created_at >= after)
            and (before is None or prediction.created_at < before)
            and "source" not in query  # the only value is `web`, and nothing here was made on the web site
        ]
        ids = [prediction.id for prediction in rows]
        first = ids.index(query["cursor"]) + 1 if query.get("cursor") in ids else 0
        page, rest = rows[first : first + self.page_size], rows[first + self.page_size :]
        base, stream_origin = self._place(call)
        reached = f"{base}/predictions?{urlencode(query | {'cursor': page[-1].id})}" if rest else None
        results = [prediction.as_json(base, stream_origin) for prediction in page]
        reply = _json(200, {"next": reached, "previous": None, "results": results}, _limits(2999))
        return _spoil(_next_fault(self._faults["list"]), reply)

    async def _stream(self, call: Call, key: str) -> Reply:
        prediction = self._streams.get(key)
        if prediction is None or prediction.data_removed:
            raise Refused(NOT_FOUND)
        read = StreamRead(call)
        with self.ledger.writing():
            prediction.record.streams.append(read)
        events = prediction.read_stream(read, idle_limit=self.stream_idle_limit)
        reply = Reply(200, events, {"content-type": "text/event-stream", "cache-control": "no-cache"}, read=read)
        return _spoil(_next_fault(prediction.faults["stream"]), reply)

    def _strike_deadline(self, prediction_id: str) -> None:
        prediction = self._predictions[prediction_id]
        if prediction.deadline is None:
            raise ValueError("the create had no Cancel-After")
        self._end(prediction, "canceled" if prediction.started_at else "aborted")

    def _remove_data(self, prediction_id: str) -> None:
        self._predictions[prediction_id].remove_data()

    def _end(self, prediction: Prediction, status: str) -> None:
        if prediction.record.is_running:
            self._lives[prediction.id].cancel()
            prediction.end(status)

    def _find(self, prediction_id: str) -> Prediction:
        if prediction_id not in self._predictions:
            raise Refused(NOT_FOUND)
        return self._predictions[prediction_id]

    def _place(self, call: Call) -> tuple[str, str]:
        """Return the base of the API's addresses and the origin of streams, as this client sees them."""
        origin = f"http://{call.headers['host']}"
        return f"{origin}/v1", self.stream_origin or origin

    # Account and models

    async def _account(self, call: Call) -> Reply:
        account = {
            "type": "organization",
            "username": "acme",
            "name": "Acme",
            "github_url": "https://github.com/acme",
            "avatar_url": "https://github.com/acme.png",
        }
        return _spoil(_next_fault(self._faults["account"]), _json(200, account, _limits(2999)))

    async def _model(self, call: Call, ref: str) -> Reply:
        model = self.catalogue.models.get(ref)
        if model is None:
            raise Refused(NOT_FOUND)
        return _spoil(_next_fault(self._faults["model"]), _json(200, model.as_json(), _limits(2999)))

    async def _versions(self, call: Call, ref: str) -> Reply:
        model = self.catalogue.models.get(ref)
        if model is None or model.is_official:
            raise Refused(NOT_FOUND)
        results = [version.as_json() for version in reversed(model.versions)]
        reply = _json(200, {"next": None, "previous": None, "results": results}, _limits(2999))
        return _spoil(_next_fault(self._faults["versions"]), reply)

    async def _version(self, call: Call, ref: str, version_id: str) -> Reply:
        model = self.catalogue.models.get(ref)
        version = None if model is None or model.is_official else model.version(version_id)
        if version is None:
            raise Refused(NOT_FOUND)
        return _spoil(_next_fault(self._faults["version"]), _json(200, version.as_json(), _limits(2999)))

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
        left = cut.after
        async with aclosing(reply.pieces()) as pieces:
            async for piece in pieces:
                if isinstance(piece, Disconnect):
                    return piece.how
                if reply.read:
                    with self.ledger.writing():
                        reply.read.sent += len(piece[:left])
                await send({"type": "http.response.body", "body": piece[:left], "more_body": True})
                left -= len(piece)
                if left <= 0:
                    return cut.how
        return "end"

    def _note_end(self, reply: Reply, who: Literal["client", "server"]) -> None:
        if reply.read and reply.read.ended is None:
            with self.ledger.writing():
                reply.read.ended = who


def _spoil(fault: Fault | None, reply: Reply) -> Reply:
    match fault:
        case None:
            return reply
        case Answer():
            return replace(_answer(fault), read=reply.read)
        case Cut():
            return replace(reply, cut=fault)
        case Hang():
            return replace(reply, late=Gate())  # nobody will ever open it
        case Late():
            return replace(reply, late=fault.gate)


def _next_fault(faults: deque[Fault | None]) -> Fault | None:
    return faults.popleft() if faults else None


def _invalid(kind: str, field: str, description: str) -> Answer:
    """Make a 422 in the shape of the reported one."""
    return replace(
        _INVALID_INPUT,
        body={
            "detail": f"- {field}: {description}\n",
            "status": 422,
            "title": "Input validation failed",
            "invalid_fields": [{"type": kind, "field": field, "description": description}],
        },
    )


def _limits(remaining: int) -> dict[str, str]:
    """Return the headers that every recorded answer has; the numbers are those of a single call."""
    return {"ratelimit-remaining": str(remaining), "ratelimit-reset": "1"}


def _parse_cancel_after(value: str | None) -> timedelta | None:
    """Read `30s`, `5m`, `1h30m45s` or `90`; how a wrong one is refused is a guess."""
    if value is None:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", value)
    hours, minutes, seconds = (int(number or 0) for number in match.groups()) if match else (0, 0, 0)
    lifetime = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if lifetime < CANCEL_AFTER_MINIMUM:
        raise Refused(Answer(422, {"detail": "Cancel-After must be a duration of at least 5s", "status": 422}))
    return lifetime


def _parse_time(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise Refused(Answer(422, {"detail": f"not a date-time: {value}", "status": 422})) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _wait_at_most(seconds: int, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
