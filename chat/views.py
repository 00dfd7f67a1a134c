"""The pages: a function for each."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from structlog.contextvars import bind_contextvars

from chat.forms import MessageForm, SetupForm
from chat.models import MESSAGES_SHOWN, AlreadyAnswering, Conversation, IdTaken, Message, SetupToken, User
from predictions.models import Limits, Model
from predictions.offers import offers_of
from predictions.pins import NothingAnswers
from predictions.standing import standing_here

T = TypeVar("T")

STILL_ANSWERING = "The last answer is still being written. Wait for it, or stop it."
ID_TAKEN = "This message could not be sent. Reload the page and send it again."
ICONS = (  # of the installed app: file, kind, sizes, purpose
    ("icon-192.png", "png", "192x192", "any"),
    ("icon-512.png", "png", "512x512", "any"),
    ("icon-maskable.png", "png", "512x512", "maskable"),
    ("logo.svg", "svg+xml", "any", "any"),
)


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """An empty conversation."""
    return _show(request, None)


@require_GET
def conversation_detail(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """A conversation; with `?message=` from this message on, or with a way to the branch that it is on."""
    owned = load_conversation(request, conversation)
    return _show(request, owned, named=_message_in(owned, request.GET.get("message", "")))


@require_POST
def conversation_create(request: HttpRequest) -> HttpResponse:
    """Begin a conversation with its first message."""
    return _send(request, None)


@require_POST
def message_create(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Add a message, and have it answered."""
    return _send(request, load_conversation(request, conversation))


