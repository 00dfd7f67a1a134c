"""Signs of life, for whoever watches over the processes."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from predictions import checks


@login_not_required
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """This process answers."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Whether questions will be answered: 200, or 503 with what is missing."""
    results = {name: check() for name, check in checks.READINESS.items()}
    is_ready = all(problem is None for problem in results.values())
    parts = {name: "ok" if problem is None else "failing" for name, problem in results.items()}
    return JsonResponse({"status": "ok" if is_ready else "failing", **parts}, status=200 if is_ready else 503)
