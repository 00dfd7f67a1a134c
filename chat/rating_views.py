"""What people think of answers, and why."""

import uuid

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_POST

from chat.forms import RatingForm
from chat.views import load_answer, refuse, show_conversation, wants_json
from predictions.events import TERMINAL
from predictions.models import Prediction

NOT_RATED_YET = "This answer is still being written. Say what you think of it when it is there."


@require_POST
def message_rate(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Note whether an answer is good or bad, and why, or, with 0, neither any more."""
    answer = load_answer(request, message)
    form = RatingForm(request.POST)
    if not form.is_valid():
        return refuse(request, answer.conversation, form.problem, status=422)
    ended = Prediction.objects.filter(message=answer, status__in=TERMINAL)
    if not ended.update(**form.rated):
        return refuse(request, answer.conversation, NOT_RATED_YET)
    return show_conversation(request, answer.conversation, place=f"#message-{answer.pk}")


@require_GET
def message_reason(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Say why an answer is good or bad: a page, or the form alone, which the page of the conversation puts in."""
    answer = load_answer(request, message)
    assert answer.prediction is not None  # noqa: S101 - load_answer sees to it
    if answer.prediction.rating is None:
        return show_conversation(request, answer.conversation, place=f"#message-{answer.pk}")
    context = {"conversation": answer.conversation, "message": answer}
    if wants_json(request):
        return JsonResponse({"html": render_to_string("chat/_reason.html", context, request)})
    return render(request, "chat/message_reason.html", context)
