"""Files into our own storage: copied from hosts that delete them soon, or given by people."""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from os import SEEK_END
from typing import IO, Any

from django.conf import settings
from django.core.files import File as StoredContent
from django.db import IntegrityError, transaction
from django.utils import timezone

from predictions.database import insist
from predictions.events import clean
from predictions.file_types import HEAD_LENGTH, media_type_of
from predictions.models import File, Prediction
from predictions.models.file import NAME_LENGTH
from predictions.outputs import decode_data_uri, is_data_uri, name_of
from predictions.providers import Provider
from predictions.providers.errors import AddressRefused, AnswerLost, NotTaken
from predictions.providers.http import Download

logger = logging.getLogger(__name__)

PAUSES = (0.5, 2.0, 0.0)  # seconds after each try to copy a file
COPY_TIME = 300.0  # seconds for one file, all tries together
IN_MEMORY = 1_048_576  # bytes of a file, before it waits on disk
READ_SIZE = 65_536  # bytes

EXPIRED = "The file expired at the model’s host before it could be copied."
NOT_REACHED = "The file could not be copied: the model’s host did not send it."
NOT_STORED = "The file could not be stored here. Whoever hosts Parley should look at the disk."
NOT_ALLOWED = "The file is at an address that this site does not fetch from."
TOO_LARGE = "The file is larger than this site allows."
DAMAGED = "The file arrived damaged."

Opener = Callable[[str], AbstractAsyncContextManager[Download]]


class FileLost(Exception):
    """A file cannot be had; the message is for people."""


async def keep(prediction: Prediction, position: int, address: str, download: Opener) -> None:
    """Copy a file of the output into our storage, or note why there is none; one that is kept is left alone."""
    kept = prediction.files.outputs().filter(position=position)
    if await insist(kept.exists):
        return
    file = File(prediction=prediction, role=File.Role.OUTPUT, position=position, name=name_of(address, position))
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
        try:
            async with asyncio.timeout(COPY_TIME):
                await _fetch(address, download, content)
            await insist(store, file, content)
        except FileLost as error:
            await insist(_note_loss, file, str(error))
        except TimeoutError:
            await insist(_note_loss, file, NOT_REACHED)
        except OSError:
            logger.exception("A file cannot be stored.")
            await insist(_note_loss, file, NOT_STORED)


def give(prediction: Prediction, position: int, name: str, content: IO[bytes]) -> File:
    """Store a person's file as an input of `prediction`; its `reference` stands for it there. Raises FileLost."""
    file = File(prediction=prediction, role=File.Role.INPUT, position=position, name=clean(name)[:NAME_LENGTH])
    if content.seek(0, SEEK_END) > settings.FILE_LIMIT:
        raise FileLost(TOO_LARGE)
    store(file, content)
    return file


def store(file: File, content: IO[bytes]) -> None:
    """Write `content` to the storage, and then the row: whoever sees it finds the content."""
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    file.media_type = media_type_of(content.read(HEAD_LENGTH))
    content.seek(0)
    while chunk := content.read(READ_SIZE):
        digest.update(chunk)
        size += len(chunk)
    file.sha256, file.size = digest.hexdigest(), size
    content.seek(0)
    file.content.save(file.name, StoredContent(content), save=False)
    try:
        with transaction.atomic():
            file.save(force_insert=True)
    except IntegrityError:  # another worker kept it
        file.content.delete(save=False)
    except BaseException:
        file.content.delete(save=False)
        raise


def _note_loss(file: File, error: str) -> None:
    logger.warning("A file of prediction %s is lost: %s", file.prediction_id, error)
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
    raise FileLost(EXPIRED if status in {403, 404, 410} else NOT_REACHED)


def _write(chunk: bytes, content: IO[bytes]) -> None:
    if content.tell() + len(chunk) > settings.FILE_LIMIT:
        raise FileLost(TOO_LARGE)
    content.write(chunk)
