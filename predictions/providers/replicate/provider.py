"""Replicate as a provider.

Its facts that shape this module: there is no idempotency key, so a create is never repeated unless it was surely not
taken; `urls.stream` is an opaque address and itself the right to read; a stream that ends without `done` is a
truncation; after `done` the GET decides; an unknown status means "not finished".
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Container
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from predictions import webhooks
from predictions.budget import ReadBudget
from predictions.database import insist, query
from predictions.events import TERMINAL, Event, Snapshot, from_snapshot, merged
from predictions.models import Condition, File, Model, Prediction
from predictions.outputs import FILE_KINDS
from predictions.providers.base import Description, Sent
from predictions.providers.errors import AddressRefused, AnswerLost, PredictionGone, StreamInterrupted
from predictions.providers.http import Answer, Download, HostClient, Permit
from predictions.providers.replicate.catalogue import ReplicateCatalogue, reference_of
from predictions.providers.replicate.reading import is_id, snapshot_of
from predictions.providers.replicate.stream import EventReader
from predictions.providers.replicate.words import raise_for
from predictions.providers.sse import EventStreamParser, NotAnEventStream
from predictions.references import Reference
from predictions.schema import OutputKind

logger = logging.getLogger(__name__)

CONNECTIONS = 20  # to one prediction's stream, each of which must bring something new
SILENT_CONNECTIONS = 60  # further ones, that a model which boots or thinks lets go silent
SILENCE = 5.0  # seconds that a connection without news must have lasted to count as silent, not as refused
LAGS = (0.0, 0.5, 1.0)  # seconds before each look for what a stream has told already
CANCEL_AFTER = "30m"  # the longest life of a prediction nobody looks after; Replicate's own limit
CLOCK_SKEW = timedelta(minutes=1)  # how far this machine's clock may be from Replicate's
PAGES_LOOKED_THROUGH = 5  # of a hundred predictions each
DATA_URI_LIMIT = 256_000  # bytes of a file that is sent within the input; larger ones are uploaded first
UPLOAD_LIFE = timedelta(minutes=50)  # an uploaded file is kept for an hour, says one source, and for a day, another
NO_STREAM_KINDS = FILE_KINDS | {OutputKind.TEXTS, OutputKind.JSON}


class ReplicateProvider:
    """One account at Replicate."""

    chooses_our_ids = False
    poll_pauses = (1.0, 5.0)

    def __init__(self, client: HostClient, reads: ReadBudget) -> None:
        self._client = client
        self.catalogue = ReplicateCatalogue(client, reads)

    def new_id(self, prediction: Prediction) -> str:
        return ""

    def reference(self, prediction: Prediction) -> str:
        return str(_target(prediction))

    async def create(self, prediction: Prediction, given: dict[str, Any], *, permit: Permit | None = None) -> Snapshot:
        target = _target(prediction)
        body: dict[str, Any] = {"input": given}
        if target.is_deployment:
            path = f"/deployments/{target.path}/predictions"
        elif target.version:
            path = "/predictions"
            body["version"] = target.version
        else:
            path = f"/models/{target.path}/predictions"
        if address := webhooks.address_for(prediction):
            body |= {"webhook": address, "webhook_events_filter": ["start", "completed"]}
        headers = {"Cancel-After": CANCEL_AFTER}
        answer = await self._client.request("POST", path, body=body, headers=headers, permit=permit)
        if answer.status >= 500:
            raise AnswerLost(f"Replicate answered with error {answer.status}.")
        raise_for(answer)
        return self._snapshot(prediction, answer)

    async def find(self, prediction: Prediction, given: dict[str, Any]) -> Snapshot | None:
        """Look where a webhook pointed, then through the account's list for one of our making that is nobody's yet."""
        if prediction.hinted_id:
            answer = await self._get_prediction(prediction.hinted_id)
            if answer.status != 404:
                raise_for(answer)
                return self._snapshot(prediction, answer)
        assert prediction.asked_at is not None  # noqa: S101 - it was asked, that is why it is looked for
        since = prediction.asked_at - CLOCK_SKEW
        path = f"/predictions?created_after={quote(since.isoformat())}"
        for _ in range(PAGES_LOOKED_THROUGH):
            page, following = await self.catalogue.page(path)
            rows = {row["id"]: row for row in page if _may_be(prediction, given, row, since)}
            is_certain = any(row.get("webhook") for row in rows.values())
            found = await insist(_adopt_one, prediction, list(rows)[::-1], is_certain=is_certain)
            if found:
                return snapshot_of(prediction, rows[found], is_file=self._client.may_hold_files)
            if following is None:
                return None
            path = following
        raise AnswerLost("Replicate's list of predictions is too long to look through.")

    async def stream(self, prediction: Prediction) -> AsyncIterator[Event]:
        url = prediction.urls.get("stream", "")
        if not url or prediction.output_kind in NO_STREAM_KINDS or urlsplit(url).path.startswith("/v1/files/"):
            raise StreamInterrupted("There is no stream of text.")
        reader = EventReader()
        if prediction.transcript.end:  # the beginning was read by another worker
            reader.known = (await self._look(prediction)).output or ""
        connections, silent_connections = CONNECTIONS, SILENT_CONNECTIONS
        while connections and silent_connections:
            began, began_at = asyncio.get_running_loop().time(), reader.offset
            async with aclosing(self._read_stream(prediction, reader)) as events:
                async for event in events:
                    yield event
            # After `done` as after a truncation: the prediction itself says how it stands.
            snapshot = await self._look(prediction)
            for event in from_snapshot(snapshot):
                yield event
            if reader.is_done or snapshot.status in TERMINAL:
                return
            was_silent = asyncio.get_running_loop().time() - began > SILENCE
            if reader.offset > began_at:
                connections -= 1
            elif was_silent:
                silent_connections -= 1
            else:
                break
            reader.known = snapshot.output or ""
        raise StreamInterrupted("The event stream broke off.")

    async def _read_stream(self, prediction: Prediction, reader: EventReader) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection, from where the last one broke off; return when it ends or breaks."""
        url = prediction.urls["stream"]
        headers = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
        reader.note_connection()
        try:
            async with self._client.stream("GET", url, headers=headers) as response:
                if response.status != 200 or not response.is_event_stream:
                    return
                parser = EventStreamParser()
                async for chunk in response.chunks():
                    sent = parser.feed(chunk)
                    if reader.is_unsure(sent):
                        reader.known = await self._text_beyond(prediction, reader.offset)
                    for event in merged(event for one in sent for event in reader.read(one)):
                        yield event
                    if reader.is_done:
                        return
        except (NotAnEventStream, AddressRefused, StreamInterrupted) as error:
            logger.info("A stream of %s ended early: %s", urlsplit(url).hostname, error)

    async def _text_beyond(self, prediction: Prediction, offset: int) -> str:
        """Return the text as the prediction itself has it, which may lag behind its stream, or tell nothing yet."""
        text = ""
        for pause in LAGS:
            await asyncio.sleep(pause)
            text = (await self._look(prediction)).output or ""
            if not text or len(text) > offset:
                break
        return text

    async def _look(self, prediction: Prediction) -> Snapshot:
        try:
            return await self.poll(prediction)
        except PredictionGone as error:  # a new prediction is not known everywhere at once: the poll is patient
            raise StreamInterrupted(str(error)) from error

    async def poll(self, prediction: Prediction) -> Snapshot:
        answer = await self._get_prediction(prediction.provider_id)
        if answer.status == 404:
            raise PredictionGone("Replicate knows nothing of this prediction.")
        raise_for(answer)
        return self._snapshot(prediction, answer)

    async def cancel(self, prediction: Prediction) -> None:
        path = f"/predictions/{quote(prediction.provider_id, safe='')}/cancel"
        raise_for(await self._client.request("POST", path))

    async def send_file(self, file: File) -> Sent:
        if file.size <= DATA_URI_LIMIT:
            return Sent(await query(file.as_data_uri))
        with await query(file.content.open) as content:
            answer = await self._client.upload("/files", content, name=file.name, media_type=file.media_type)
        raise_for(answer)
        urls = answer.json.get("urls") if isinstance(answer.json, dict) else None
        address = urls.get("get") if isinstance(urls, dict) else None
        if not isinstance(address, str):
            raise AnswerLost("Replicate did not say where it put the file.")
        return Sent(address, timezone.now() + UPLOAD_LIFE)

    def download(self, address: str) -> AbstractAsyncContextManager[Download]:
        return self._client.download(address)

    async def describe(self, model: Model, *, version: str = "", known_as: str = "") -> Description:
        return await self.catalogue.describe(reference_of(model.ref), version=version, known_as=known_as)

    async def versions(self, model: Model, *, known: Container[str], limit: int) -> list[Description]:
        return await self.catalogue.versions_of(reference_of(model.ref), known=known, limit=limit)

    async def webhook_secret(self) -> str:
        return await self.catalogue.webhook_secret()

    async def let_go(self, prediction: Prediction) -> None:
        pass

    async def close(self) -> None:
        await self._client.close()

    async def _get_prediction(self, provider_id: str) -> Answer:
        return await self.catalogue.get(f"/predictions/{quote(provider_id, safe='')}")

    def _snapshot(self, prediction: Prediction, answer: Answer) -> Snapshot:
        return snapshot_of(prediction, answer.json, is_file=self._client.may_hold_files)


