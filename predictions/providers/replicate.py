"""Replicate's predictions API.

Its facts that shape this module: there is no idempotency key, so a create is never repeated unless it was surely not
taken; `urls.stream` is an opaque address and itself the right to read; a stream that ends without `done` is a
truncation; after `done` the GET decides; an unknown status means "not finished".
"""

import json
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from django.utils.dateparse import parse_datetime

from predictions.database import query
from predictions.events import FAILED, TERMINAL, Event, Logs, Output, Snapshot, Started, clean, from_snapshot
from predictions.models import Model, Prediction
from predictions.providers.base import VersionDescription, metrics_of, text_of
from predictions.providers.errors import (
    AnswerLost,
    PredictionGone,
    ProviderBusy,
    ProviderRefused,
    ProviderUnavailable,
    StreamInterrupted,
)
from predictions.providers.http import AddressRefused, Answer, HostClient
from predictions.providers.sse import EventStreamParser, NotAnEventStream, ServerSentEvent

logger = logging.getLogger(__name__)

CONNECTIONS = 20  # to one prediction's stream, each of which must bring something new
EVENTS_REMEMBERED = 4_096  # whose repetition is noticed
CANCEL_AFTER = "30m"  # the longest life of a prediction nobody looks after; Replicate's own limit
LONGEST_WAIT = 60.0  # seconds that a 429 may make us wait
CLOCK_SKEW = timedelta(minutes=1)  # how far this machine's clock may be from Replicate's
PAGES_LOOKED_THROUGH = 5  # of a hundred predictions each
ID_LENGTH = 200  # characters; 26 in all recordings
VERSION_ID = re.compile(r"[0-9a-f]{64}")


