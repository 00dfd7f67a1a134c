"""Cog servers: one model each, usually one slot.

What had to be found out by trying (coglet 0.23.1):

- There is no GET. `PUT /predictions/{id}` with an input that cannot be valid (`[]`) shows or attaches to a running
  prediction, and answers 422 once it is over: it never starts a new one.
- An ended prediction is forgotten at once. So the answer must be listened to while it runs: by event stream, or,
  where the server cannot stream (406), on the very request that made it.
- A prediction ends when the request that made it, or the last reader of the stream that made it, goes away. So streams
  are attached to predictions that were created with `Prefer: respond-async`.
- Nothing is billed. What a server forgot can be asked again.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from predictions.database import query
from predictions.events import (
    FAILED,
    PROCESSING,
    STARTING,
    TERMINAL,
    Completed,
    Event,
    Logs,
    Output,
    Snapshot,
    Started,
    clean,
    from_snapshot,
    merged,
)
from predictions.models import File, Model, Prediction
from predictions.models.catalogue import schema_digest
from predictions.outputs import FILE_KINDS, read_output, text_of
from predictions.providers.base import LOGS_LIMIT, Description, Sent, metrics_of
from predictions.providers.errors import (
    AnswerLost,
    NotTaken,
    PredictionGone,
    ProviderBusy,
    ProviderRefused,
    ProviderUnavailable,
    StreamInterrupted,
)
from predictions.providers.http import Answer, Download, HostClient, Permit
from predictions.providers.sse import EventStreamParser, NotAnEventStream, ServerSentEvent
from predictions.schema import OutputKind

ERROR_WRAPPING = re.compile(r"^(Prediction failed: )?(Generator iteration error: )?([\w.]*(Error|Exception): )?")
HARMLESS: dict[str, list[str]] = {"input": []}  # shows what runs, starts nothing
LONGEST_RUN = 3600.0  # seconds that a server which cannot stream may keep silent while it works
APPEARANCE = 0.05  # seconds between looks for a prediction that was just asked for
DESCRIPTION_LENGTH = 2_000  # characters that are kept of what a server says of itself
DATA_URI_LIMIT = 70_000_000  # bytes of a file; the server takes requests of 100 MiB, and base64 adds a third
BUSY_PAUSE = 0.3  # seconds; a server is also busy for a moment after it has finished
STARTING_PAUSE = 0.5  # seconds


class CogProvider:
    """One Cog server."""

    chooses_our_ids = True
    poll_pauses = (0.25, 1.0)

    def __init__(self, client: HostClient) -> None:
        self._client = client
        self._held: dict[str, asyncio.Task[Answer]] = {}  # requests whose end is the prediction's end

    def new_id(self, prediction: Prediction) -> str:
        return f"{prediction.pk.hex}-{prediction.attempts + 1}"

    def reference(self, prediction: Prediction) -> str:
        return prediction.model.ref

    async def create(self, prediction: Prediction, given: dict[str, Any], *, permit: Permit | None = None) -> Snapshot:
        if permit is not None:
            await permit()  # a moment later it may be wrong; but asked twice under one id, a server answers once
        if _streams(prediction):
            answer = await self._ask(prediction, given, {"Prefer": "respond-async"})
            return _snapshot(prediction, answer)
        return await self._create_held(prediction, given)

    async def find(self, prediction: Prediction, given: dict[str, Any]) -> Snapshot | None:
        raise AssertionError("a Cog server is asked under an id of ours, which is never lost")

    async def stream(self, prediction: Prediction) -> AsyncIterator[Event]:
        if not _streams(prediction):
            raise StreamInterrupted("This server cannot stream.")
        path = f"/predictions/{prediction.provider_id}"
        async with self._client.stream("PUT", path, body=HARMLESS) as response:
            if response.status == 422:
                raise PredictionGone(FORGOTTEN)
            if response.status != 200 or not response.is_event_stream:
                raise StreamInterrupted(f"The server answered {response.status} instead of an event stream.")
            reader = _EventReader(prediction)
            parser = EventStreamParser()
            async for chunk in response.chunks():
                try:
                    received = parser.feed(chunk)
                except NotAnEventStream as error:
                    raise StreamInterrupted(str(error)) from error
                for event in merged(event for sent in received for event in reader.read(sent)):
                    yield event
                    if isinstance(event, Completed):
                        return
        raise StreamInterrupted("The event stream ended before the prediction did.")

    async def poll(self, prediction: Prediction) -> Snapshot:
        held = self._held.get(prediction.provider_id)
        if held is None:
            return await self._look(prediction)
        if not held.done():
            try:
                return await self._look(prediction)
            except PredictionGone:  # it has just ended: its answer is on the way
                await asyncio.wait({held})
        return _snapshot(prediction, held.result())

    async def cancel(self, prediction: Prediction) -> None:
        await self._client.request("POST", f"/predictions/{prediction.provider_id}/cancel")

    async def send_file(self, file: File) -> Sent:
        """Write it into the input: a Cog server could not fetch it from here."""
        if file.size > DATA_URI_LIMIT:
            raise ProviderRefused(f"{file.name} is too large for a Cog server, which takes {DATA_URI_LIMIT:,} bytes.")
        return Sent(await query(file.as_data_uri))

    def download(self, address: str) -> AbstractAsyncContextManager[Download]:
        return self._client.download(address)

    async def describe(self, model: Model, *, version: str = "", known_as: str = "") -> Description:
        answer = await self._client.request("GET", "/openapi.json")
        if answer.status == 503:  # a server without a schema: it takes anything, says nothing
            return Description(schema_digest({}), {})
        if answer.status != 200 or not isinstance(answer.json, dict):
            raise ProviderUnavailable(f"{model.provider} answered {answer.status} when asked for its schema.")
        identifier = schema_digest(answer.json)
        if version not in {"", identifier}:
            raise ProviderRefused("This server runs another version by now.")
        return Description(identifier, answer.json, description=_description_in(answer.json))

    async def versions(self, model: Model, *, known: Container[str], limit: int) -> list[Description]:
        return []  # a server runs one

    async def webhook_secret(self) -> str:
        return ""

    async def let_go(self, prediction: Prediction) -> None:
        held = self._held.pop(prediction.provider_id, None)
        if held is not None:
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)

    async def close(self) -> None:
        await self._client.close()

    async def _create_held(self, prediction: Prediction, given: dict[str, Any]) -> Snapshot:
        """Ask, and keep the request open: its answer is the only place where the end can be read."""
        key = prediction.provider_id
        held = self._held[key] = asyncio.create_task(self._ask(prediction, given, {}, wait=LONGEST_RUN))
        try:
            while not held.done():
                await asyncio.wait({held}, timeout=APPEARANCE)
                try:
                    return await self._look(prediction)
                except (PredictionGone, NotTaken, AnswerLost):
                    continue  # not taken yet, or over already
            return _snapshot(prediction, held.result())
        except BaseException:
            await self.let_go(prediction)
            raise

    async def _look(self, prediction: Prediction) -> Snapshot:
        path = f"/predictions/{prediction.provider_id}"
        answer = await self._client.request("PUT", path, body=HARMLESS, headers={"Prefer": "respond-async"})
        if answer.status == 422:
            raise PredictionGone(FORGOTTEN)
        _raise_for(answer)
        return _snapshot(prediction, answer)

    async def _ask(
        self, prediction: Prediction, given: dict[str, Any], headers: Mapping[str, str], **options: Any
    ) -> Answer:
        path = f"/predictions/{prediction.provider_id}"
        body = {"input": given}
        answer = await self._client.request("PUT", path, body=body, headers=headers, **options)
        if answer.status == 503:  # the same words for "still starting" and "could not start"
            health = await self._client.request("GET", "/health-check")
            if isinstance(health.json, dict) and health.json.get("status") == "SETUP_FAILED":
                raise ProviderRefused("The model server could not start its model; its own log says why.")
        _raise_for(answer)
        return answer


FORGOTTEN = "The model server knows nothing of this answer any more; it was probably restarted."


class _EventReader:
    """Turns coglet's server-sent events into ours; keeps count of the text's offset."""

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        self._separator = prediction.separator
        self._offset = 0
        self._logs = ""

    def read(self, sent: ServerSentEvent) -> list[Event]:
        try:
            data = json.loads(sent.data)
        except ValueError as error:
            raise StreamInterrupted("The server's event stream holds something other than JSON.") from error
        if not isinstance(data, dict):
            raise StreamInterrupted("The server's event stream holds something unexpected.")
        match sent.event:
            case "start":
                return [Started()]
            case "output":
                return [self._output(data)]
            case "log":
                if len(self._logs) < LOGS_LIMIT:
                    self._logs += clean(str(data.get("data", "")))
                return [Logs(self._logs)]
            case "completed":
                return _completed(self._prediction, data)
            case "error":  # the server could not keep up with its own history
                raise StreamInterrupted(str(data.get("error", "")))
            case _:
                return []

    def _output(self, data: dict[str, Any]) -> Output:
        text = text_of(data.get("chunk"), self._separator) or ""
        if data.get("index"):
            text = self._separator + text
        event = Output(text, self._offset)
        self._offset += len(text)
        return event


def _streams(prediction: Prediction) -> bool:
    # Files come as data URIs, which would be lines of many megabytes: they are waited for in one piece.
    version = prediction.version
    return version is not None and version.can_stream and version.output_kind not in {*FILE_KINDS, OutputKind.JSON}


def _completed(prediction: Prediction, data: dict[str, Any]) -> list[Event]:
    snapshot = _snapshot_of(prediction, data)
    return from_snapshot(snapshot if snapshot.status in TERMINAL else replace(snapshot, status=FAILED))


def _description_in(document: dict[str, Any]) -> str:
    info = document.get("info")
    text = info.get("description") if isinstance(info, dict) else None
    return clean(text)[:DESCRIPTION_LENGTH] if isinstance(text, str) else ""


def _snapshot(prediction: Prediction, answer: Answer) -> Snapshot:
    if not isinstance(answer.json, dict):
        raise AnswerLost("The model server answered with something other than JSON.")
    return _snapshot_of(prediction, answer.json)


def _snapshot_of(prediction: Prediction, data: dict[str, Any]) -> Snapshot:
    status = data.get("status", PROCESSING)
    text, files = read_output(
        data.get("output"), prediction.output_kind, separator=prediction.separator, is_file=lambda address: False
    )
    return Snapshot(
        provider_id=prediction.provider_id,
        status=status if status in TERMINAL or status == STARTING else PROCESSING,
        output=text,
        files=files,
        error=_model_error(str(data.get("error") or "")),
        logs=clean(str(data.get("logs") or "")),
        metrics=metrics_of(data.get("metrics")),
    )


def _model_error(error: str) -> str:
    """Keep of an error what the model's author wrote: `Prediction failed: …: ValueError: too long` is `too long`."""
    return clean(ERROR_WRAPPING.sub("", error))


def _raise_for(answer: Answer) -> None:
    match answer.status:
        case 200 | 201 | 202:
            return
        case 409:
            raise ProviderBusy("The model is answering somebody else.", retry_after=BUSY_PAUSE)
        case 503:
            raise ProviderBusy("The model is still starting.", retry_after=STARTING_PAUSE)
        case 422:
            raise ProviderRefused(f"The model does not take this input: {_input_errors(answer.json)}")
        case status if status >= 500:
            raise AnswerLost(f"The model server answered with error {status}.")
        case status:
            raise ProviderRefused(f"The model server refused the question (error {status}).")


def _input_errors(body: Any) -> str:
    """Tell a 422 in words: `{"detail": [{"loc": ["body", "input", "prompt"], "msg": "Field required"}]}`."""
    details = body.get("detail") if isinstance(body, dict) else None
    if not isinstance(details, list):
        return "it gave no reason."
    reasons = []
    for detail in details:
        if isinstance(detail, dict):
            place = detail.get("loc") or ["input"]
            reasons.append(f"{place[-1]}: {detail.get('msg', 'is not valid')}")
    return clean("; ".join(reasons))
