"""What every page has in common."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def private_pages(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let no cache keep a page, which the next person at this browser may not see, and no link be looked up ahead."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "no-store, private")
        # A link in an answer must not tell its host's name server that somebody has read it.
        response.headers["X-DNS-Prefetch-Control"] = "off"
        return response

    return middleware