@require_POST
def conversation_move(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Go on with the version that answers now, instead of the one the conversation began with."""
    owned = load_conversation(request, conversation)
    owned.move()
    return show_conversation(request, owned)


@require_POST
def message_stop(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Stop an answer; what is there of it stays."""
    answer = load_answer(request, message)
    assert answer.prediction is not None  # noqa: S101 - load_answer sees to it
    answer.prediction.request_cancel()
    return show_conversation(request, answer.conversation)


@require_POST
def message_retry(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Have the same question answered once more, by the same model or the one in `model`."""
    answer = load_answer(request, message)
    slug = request.POST.get("model", "")
    model = get_object_or_404(Model.objects.for_user(request.user), slug=slug) if slug else None
    return ask_further(request, answer, partial(Conversation.answer_again, model=model))


@login_not_required
@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Make the first admin, for whoever holds the token that the terminal printed."""
    if not SetupToken.is_good(token):
        return redirect("login")
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        admin = SetupToken.redeem(token, form.cleaned_data["username"], form.cleaned_data["password1"])
        if admin is not None:
            login(request, admin)
        return redirect("chat:home")
    return render(request, "chat/setup.html", {"form": form}, status=422 if form.is_bound else 200)


@login_not_required
@require_GET
def manifest(request: HttpRequest) -> HttpResponse:
    """What a device has to know to install the page as an app."""
    icons = [
        {"src": static(f"img/{name}"), "type": f"image/{kind}", "sizes": sizes, "purpose": purpose}
        for name, kind, sizes, purpose in ICONS
    ]
    about = {"name": "Parley", "short_name": "Parley", "description": "Chat with language models", "lang": "en"}
    window = {"id": "/", "start_url": reverse("chat:home"), "scope": "/", "display": "standalone"}
    # Until the page is there, which says what its theme has.
    colours = {"background_color": "#ffffff", "theme_color": "#ffffff"}
    return JsonResponse({**about, **window, **colours, "icons": icons}, content_type="application/manifest+json")


# ---------------------------------------------------------------- what the pages share


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - LoginRequiredMiddleware sees to it
    return request.user


def load_conversation(request: HttpRequest, key: uuid.UUID) -> Conversation:
    """Return a conversation that this person may see; raise Http404."""
    bind_contextvars(conversation=str(key))
    return get_object_or_404(Conversation.objects.for_user(request.user).select_related("owner"), pk=key)


def load_answer(request: HttpRequest, key: uuid.UUID, *relations: str) -> Message:
    """Return an answer that this person may see, with what `relations` lead to; raise Http404."""
    answers = Message.objects.for_user(request.user).filter(prediction__isnull=False)
    answers = answers.select_related("conversation__owner", "prediction__model", *relations)
    answer = get_object_or_404(answers.defer("prediction__pin__version__openapi_schema"), pk=key)
    bind_contextvars(conversation=str(answer.conversation_id), prediction=str(answer.prediction_id))
    return answer


def wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _message_in(conversation: Conversation, named: str) -> Message | None:
    """Return the message that an address names."""
    try:
        return conversation.messages.present().filter(pk=uuid.UUID(named)).first()
    except ValueError:
        return None


def _show(
    request: HttpRequest,
    conversation: Conversation | None,
    form: MessageForm | None = None,
    status: int = 200,
    *,
    named: Message | None = None,
) -> HttpResponse:
    models = list(Model.objects.for_user(request.user).annotate(stop_notice=Limits.notice()))
    standing = standing_here(models)
    chosen = next((model for model in models if conversation and model.pk == conversation.model_id), None)
    chosen = chosen or next(iter(models), None)
    messages = conversation.branch(last=MESSAGES_SHOWN, reaching=named) if conversation else []
    context: dict[str, Any] = {
        "conversation": conversation,
        "messages": messages,
        "elsewhere": named if named not in messages else None,
        "stopped": models[0].stop_notice if models else "",  # type: ignore[attr-defined] # annotated
        "running": next((message for message in messages if message.is_running), None),
        "last_ordinal": max((message.ordinal for message in messages), default=0),
        "offers": offers_of(standing),
        "models": models,
        "model": chosen,
        "kept_and_current": conversation.kept_and_current(chosen, standing[chosen], shown=messages)
        if conversation and chosen
        else None,
        "form": form or MessageForm(initial={"id": uuid.uuid4(), "model": chosen}, user=_user(request)),
    }
    template = "chat/conversation_detail.html" if conversation else "chat/home.html"
    return render(request, template, context, status=status)


def _send(request: HttpRequest, conversation: Conversation | None) -> HttpResponse:
    form = MessageForm(request.POST, user=_user(request))
    if conversation is None:
        asked = ask_with(form, partial(Conversation.begin, _user(request)))
    else:
        asked = conversation if ask_with(form, conversation.ask) else None
    if asked is not None:
        return show_conversation(request, asked, status=201)
    if wants_json(request):
        return JsonResponse({"errors": form.errors}, status=422)
    return _show(request, conversation, form, status=422)


def ask_with(form: MessageForm, ask: Callable[..., T]) -> T | None:
    """Return what comes of asking for what a form says; None where that is refused, and the form then says why."""
    if not form.is_valid():
        return None
    sent = {"message_id": form.cleaned_data["id"], "model": form.cleaned_data["model"], **form.beside}
    try:
        return ask(form.cleaned_data["text"], **sent)
    except AlreadyAnswering:
        form.add_error(None, STILL_ANSWERING)
    except NothingAnswers as error:
        form.note_refusal(error)
    except IdTaken:
        form.add_error("id", ID_TAKEN)
    return None


def ask_further(request: HttpRequest, answer: Message, ask: Callable[[Conversation, Message], Message]) -> HttpResponse:
    """Have `ask` ask for one more answer where `answer` is, and show the conversation; or say why that cannot be."""
    try:
        ask(answer.conversation, answer)
    except AlreadyAnswering:
        return refuse(request, answer.conversation, STILL_ANSWERING)
    except NothingAnswers as error:
        return refuse(request, answer.conversation, str(error))
    return show_conversation(request, answer.conversation)


def show_conversation(
    request: HttpRequest, conversation: Conversation, status: int = 200, *, place: str = ""
) -> HttpResponse:
    url = reverse("chat:conversation_detail", args=[conversation.pk]) + place
    if wants_json(request):
        return JsonResponse({"conversation": str(conversation.pk), "url": url}, status=status)
    return redirect(url)


def refuse(request: HttpRequest, conversation: Conversation, reason: str, status: int = 409) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"detail": reason}, status=status)
    data = {"id": uuid.uuid4(), "model": conversation.model and conversation.model.slug}
    form = MessageForm(data=data, user=_user(request))
    form.is_valid()
    form.errors.clear()
    form.add_error(None, reason)
    return _show(request, conversation, form, status=status)
