"""The pages of a conversation's branches: another wording, another answer, which branch is shown, and what is above."""

import uuid
from functools import partial

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chat.forms import MessageForm
from chat.models import MESSAGES_SHOWN, Conversation, Message, User
from chat.views import (
    ask_further,
    ask_with,
    load_answer,
    refuse,
    show_conversation,
    wants_json,
)
from predictions.models import Model
from predictions.offers import offers_of
from predictions.standing import standing_here


@require_http_methods(["GET", "POST"])
def message_edit(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Ask a question in other words, on a branch of its own; what came of the first wording stays."""
    question = _load_question(request, message)
    conversation = question.conversation
    assert isinstance(request.user, User)  # noqa: S101 - LoginRequiredMiddleware sees to it
    if request.method == "GET":
        return _page(request, "message_edit", question, id=uuid.uuid4(), text=question.text)
    form = MessageForm(_with_defaults(request, question), user=request.user)
    if ask_with(form, partial(conversation.ask, instead_of=question)):
        return show_conversation(request, conversation, status=201)
    problem = " ".join(str(error) for errors in form.errors.values() for error in errors)
    if wants_json(request):
        return refuse(request, conversation, problem, status=422)
    kept = {"id": form.data["id"], "text": form.data["text"]}
    return _page(request, "message_edit", question, **kept, problem=problem, status=422)


@require_POST
def message_continue(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Have an answer that was cut off go on."""
    answer = load_answer(request, message)
    return ask_further(request, answer, Conversation.go_on)


@require_GET
def message_models(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Choose the model that is to answer the same question."""
    answer = load_answer(request, message)
    standing = standing_here(Model.objects.for_user(request.user))
    return _page(request, "message_models", answer, offers=offers_of(standing))


@require_POST
def message_show(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Show the branch that a message is on."""
    shown = _load_message(request, message)
    shown.conversation.show(shown)
    return show_conversation(request, shown.conversation, place=f"?message={shown.pk}#message-{shown.pk}")


@require_POST
def message_delete(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Delete a question with its answers, or one of several answers, and offer to bring that back."""
    gone = _load_message(request, message)
    gone.conversation.discard_message(gone)
    if wants_json(request):
        return JsonResponse({"restore": reverse("chat:message_restore", args=[gone.pk])})
    return redirect(f"{reverse('chat:conversation_detail', args=[gone.conversation_id])}?deleted={gone.pk}")


@require_POST
def message_restore(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Bring back what was deleted with a message."""
    discarded = Message.objects.discarded_by(request.user).select_related("conversation__owner")
    gone = get_object_or_404(discarded, pk=message)
    gone.conversation.restore_message(gone)
    return show_conversation(request, gone.conversation, place=f"#message-{gone.pk}")


@require_GET
def earlier_messages(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """The messages above one: a part of the page."""
    below = _load_message(request, message)
    conversation = below.conversation
    messages = conversation.above(below, last=MESSAGES_SHOWN)
    return render(request, "chat/_messages.html", {"conversation": conversation, "messages": messages})


def _load_message(request: HttpRequest, key: uuid.UUID) -> Message:
    messages = Message.objects.for_user(request.user).select_related("conversation__owner", "conversation__model")
    return get_object_or_404(messages, pk=key)


def _load_question(request: HttpRequest, key: uuid.UUID) -> Message:
    question = _load_message(request, key)
    if question.role != Message.Role.USER:
        raise Http404
    return question


def _with_defaults(request: HttpRequest, question: Message) -> dict[str, str]:
    """What was sent; the page without scripts has no model, and one of the version before no id."""
    model = question.conversation.model
    defaults = {"id": str(uuid.uuid4()), "model": model.slug if model else "", "text": ""}
    return defaults | {name: request.POST[name] for name in defaults if request.POST.get(name)}


def _page(request: HttpRequest, name: str, message: Message, *, status: int = 200, **context: object) -> HttpResponse:
    shown = {"conversation": message.conversation, "message": message, **context}
    return render(request, f"chat/{name}.html", shown, status=status)