class ReplicateProvider:
    """One account at Replicate."""

    chooses_our_ids = False
    poll_pauses = (1.0, 5.0)
    patience = 1800.0

    def __init__(self, client: HostClient) -> None:
        self._client = client

    def new_id(self, prediction: Prediction) -> str:
        return ""

    async def create(self, prediction: Prediction) -> Snapshot:
        path = "/predictions"
        body: dict[str, Any] = {"input": prediction.input}
        identifier = prediction.version.identifier if prediction.version else ""
        if prediction.model.is_official or not VERSION_ID.fullmatch(identifier):
            path = f"/models/{prediction.model.ref}/predictions"
        else:
            body["version"] = identifier
        answer = await self._client.request("POST", path, body=body, headers={"Cancel-After": CANCEL_AFTER})
        if answer.status >= 500:
            raise AnswerLost(f"Replicate answered with error {answer.status}.")
        _raise_for(answer)
        return _snapshot(prediction, answer.json)

    async def find(self, prediction: Prediction) -> Snapshot | None:
        """Look through the account's list, newest first, for one with the same input that is nobody's yet."""
        assert prediction.asked_at is not None  # noqa: S101 - it was asked, that is why it is looked for
        since = prediction.asked_at - CLOCK_SKEW
        path = f"/predictions?created_after={quote(since.isoformat())}"
        for _ in range(PAGES_LOOKED_THROUGH):
            answer = await self._client.request("GET", path)
            _raise_for(answer)
            page = answer.json if isinstance(answer.json, dict) else {}
            candidates = [row for row in page.get("results") or [] if _may_be(prediction, row, since)]
            known = await query(_known_ids, [row["id"] for row in candidates])
            for row in candidates:
                if row["id"] not in known:
                    return _snapshot(prediction, row)
            if not page.get("next"):
                return None
            path = str(page["next"])
        raise AnswerLost("Replicate's list of predictions is too long to look through.")

    async def stream(self, prediction: Prediction) -> AsyncIterator[Event]:
        url = prediction.urls.get("stream")
        if not url:
            raise StreamInterrupted("There is no event stream for this model.")
        reader = _EventReader()
        if prediction.transcript.end:  # the beginning was read by another worker
            reader.known = (await self._look(prediction)).output or ""
        for _ in range(CONNECTIONS):
            began_at = reader.offset
            async with aclosing(self._read_stream(url, reader)) as events:
                async for event in events:
                    yield event
            # After `done` as after a truncation: the prediction itself says how it stands.
            snapshot = await self._look(prediction)
            for event in from_snapshot(snapshot):
                yield event
            if reader.is_done or snapshot.status in TERMINAL:
                return
            if reader.offset == began_at:
                break
            reader.known = snapshot.output or ""
        raise StreamInterrupted("The event stream broke off.")

    async def _read_stream(self, url: str, reader: "_EventReader") -> AsyncGenerator[Event, None]:
        """Yield the events of one connection, from where the last one broke off; return when it ends or breaks."""
        headers = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
        reader.note_connection()
        try:
            async with self._client.stream("GET", url, headers=headers) as response:
                if response.status != 200 or not response.is_event_stream:
                    return
                parser = EventStreamParser()
                async for chunk in response.chunks():
                    for sent in parser.feed(chunk):
                        for event in reader.read(sent):
                            yield event
                    if reader.is_done:
                        return
        except (NotAnEventStream, AddressRefused, StreamInterrupted) as error:
            logger.info("A stream of %s ended early: %s", urlsplit(url).hostname, error)

    async def _look(self, prediction: Prediction) -> Snapshot:
        try:
            return await self.poll(prediction)
        except PredictionGone as error:  # a new prediction is not known everywhere at once: the poll is patient
            raise StreamInterrupted(str(error)) from error

    async def poll(self, prediction: Prediction) -> Snapshot:
        answer = await self._client.request("GET", f"/predictions/{prediction.provider_id}")
        if answer.status == 404:
            raise PredictionGone("Replicate knows nothing of this prediction.")
        _raise_for(answer)
        return _snapshot(prediction, answer.json)

    async def cancel(self, prediction: Prediction) -> None:
        _raise_for(await self._client.request("POST", f"/predictions/{prediction.provider_id}/cancel"))

    async def describe(self, model: Model) -> VersionDescription:
        answer = await self._client.request("GET", f"/models/{model.ref}")
        _raise_for(answer)
        data = answer.json if isinstance(answer.json, dict) else {}
        latest = data.get("latest_version") or {}
        return VersionDescription(
            identifier=str(latest.get("id", "")),
            openapi_schema=latest.get("openapi_schema") or {},
            is_official=bool(data.get("is_official")) or not latest,
            description=clean(str(data.get("description") or "")),
        )

    async def let_go(self, prediction: Prediction) -> None:
        pass

    async def close(self) -> None:
        await self._client.close()


