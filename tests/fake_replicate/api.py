"""The doors of predictions and of the account; by inheritance all others."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from .catalogue import Target
from .catalogue_doors import CATALOGUE_DOORS, CatalogueDoors
from .files import FILE_DOORS, FileDoors
from .ledger import Call, Created, StreamRead
from .predictions import Prediction, random_id
from .replies import NO_REPLY, Flaw, Refused, Reply, invalid, json_reply, next_fault, origin_of, spoil
from .scripts import NOT_FOUND, Answer, Script, recorded_errors
from .validation import input_flaws
from .webhooks import WEBHOOK_DOORS, WebhookDoors, webhook_flaws

STREAM_IDLE_LIMIT = 30.0  # seconds, as documented
WAIT_DEFAULT = 60  # seconds that `Prefer: wait` holds a create
CANCEL_AFTER_MINIMUM = timedelta(seconds=5)

_INVALID_VERSION, _, _ = recorded_errors(422)

API_DOORS = (
    ("POST", r"/v1/predictions", "create", "_create_by_version"),
    ("POST", r"/v1/models/(?P<ref>[^/]+/[^/]+)/predictions", "create", "_create_by_model"),
    ("POST", r"/v1/deployments/(?P<ref>[^/]+/[^/]+)/predictions", "create", "_create_by_deployment"),
    ("GET", r"/v1/predictions", "list", "_list"),
    ("GET", r"/v1/predictions/(?P<prediction_id>[^/]+)", "get", "_get"),
    ("POST", r"/v1/predictions/(?P<prediction_id>[^/]+)/cancel", "cancel", "_cancel"),
    ("GET", r"/v1/streams/(?P<key>[^/]+)", "stream", "_stream"),
)


class Api(CatalogueDoors, FileDoors, WebhookDoors):
    doors = (*API_DOORS, *CATALOGUE_DOORS, *FILE_DOORS, *WEBHOOK_DOORS)

    def __init__(self, *, token: str, default: Script | Callable[[Any], Script]) -> None:
        super().__init__(token=token)
        self.default = default  # of creates that find the queue empty; may be made from the create's body
        self.stream_origin: str | None = None  # of `urls.stream`; None: where the create came to
        self.stream_idle_limit = STREAM_IDLE_LIMIT
        self._scripts: deque[Script] = deque()
        self._predictions: dict[str, Prediction] = {}
        self._streams: dict[str, Prediction] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}

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
        deployment = self.catalogue.deployments.get(ref)
        if deployment is None:
            raise Refused(NOT_FOUND)
        return await self._create(call, body, deployment.target)

    def _read_create(self, call: Call, *, required: tuple[str, ...]) -> dict[str, Any]:
        """Return the body; it must have the keys of the OpenAPI document and no others."""
        known = {*required, "stream", "webhook", "webhook_events_filter"}
        try:
            body = call.json()
        except ValueError:
            raise Refused(Answer(400, {"detail": "JSON parse error", "status": 400})) from None
        if not isinstance(body, dict) or not isinstance(body.get("input", {}), dict):
            raise Refused(invalid(Flaw("invalid_type", "input", "Invalid type. Expected: object")))
        flaws = [Flaw("required", "(root)", f"{key} is required") for key in required if key not in body]
        flaws += [
            Flaw("additional_property_not_allowed", "(root)", f"Additional property {key} is not allowed")
            for key in body
            if key not in known
        ]
        if flaws := flaws + webhook_flaws(body):
            raise Refused(invalid(*flaws))
        return body

    async def _create(self, call: Call, body: dict[str, Any], target: Target) -> Reply:
        if flaws := input_flaws(target.version.openapi_schema, body["input"]):
            raise Refused(invalid(*flaws))
        lifetime = _parse_cancel_after(call.headers.get("cancel-after"))
        script = self._next_script(body)
        fault = script.on_create
        if fault and not fault.handled:
            return spoil(fault, NO_REPLY)
        prediction = self._begin(call, script, target, lifetime)
        place = self._place(call)
        reply = json_reply(201, prediction.as_created(*place))
        if wait := re.fullmatch(r"wait(?:=(\d+))?", call.headers.get("prefer", "")):
            await _wait_at_most(int(wait[1] or WAIT_DEFAULT), prediction.ended)
            reply = json_reply(201, prediction.as_waited_for(*place), {"preference-applied": wait[0]})
        return spoil(fault, reply)

    def _next_script(self, body: dict[str, Any]) -> Script:
        if self._scripts:
            return self._scripts.popleft()
        return self.default if isinstance(self.default, Script) else self.default(body)

    def _begin(self, call: Call, script: Script, target: Target, lifetime: timedelta | None) -> Prediction:
        created = Created(random_id(26), call)
        place = self._place(call)

        def announce(prediction: Prediction, event: str) -> None:
            self._announce(prediction.id, event, lambda: prediction.as_json(*place))

        prediction = Prediction(script, target, created, self.ledger, lifetime=lifetime, announce=announce)
        self._subscribe(created, is_held=script.webhooks == "held")
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
        reply = json_reply(200, prediction.as_json(*self._place(call)))
        return spoil(next_fault(prediction.faults["get"]), reply)

    async def _cancel(self, call: Call, prediction_id: str) -> Reply:
        """Cancel; one that has ended is answered as it is (a guess: nobody has recorded that answer)."""
        prediction = self._find(prediction_id)
        with self.ledger.writing():
            prediction.record.cancels += 1
        fault = next_fault(prediction.faults["cancel"])
        if fault and not fault.handled:
            return spoil(fault, NO_REPLY)
        if not prediction.script.ignores_cancel:
            self._end(prediction, "canceled")
        return spoil(fault, json_reply(200, prediction.as_canceled(*self._place(call))))

    async def _list(self, call: Call) -> Reply:
        """List the newest first."""
        query = dict(parse_qsl(call.query))
        after, before = _parse_time(query.get("created_after")), _parse_time(query.get("created_before"))
        rows = {
            prediction.id: prediction
            for prediction in reversed(self._predictions.values())
            if (after is None or prediction.created_at >= after)
            and (before is None or prediction.created_at < before)
            and "source" not in query  # the only value is `web`, and nothing here was made on the web site
        }
        place = self._place(call)
        return self._page(call, rows, lambda prediction: prediction.as_json(*place))

    async def _stream(self, call: Call, key: str) -> Reply:
        prediction = self._streams.get(key)
        if prediction is None or prediction.data_removed:
            raise Refused(NOT_FOUND)
        read = StreamRead(call)
        with self.ledger.writing():
            prediction.record.streams.append(read)
        events = prediction.read_stream(read, idle_limit=self.stream_idle_limit)
        reply = Reply(200, events, {"content-type": "text/event-stream", "cache-control": "no-cache"}, read=read)
        return spoil(next_fault(prediction.faults["stream"]), reply)

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
        origin = origin_of(call)
        return f"{origin}/v1", self.stream_origin or origin


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
