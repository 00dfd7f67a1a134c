"""Files that people gave and models made, for whoever may see them.

What is in them is not trusted: a browser is shown images, sounds and films as such, and is given everything else to
keep. Nothing that is opened from here runs or asks for anything.
"""

import asyncio
import logging
import re
import uuid
from typing import IO, Self

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, quote_etag
from django.views.decorators.http import require_safe

from predictions.file_types import SHOWN, UNKNOWN
from predictions.models import File

logger = logging.getLogger(__name__)

PIECE = 65_536  # bytes that are read at once
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)  # RFC 9110, section 14.1; one range only

HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",  # kept, and shown again only to whoever may still see it
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@require_safe
def file_detail(request: HttpRequest, file: uuid.UUID) -> HttpResponseBase:
    """Send a file, or the one part of it that is asked for; with `?download=1`, to be kept and not shown."""
    row = get_object_or_404(File.objects.for_user(request.user).exclude(content=""), pk=file)
    etag = quote_etag(row.sha256)
    response: HttpResponseBase = get_conditional_response(request, etag) or _respond(request, row, etag)
    for name, value in {**HEADERS, "ETag": etag}.items():
        response.headers[name] = value
    return response


def _respond(request: HttpRequest, row: File, etag: str) -> HttpResponseBase:
    part = _part_asked_for(request, row.size, etag)
    if part is not None and not part:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{row.size}"})
    sent = range(row.size) if part is None else part
    is_shown = row.media_type in SHOWN
    headers = {
        "Content-Type": row.media_type if is_shown else UNKNOWN,
        "Content-Length": str(len(sent)),
        "Content-Disposition": content_disposition_header(
            as_attachment="download" in request.GET or not is_shown, filename=_safe_name(row.name)
        ),
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{row.size}"
    if request.method == "HEAD":
        return HttpResponse(headers=headers)
    return StreamingHttpResponse(Pieces(_open(row), sent), status=200 if part is None else 206, headers=headers)


def _part_asked_for(request: HttpRequest, size: int, etag: str) -> range | None:
    """Return which bytes a `Range` asks for, none of them if there are none there; None means the whole file."""
    match = RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.method == "HEAD" or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if first and last:
        return range(int(first), min(int(last) + 1, size)) if int(first) <= int(last) else None
    if first:
        return range(int(first), size)
    return range(max(size - int(last), 0), size) if last else None


def _safe_name(name: str) -> str:
    """Return `name` as one that no header and no folder takes for more than a name."""
    shown = "".join(character if character.isprintable() else " " for character in name)
    return re.sub(r"[\s/\\]+", " ", shown).strip(" .") or "file"


def _open(row: File) -> IO[bytes]:
    try:
        content: IO[bytes] = row.content.open("rb")
    except FileNotFoundError as error:
        logger.warning("The content of file %s is missing in the storage.", row.pk)
        raise Http404 from error
    return content


class Pieces:
    """The bytes of `content` in the range `part`, read piece by piece beside the event loop.

    The response closes it, also when the reader has gone.
    """

    def __init__(self, content: IO[bytes], part: range) -> None:
        self._content = content
        self._left = len(part)
        content.seek(part.start)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await asyncio.to_thread(self._content.read, min(PIECE, self._left))
        if not piece:
            raise StopAsyncIteration
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._content.close()