def _target(prediction: Prediction) -> Reference:
    """Return what to ask for: official models by name, deployments by theirs, all others by a version."""
    model = reference_of(prediction.model.ref)
    if prediction.model.is_official or model.is_deployment or prediction.version is None:
        return model
    return Reference(model.owner, model.name, version=prediction.version.identifier)


def _may_be(prediction: Prediction, given: dict[str, Any], row: dict[str, Any], since: datetime) -> bool:
    """Whether a row of the list may be what was asked for: our webhook, or the same input and not older."""
    if not is_id(row.get("id")):
        return False
    if row.get("webhook"):
        return bool(row["webhook"] == webhooks.address_for(prediction))
    created_at = parse_datetime(str(row.get("created_at")))
    return row.get("input") == given and (created_at is None or created_at >= since)


@transaction.atomic
def _adopt_one(prediction: Prediction, ids: list[str], *, is_certain: bool) -> str:
    """Make the first of `ids` that is nobody's yet the one of `prediction`; "" if there is none.

    Raises AnswerLost where it may yet turn out to be another's, who has asked the same and is still waiting.
    """
    # Two that lost their creates of the same input at the same time must not both take the same one.
    Condition.objects.lock(prediction.model.provider)
    others = Prediction.objects.exclude(pk=prediction.pk)
    taken = set(others.filter(provider_id__in=ids).values_list("provider_id", flat=True))
    free = next((key for key in ids if key not in taken), "")
    if free and not is_certain:
        waiting = others.active().exclude(asked_at=None).filter(provider_id="", lost_at=None)
        if prediction.input in waiting.values_list("input", flat=True):
            raise AnswerLost("Somebody else is asking the same at this moment.")
    if free:
        Prediction.objects.filter(pk=prediction.pk).update(provider_id=free)
    return free
