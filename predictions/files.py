"""Files into our own storage: copied from hosts that delete them soon, or given by people."""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from os import SEEK_END
from typing import IO, Any

from django.conf import settings
from django.core.files import File as StoredContent
from django.db import IntegrityError, transaction
from django.utils import timezone

from predictions import clock, metrics
from predictions.database import AWAY, insist, query
from predictions.events import clean
from predictions.file_types import HEAD_LENGTH, media_type_of
from predictions.models import File, Prediction, Upload
from predictions.models import Provider as ProviderRow
from predictions.models.file import NAME_LENGTH
from predictions.models.upload import MOST_UNSENT
from predictions.outputs import decode_data_uri, is_data_uri, name_of
from predictions.providers import Provider
from predictions.providers.errors import AddressRefused, AnswerLost, NotTaken
from predictions.providers.http import Download

logger = logging.getLogger(__name__)

PAUSES = (0.5, 2.0, 0.0)  # seconds after each try to copy a file
COPY_TIME = 300.0  # seconds for one file, all tries together
IN_MEMORY = 1_048_576  # bytes of a file, before it waits on disk
READ_SIZE = 65_536  # bytes
RETRIES_AT_ONCE = 4  # files that one worker tries again side by side
PASSED_ON = ("name", "media_type", "size", "sha256", "content")  # fields of a file that is given once more

EXPIRED = "The file expired at the model’s host before it could be copied."
NOT_REACHED = "The file could not be copied: the model’s host did not send it."
NOT_STORED = "The file could not be stored here. Whoever hosts Parley should look at the disk."
NOT_ALLOWED = "The file is at an address that this site does not fetch from."
TOO_LARGE = "The file is larger than this site allows."
EMPTY = "This file is empty. Choose another one."
DAMAGED = "The file arrived damaged."

Opener = Callable[[str], AbstractAsyncContextManager[Download]]


class FileLost(Exception):
    """A file cannot be had; the message is for people."""


class FileTooLarge(FileLost):
    """It is larger than any file may be here."""


class FileDelayed(FileLost):
    """It cannot be had now; another try may help."""


async def keep(prediction: Prediction, position: int, address: str, download: Opener) -> None:
    """Copy a file of the output into our storage, or note why there is none; one that is noted is left alone."""
    kept = prediction.files.outputs().filter(position=position)
    if await insist(kept.exists):
        return
    file = File(prediction=prediction, role=File.Role.OUTPUT, position=position, name=name_of(address, position))
    try:
        await _copy(address, download, partial(store, file))
    except FileLost as error:
        if isinstance(error, FileDelayed) and not is_data_uri(address):
            file.expect(address, at=clock.now())
        await insist(_note_loss, file, str(error))
    else:
        metrics.FILES.labels(outcome="kept").inc()


async def retry(connect: Callable[[ProviderRow], Provider]) -> None:
    """Copy a few files again whose copying failed for a reason that may have passed."""
    due = await query(File.objects.claim_retries, clock.now(), limit=RETRIES_AT_ONCE)
    retries = (_retry(file, connect(file.prediction.model.provider)) for file in due)
    for outcome in await asyncio.gather(*retries, return_exceptions=True):
        if outcome is not None:
            raise outcome  # the claim runs out by itself, and the file is tried again


async def _retry(file: File, provider: Provider) -> None:
    is_lost = False
    try:
        await _copy(file.provider_url, provider.download, partial(_store_late, file))
    except FileDelayed as error:
        is_lost = not await insist(file.note_retry_failed, str(error), at=clock.now())
    except FileLost as error:
        is_lost = await insist(file.note_retried, error=str(error))
    if is_lost:
        logger.warning("A file of prediction %s is lost for good.", file.prediction_id)
        metrics.FILES.labels(outcome="lost").inc()


async def _copy(address: str, download: Opener, write: Callable[[IO[bytes]], None]) -> None:
    """Fetch the file at `address` and `write` it; raise FileLost, or FileDelayed if another try may help."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
        try:
            async with asyncio.timeout(COPY_TIME):
                await _fetch(address, download, content)
            await insist(write, content)
        except TimeoutError as error:
            raise FileDelayed(NOT_REACHED) from error
        except OSError as error:
            logger.exception("A file cannot be stored.")
            raise FileDelayed(NOT_STORED) from error


def give(prediction: Prediction, position: int, name: str, content: IO[bytes]) -> File:
    """Store a person's file as an input of `prediction`; its `reference` stands for it there. Raises FileLost."""
    file = File(prediction=prediction, role=File.Role.INPUT, position=position, name=clean(name)[:NAME_LENGTH])
    if content.seek(0, SEEK_END) > settings.FILE_LIMIT:
        raise FileTooLarge(TOO_LARGE)
    store(file, content)
    return file


def take(owner: Any, name: str, pieces: Iterable[bytes]) -> Upload:  # owner: a User of whichever model is configured
    """Store a file that `owner` has picked for a question; raise FileLost."""
    upload = Upload(owner=owner, name=clean(name)[:NAME_LENGTH] or "file")
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
        for piece in pieces:
            _write(piece, content)
        if not content.tell():
            raise FileLost(EMPTY)
        try:
            _write_content(upload, content)
        except OSError as error:
            logger.exception("An upload cannot be stored.")
            raise FileDelayed(NOT_STORED) from error
    try:
        upload.save(force_insert=True)
    except BaseException:
        upload.content.delete(save=False)
        raise
    _forget_oldest(owner)
    return upload


