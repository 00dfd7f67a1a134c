"""What the composer fetches as it is needed."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from chat.models import Conversation
from predictions import pins
from predictions.models import Model
from predictions.parameter_fields import Control, controls_for
from predictions.pins import NothingAnswers


@require_GET
def model_parameters(request: HttpRequest, model: str) -> HttpResponse:
    """What may be set beside a question to a model, in the version that answers in `?conversation=`."""
    found = get_object_or_404(Model.objects.for_user(request.user).select_related("provider"), slug=model)
    controls = _controls(request, found)
    return render(request, "chat/_parameters.html", {"model": found, "controls": controls})


def _controls(request: HttpRequest, model: Model) -> list[Control]:
    conversation = _conversation(request)
    try:
        choice = conversation.choose(model) if conversation else pins.choose(model, user=request.user)
    except NothingAnswers:
        return []
    return controls_for(choice.version.inputs, choice.family, model.default_input)


def _conversation(request: HttpRequest) -> Conversation | None:
    try:
        key = uuid.UUID(request.GET.get("conversation", ""))
    except ValueError:
        return None
    return Conversation.objects.for_user(request.user).filter(pk=key).first()
