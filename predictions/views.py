"""Signs of life for whoever watches over the processes, and the door for webhooks."""

import json
import uuid

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST, require_safe
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from predictions import checks, outside, scrape, webhooks
from predictions import metrics as counted
from predictions.models import Condition, Prediction

WEBHOOK_LIMIT = 8_388_608  # bytes; what is larger is not needed, the worker looks by itself


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


@login_not_required
@require_GET
def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Two events, for `doctor` alone, which sees by them whether a proxy holds event streams back."""
    if not outside.is_probe(request.GET.get("probe", "")):
        raise Http404
    response = StreamingHttpResponse(outside.probe_events(request), content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    return response


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures of the whole site, for Prometheus and for staff; nobody else learns that they exist."""
    if not _may_see_metrics(request):
        raise Http404
    return HttpResponse(scrape.everything(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_see_metrics(request: HttpRequest) -> bool:
    token: str = settings.METRICS_TOKEN
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if given:
        return bool(token) and scheme.lower() == "bearer" and constant_time_compare(given.strip(), token)
    return request.user.is_active and request.user.is_staff


@csrf_exempt
@login_not_required
@require_POST
def webhook(request: HttpRequest, prediction: uuid.UUID, token: str) -> HttpResponse:
    """Take in a host's word that something happened to a prediction; never a redirect, which hosts do not follow."""
    if not webhooks.is_token_of(prediction, token):
        counted.WEBHOOKS.labels(outcome="unknown").inc()
        raise Http404
    body = request.read(WEBHOOK_LIMIT + 1)
    if len(body) > WEBHOOK_LIMIT:
        counted.WEBHOOKS.labels(outcome="large").inc()
        return HttpResponse("This is too large.", status=413, content_type="text/plain")
    row = Prediction.objects.select_related("model__provider").filter(pk=prediction).first()
    if row is None:
        return HttpResponse(status=204)  # deleted here: nobody waits for it any more
    condition = Condition.objects.of(row.model.provider)
    if not webhooks.is_genuine(condition, body, request.headers):
        # The end of a prediction is delivered again for a minute: by then a changed secret may be known.
        condition.doubt_secrets()
        counted.WEBHOOKS.labels(outcome="unsigned").inc()
        return HttpResponse("The signature does not match.", status=401, content_type="text/plain")
    counted.WEBHOOKS.labels(outcome="taken").inc()
    webhooks.take_in(row, request.headers[webhooks.ID], _provider_id(body))
    return HttpResponse(status=204)


def _provider_id(body: bytes) -> str:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    provider_id = data.get("id") if isinstance(data, dict) else None
    return provider_id if isinstance(provider_id, str) else ""
