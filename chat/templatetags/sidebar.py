"""The list of conversations, which stands beside every page, and what brings back what was deleted."""

import uuid
from typing import Any

from django import template
from django.http import HttpRequest
from django.urls import reverse

from chat import theme
from chat.models import Conversation, Message
from chat.sidebar import ZONE_COOKIE, first_page, zone_named

register = template.Library()


@register.inclusion_tag("chat/_sidebar.html", takes_context=True)
def sidebar(context: template.Context) -> dict[str, Any]:
    """Show the conversations of whoever reads the page; `conversation` is the one that it shows, if it shows one."""
    request, conversation = context["request"], context.get("conversation")
    is_home = request.path == reverse("chat:home")
    page = {
        "is_home": is_home,
        "looked_for": context.get("looked_for", ""),
        "request": request,
        **theme.chosen(request),
    }
    return {**shown_list(request, conversation and conversation.pk), **page}


def shown_list(request: HttpRequest, current: uuid.UUID | None) -> dict[str, Any]:
    """What the first page of the list is rendered from."""
    page = first_page(request.user)
    zone = zone_named(request.COOKIES.get(ZONE_COOKIE, ""))
    return {"user": request.user, "page": page, "groups": page.groups(zone), "current": current}


@register.inclusion_tag("chat/_undo.html", takes_context=True)
def undo_notice(context: template.Context) -> dict[str, str]:
    """Offer to bring back what the address names as deleted: a conversation, or a message."""
    request = context["request"]
    try:
        key = uuid.UUID(request.GET.get("deleted", ""))
    except ValueError:
        return {"restore": ""}
    if Conversation.objects.discarded_by(request.user).filter(pk=key).exists():
        return {"restore": reverse("chat:conversation_restore", args=[key])}
    is_message = Message.objects.discarded_by(request.user).filter(pk=key).exists()
    return {"restore": reverse("chat:message_restore", args=[key]) if is_message else ""}