def take_up(owner: Any, file: File) -> Upload:  # as for `take`
    """Have `file` go with a question that `owner` will send."""
    upload = Upload.objects.create(owner=owner, **{name: getattr(file, name) for name in PASSED_ON})
    _forget_oldest(owner)
    return upload


def _forget_oldest(owner: Any) -> None:  # as for `take`
    unsent = Upload.objects.filter(owner=owner)
    kept = unsent.order_by("-created_at").values_list("pk", flat=True)[:MOST_UNSENT]
    unsent.exclude(pk__in=list(kept)).delete()


def pass_on(sources: Iterable[File | Upload]) -> list[File]:
    """Make of what people gave the input files of a prediction to be: not saved, each with a `reference` of its own."""
    return [
        File(role=File.Role.INPUT, position=position, **{name: getattr(source, name) for name in PASSED_ON})
        for position, source in enumerate(sources)
    ]


def attach(prediction: Prediction, given: Iterable[File], sources: Iterable[File | Upload]) -> None:
    """Save the files that `pass_on` made of `sources` as those of `prediction`; uploads among these are used up."""
    for file in given:
        file.prediction = prediction
        file.save(force_insert=True)
    Upload.objects.filter(pk__in=[source.pk for source in sources if isinstance(source, Upload)]).delete()


def store(file: File, content: IO[bytes]) -> None:
    """Write `content` to the storage, and then the row: whoever sees it finds the content.

    Where the database was away, the row may be there all the same: the content stays for a second try.
    """
    if not file.content:
        _write_content(file, content)
    try:
        with transaction.atomic():
            file.save(force_insert=True)
    except IntegrityError:
        if not File.objects.filter(pk=file.pk).exists():  # another worker kept it
            file.content.delete(save=False)
    except AWAY:
        raise
    except BaseException:
        file.content.delete(save=False)
        raise


def _store_late(file: File, content: IO[bytes]) -> None:
    """Do as `store` does for a row that is there already, unless somebody else has changed it."""
    if not file.content:
        _write_content(file, content)
    written = {name: getattr(file, name) for name in ("content", "media_type", "size", "sha256")}
    if file.note_retried(error="", **written):
        metrics.FILES.labels(outcome="late").inc()
    elif not File.objects.filter(pk=file.pk, content=file.content.name).exists():
        file.content.delete(save=False)


def _write_content(file: File | Upload, content: IO[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    file.media_type = media_type_of(content.read(HEAD_LENGTH))
    content.seek(0)
    while chunk := content.read(READ_SIZE):
        digest.update(chunk)
        size += len(chunk)
    file.sha256, file.size = digest.hexdigest(), size
    content.seek(0)
    try:
        file.content.save(file.name, StoredContent(content), save=False)
    except OSError:
        # A full disk takes a part; nothing may be left of it, for it would stay for ever.
        file.content.storage.delete(file.content.field.generate_filename(file, file.name))
        raise


def _note_loss(file: File, error: str) -> None:
    is_final = file.retry_at is None
    logger.warning("A file of prediction %s is %s: %s", file.prediction_id, "lost" if is_final else "delayed", error)
    metrics.FILES.labels(outcome="lost" if is_final else "delayed").inc()
    file.content, file.error = None, error
    with suppress(IntegrityError), transaction.atomic():  # another worker kept it
        file.save(force_insert=True)


async def given_input(prediction: Prediction, provider: Provider) -> dict[str, Any]:
    """Return the prediction's input with its files as the provider takes them: uploaded, or written into it."""
    files = await insist(list, prediction.files.inputs())
    addresses = {file.reference: await _address_at(provider, file) for file in files}
    given: dict[str, Any] = _put_in(prediction.input, addresses)
    return given


async def _address_at(provider: Provider, file: File) -> str:
    if file.provider_url_until and file.provider_url_until > timezone.now():
        return file.provider_url
    sent = await provider.send_file(file)
    if sent.until:
        file.provider_url, file.provider_url_until = sent.address, sent.until
        await insist(file.save, update_fields=["provider_url", "provider_url_until"])
    return sent.address


def _put_in(value: Any, addresses: dict[str, str]) -> Any:  # any JSON
    match value:
        case str():
            return addresses.get(value, value)
        case list():
            return [_put_in(part, addresses) for part in value]
        case dict():
            return {name: _put_in(part, addresses) for name, part in value.items()}
        case _:
            return value


async def _fetch(address: str, download: Opener, content: IO[bytes]) -> None:
    """Write the file at `address` into `content`; raise FileLost."""
    if is_data_uri(address):
        try:
            _write(decode_data_uri(address), content)
        except ValueError as error:
            raise FileLost(DAMAGED) from error
        return
    for pause in PAUSES:
        content.seek(0)
        content.truncate()
        try:
            async with download(address) as answer:
                status = answer.status
                if status == 200:
                    async for chunk in answer.chunks():
                        _write(chunk, content)
                    return
        except AddressRefused as error:
            raise FileLost(NOT_ALLOWED) from error
        except (NotTaken, AnswerLost):
            status = 0
        await asyncio.sleep(pause)
    if status in {403, 404, 410}:
        raise FileLost(EXPIRED)
    raise FileDelayed(NOT_REACHED)


def _write(chunk: bytes, content: IO[bytes]) -> None:
    if content.tell() + len(chunk) > settings.FILE_LIMIT:
        raise FileTooLarge(TOO_LARGE)
    content.write(chunk)
