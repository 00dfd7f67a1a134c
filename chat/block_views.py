"""What a page asks for to show blocks of an answer: code in colours, and the frame that diagrams are drawn in."""

import json
import time
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from chat.markdown import HIGHLIGHT_TIME, MAX_HIGHLIGHTED, MAX_LANGUAGE, runs_of
from predictions.events import clean

MOST_BLOCKS = 8  # of code in one request; static/js/markdown/highlighter.js sends no more
FRAME_SCRIPTS = ("vendor/mermaid.js", "js/frames/diagram.js")


@require_POST
def code_highlight(request: HttpRequest) -> HttpResponse:
    """Return each of `{"blocks": [{"language", "code"}]}` as pieces `[kind, text]`, coloured as in a stored answer."""
    blocks = _blocks_in(request.body)
    if blocks is None:
        return JsonResponse({"detail": "This is no code that can be highlighted."}, status=400)
    deadline = time.thread_time() + HIGHLIGHT_TIME
    return JsonResponse({"blocks": [list(runs_of(code, language.lower(), deadline)) for language, code in blocks]})


def _blocks_in(body: bytes) -> list[tuple[str, str]] | None:
    """Return the language and the code of each block; None if `body` is not understood, or has too much in it."""
    try:
        blocks: Any = json.loads(body)["blocks"]
        found = [(block["language"], block["code"]) for block in blocks[: MOST_BLOCKS + 1]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    fits = len(found) <= MOST_BLOCKS and all(
        _is_text(language, MAX_LANGUAGE) and _is_text(code, MAX_HIGHLIGHTED) for language, code in found
    )
    return [(language, clean(code)) for language, code in found] if fits else None


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most


@require_safe
@xframe_options_sameorigin
def diagram_frame(request: HttpRequest) -> HttpResponse:
    """A page of no origin, which draws what the page around it sends: its two scripts are all that it may fetch."""
    scripts = [static(name) for name in FRAME_SCRIPTS]
    response = render(request, "chat/diagram_frame.html", {"scripts": scripts})
    response.headers["Content-Security-Policy"] = "; ".join(
        [
            "sandbox allow-scripts",
            "default-src 'none'",
            # By their addresses: browsers differ in what 'self' is where there is no origin.
            f"script-src {' '.join(map(request.build_absolute_uri, scripts))}",
            "style-src 'unsafe-inline'",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'self'",
        ]
    )
    return response
