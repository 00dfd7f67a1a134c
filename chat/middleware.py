"""What every page has in common, also when the database is away."""

import logging
import sys
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseServerError, JsonResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from structlog.contextvars import get_contextvars

from predictions.database import AWAY, is_disk_full

logger = logging.getLogger(__name__)

RETRY_AFTER = 5  # seconds

NOT_REACHED = "Parley cannot reach its database at the moment. Nothing that was saved is lost; try again in a moment."
NOT_SAVED = "Parley cannot save anything at the moment. Try again in a moment."
TEXT_NOT_SAVED = "Parley cannot save anything at the moment. Your text is still in the box; try again in a moment."


def private_pages(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let no cache keep a page, which the next person at this browser may not see."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "no-store, private")
        return response

    return middleware


def explain_failure(request: HttpRequest) -> HttpResponse:
    """Answer a request that broke: 503 in words while the database is away, else the page of all other errors.

    It is the site's `handler500`: a session that cannot be loaded breaks between the middlewares, where none of them
    sees it. Nothing here may touch the session, the user or the database.
    """
    error = sys.exc_info()[1]
    if not isinstance(error, AWAY):
        known = get_contextvars()  # by which whoever hosts Parley finds this error in the log
        return HttpResponseServerError(render_to_string("500.html", {"request_id": known.get("request", "")}))
    if is_disk_full(error):
        logger.error("Parley cannot save anything: the disk of its database is full.")
    text = request.POST.get("text", "")
    words = TEXT_NOT_SAVED if text else NOT_REACHED if request.method in {"GET", "HEAD"} else NOT_SAVED
    response: HttpResponse
    if request.headers.get("Accept", "").startswith("application/json"):
        response = JsonResponse({"detail": words}, status=503)
    else:
        form = {"sent": request.POST, "csrf_token": get_token(request)} if text else {}
        response = HttpResponse(render_to_string("503.html", {"words": words, **form}), status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    response.headers["Cache-Control"] = "no-store, private"
    return response
