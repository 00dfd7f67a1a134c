"""Files on their way into a question: each comes by itself, as the body of a request, before the question is sent."""

import logging
import uuid
from functools import partial
from urllib.parse import unquote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.views.decorators.http import require_POST

from predictions import files
from predictions.attachments import kind_of
from predictions.files import READ_SIZE, FileDelayed, FileLost, FileTooLarge
from predictions.models import File, Upload

logger = logging.getLogger(__name__)

LONGEST_NAME = 2_000  # characters, as a header has them
RIGHT = "people.upload_files"
NOT_ALLOWED = "Your account may not add files. Ask an admin if you need to."
BROKEN_OFF = "The file did not arrive whole. Add it again."


@require_POST
def upload_create(request: HttpRequest) -> HttpResponse:
    """Store the body of the request as a file whose percent-encoded name is in `X-File-Name`."""
    if not request.user.has_perm(RIGHT):
        return _refuse(NOT_ALLOWED, 403)
    if _length(request) > settings.FILE_LIMIT:
        return _too_large()
    name = unquote(request.headers.get("X-File-Name", "")[:LONGEST_NAME], errors="replace")
    try:
        upload = files.take(request.user, name, iter(partial(request.read, READ_SIZE), b""))
    except FileTooLarge:
        return _too_large()
    except FileDelayed as error:
        return _refuse(str(error), 503)
    except FileLost as error:
        return _refuse(str(error), 422)
    except UnreadablePostError:
        logger.info("An upload broke off.")
        return _refuse(BROKEN_OFF, 422)
    return _tell(upload)


@require_POST
def file_use(request: HttpRequest, file: uuid.UUID) -> HttpResponse:
    """Have a file of an earlier message go with the next one, as if it had been sent here again."""
    if not request.user.has_perm(RIGHT):
        return _refuse(NOT_ALLOWED, 403)
    row = get_object_or_404(File.objects.for_user(request.user).exclude(content=""), pk=file)
    return _tell(files.take_up(request.user, row))


@require_POST
def upload_remove(request: HttpRequest, upload: uuid.UUID) -> HttpResponse:
    """Forget a file that was not sent."""
    get_object_or_404(Upload.objects.for_user(request.user), pk=upload).delete()
    return JsonResponse({})


def _tell(upload: Upload) -> HttpResponse:
    kind = kind_of(upload.media_type, upload.name)
    return JsonResponse({"id": str(upload.pk), "name": upload.name, "size": upload.size, "kind": kind}, status=201)


def _length(request: HttpRequest) -> int:
    """Return how long the body claims to be, 0 if it does not say."""
    claimed = request.headers.get("Content-Length", "")
    return int(claimed) if claimed.isascii() and claimed.isdigit() and len(claimed) < 20 else 0


def _too_large() -> HttpResponse:
    limit = filesizeformat(settings.FILE_LIMIT)
    return _refuse(f"This file is larger than {limit}, which is the most that this site takes.", 413)


def _refuse(reason: str, status: int) -> HttpResponse:
    return JsonResponse({"detail": reason}, status=status)
