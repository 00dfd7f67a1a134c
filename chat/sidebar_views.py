"""The list of conversations, and what people do with one as a whole."""

import uuid
from typing import Any

from django import forms
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_POST, require_safe

from chat import export
from chat.models import TITLE_LENGTH, Conversation, Message
from chat.search import SHOWN, search
from chat.sidebar import ZONE_COOKIE, Page, archived_page, next_page, zone_named
from chat.templatetags.sidebar import shown_list
from chat.title_search import search_titles
from chat.views import load_conversation, show_conversation, wants_json
from chat.words import LONGEST_QUERY
from predictions import file_views

EXPORT = "people.export_conversations"


class TitleForm(forms.Form):
    title = forms.CharField(
        max_length=TITLE_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
        error_messages={
            "required": "Write a title first.",
            "max_length": f"A title has at most {TITLE_LENGTH} characters. Make it shorter.",
        },
    )

    def clean_title(self) -> str:
        return " ".join(self.cleaned_data["title"].split())


@require_GET
def sidebar_part(request: HttpRequest) -> HttpResponse:
    """The list alone, for pages whose sidebar is no longer right; with `?before=`, its next page."""
    current = _as_id(request.GET.get("conversation", ""))
    if before := request.GET.get("before", ""):
        page = next_page(request.user, before)
        context = {"page": page, "groups": _groups(request, page), "current": current}
    else:
        context = shown_list(request, current)
    return render(request, "chat/_sidebar_list.html", context)


@require_GET
def conversation_older(request: HttpRequest) -> HttpResponse:
    """The conversations that the sidebar has no room for."""
    page = next_page(request.user, request.GET.get("before", ""))
    return _show_page(request, page, heading="Older conversations", here=reverse("chat:conversation_older"))


@require_GET
def conversation_archived(request: HttpRequest) -> HttpResponse:
    """The conversations that were put away."""
    page = archived_page(request.user, request.GET.get("before", ""))
    return _show_page(request, page, heading="Archived conversations", here=reverse("chat:conversation_archived"))


@require_GET
def message_search(request: HttpRequest) -> HttpResponse:
    """The conversations whose titles have the words in `q`, and the messages that have them."""
    looked_for = request.GET.get("q", "")[:LONGEST_QUERY]
    found = {"titles": search_titles(request.user, looked_for), "hits": search(request.user, looked_for)}
    context = {"looked_for": looked_for, "most": SHOWN, **found}
    return render(request, "chat/search.html", context)


@require_GET
def conversation_manage(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """All that can be done with a conversation, for browsers without scripts and whoever likes a page."""
    return _manage(request, load_conversation(request, conversation))


@require_POST
def conversation_rename(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    owned = load_conversation(request, conversation)
    form = TitleForm(request.POST)
    if form.is_valid():
        owned.rename(form.cleaned_data["title"])
        return show_conversation(request, owned)
    if wants_json(request):
        return JsonResponse({"errors": form.errors}, status=422)
    return _manage(request, owned, form, status=422)


@require_POST
def conversation_pin(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Keep a conversation at the top of the list, or with `pinned=0` no more."""
    owned = load_conversation(request, conversation)
    owned.pin(pinned=request.POST.get("pinned") != "0")
    return show_conversation(request, owned)


@require_POST
def conversation_archive(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Take a conversation off the list, or with `archived=0` put it back."""
    owned = load_conversation(request, conversation)
    owned.archive(archived=request.POST.get("archived") != "0")
    return show_conversation(request, owned)


@require_POST
def conversation_delete(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Delete a conversation, and offer to bring it back."""
    owned = load_conversation(request, conversation)
    owned.discard()
    url = f"{reverse('chat:home')}?deleted={owned.pk}"
    if wants_json(request):
        return JsonResponse({"conversation": str(owned.pk), "url": url})
    return redirect(url)


@require_POST
def conversation_restore(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Bring a deleted conversation back."""
    discarded = get_object_or_404(Conversation.objects.discarded_by(request.user), pk=conversation)  # type: ignore[arg-type]
    discarded.restore()
    return show_conversation(request, discarded)


@require_POST
def conversation_read(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """Note that its owner has seen what there is of a conversation."""
    load_conversation(request, conversation).note_read()
    return JsonResponse({})


@require_GET
@permission_required(EXPORT, raise_exception=True)
def conversation_json(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """All of a conversation, to keep."""
    owned = load_conversation(request, conversation)
    written = {"indent": 2, "ensure_ascii": False}
    return JsonResponse(export.as_json(owned), json_dumps_params=written, headers=_as_file(owned, "json"))


@require_GET
@permission_required(EXPORT, raise_exception=True)
def conversation_markdown(request: HttpRequest, conversation: uuid.UUID) -> HttpResponse:
    """What a conversation shows, to keep and read."""
    owned = load_conversation(request, conversation)
    headers = {"Content-Type": "text/markdown; charset=utf-8", **_as_file(owned, "md")}
    return HttpResponse(export.as_markdown(owned), headers=headers)


def _as_file(conversation: Conversation, ending: str) -> dict[str, str]:
    name = export.file_name(conversation, ending)
    return {"Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or ""}


@require_safe
def file_detail(request: HttpRequest, file: uuid.UUID) -> HttpResponseBase:
    """Send a file, unless it is one of a conversation or a message that was deleted."""
    messages = Message.objects.filter(prediction__files=file)
    if messages.exclude(conversation__deleted_at=None, deleted_at=None).exists():
        raise Http404
    return file_views.file_detail(request, file)


def _as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _groups(request: HttpRequest, page: Page) -> list[Any]:
    return page.groups(zone_named(request.COOKIES.get(ZONE_COOKIE, "")))


def _show_page(request: HttpRequest, page: Page, *, heading: str, here: str) -> HttpResponse:
    context = {"listed": page, "listed_groups": _groups(request, page), "heading": heading, "here": here}
    return render(request, "chat/conversation_list.html", context)


def _manage(
    request: HttpRequest, conversation: Conversation, form: TitleForm | None = None, status: int = 200
) -> HttpResponse:
    form = form or TitleForm(initial={"title": conversation.title})
    context = {"conversation": conversation, "form": form}
    return render(request, "chat/conversation_manage.html", context, status=status)