class _EventReader:
    """Turns Replicate's server-sent events into ours, over several connections; keeps count of the text's offset.

    After a reconnect the host may go on where it was, repeat some events or all, or leave some out. Repeated events are
    known by their ids. `known` is what a snapshot says the text begins with: a stream that says otherwise is left.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.offset = 0
        self.last_id = ""
        self.known = ""
        self._offsets: OrderedDict[str, int] = OrderedDict()  # where the text of the latest events began
        self._previous_id: str | None = None
        self._logs = ""

    def note_connection(self) -> None:
        self._previous_id = None

    def read(self, sent: ServerSentEvent) -> list[Event]:
        """Return what `sent` means; raise StreamInterrupted if it is not of this text."""
        match sent.event:
            case "output":
                return [self._output(sent)]
            case "logs":
                self._logs += clean(sent.data)
                return [Logs(self._logs)]
            case "done":
                self.is_done = True
                return []
            case _:  # `error` is followed by `done`, and the prediction itself says what went wrong
                return []

    def _output(self, sent: ServerSentEvent) -> Event:
        text = clean(sent.data)
        offset = self._find_offset(sent.id)
        if not text.startswith(self.known[offset : offset + len(text)]):
            raise StreamInterrupted("the stream does not fit what the prediction itself says")
        self.offset = max(self.offset, offset + len(text))
        if self.offset >= len(self.known):
            self.known = ""
        return Output(text, offset) if text else Started()

    def _find_offset(self, event_id: str) -> int:
        # An event without an id carries the one before it.
        has_own_id = event_id not in ("", self._previous_id)
        self._previous_id = event_id
        if not has_own_id:
            return self.offset
        self.last_id = event_id
        offset = self._offsets.setdefault(event_id, self.offset)
        if len(self._offsets) > EVENTS_REMEMBERED:
            self._offsets.popitem(last=False)
        return offset


def _snapshot(prediction: Prediction, data: Any) -> Snapshot:
    """Read a prediction object; keys may be missing, `output` above all."""
    if not isinstance(data, dict) or not _is_id(data.get("id")):
        raise AnswerLost("Replicate answered with something other than a prediction.")
    urls = data["urls"] if isinstance(data.get("urls"), dict) else {}
    status = str(data.get("status"))
    removed = bool(data.get("data_removed"))
    return Snapshot(
        provider_id=data["id"],
        status=status,
        output=None if removed else text_of(data.get("output"), _separator(prediction)),
        error=_model_error(data.get("error"), status),
        logs=clean(str(data.get("logs") or "")),
        metrics=metrics_of(data.get("metrics")),
        version=clean(str(data.get("version") or ""))[:ID_LENGTH],
        urls={name: clean(urls[name]) for name in ("get", "cancel", "stream") if isinstance(urls.get(name), str)},
    )


def _may_be(prediction: Prediction, row: Any, since: datetime) -> bool:
    """Whether a row of the list may be what was asked for: the same input, not older than the asking."""
    if not isinstance(row, dict) or not _is_id(row.get("id")) or row.get("input") != prediction.input:
        return False
    created_at = parse_datetime(str(row.get("created_at")))
    return created_at is None or created_at >= since


def _known_ids(ids: list[str]) -> set[str]:
    return set(Prediction.objects.filter(provider_id__in=ids).values_list("provider_id", flat=True))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= ID_LENGTH


def _separator(prediction: Prediction) -> str:
    return prediction.version.separator if prediction.version else ""


def _model_error(error: Any, status: str) -> str:
    if error:
        return clean(error if isinstance(error, str) else json.dumps(error))
    return "The model failed without giving a reason." if status == FAILED else ""


def _raise_for(answer: Answer) -> None:
    """Turn an error status into an error in people's words, with what to do."""
    detail = _detail(answer.json)
    match answer.status:
        case 200 | 201 | 202:
            return
        case 401 | 403:
            raise ProviderRefused(
                "Replicate does not accept this site's API token. Whoever hosts Parley must set REPLICATE_API_TOKEN."
            )
        case 402:
            raise ProviderRefused("The Replicate account has no credit left. Whoever hosts Parley must add some.")
        case 404:
            raise ProviderRefused(f"Replicate does not know this model, or not any more. {detail}".strip())
        case 422:
            raise ProviderRefused(f"Replicate does not accept this input: {detail or 'it gave no reason.'}")
        case 429:
            wait = _retry_after(answer)
            raise ProviderBusy("Replicate's rate limit is reached.", retry_after=wait)
        case status if status >= 500:
            raise ProviderUnavailable(f"Replicate has trouble (error {status}).", retry_after=2.0)
        case status:
            raise ProviderRefused(f"Replicate refused the question (error {status}). {detail}".strip())


def _detail(body: Any) -> str:
    detail = body.get("detail") if isinstance(body, dict) else None
    return clean(detail.strip()) if isinstance(detail, str) else ""


def _retry_after(answer: Answer) -> float:
    """Find how many seconds to wait: in the body, a header, or only in the sentence."""
    body: Mapping[str, Any] = answer.json if isinstance(answer.json, dict) else {}
    sentence = re.search(r"resets in ~?(\d+(?:\.\d+)?)\s*s", _detail(body))
    told = (
        body.get("retry_after"),
        answer.headers.get("retry-after"),
        answer.headers.get("ratelimit-reset"),
        sentence and sentence[1],
    )
    for value in told:
        try:
            return min(max(float(value), 0.5), LONGEST_WAIT)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return 5.0
