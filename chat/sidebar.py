"""A person's conversations in groups by date, page by page, and what their pages are told of them."""

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from hashlib import blake2s
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import Q
from django.utils.formats import date_format

from chat.models import Conversation, ConversationQuerySet
from predictions import clock

PAGE = 100  # conversations
PINNED = 100  # conversations, the last ones that were pinned
ZONE_COOKIE = "zone"  # the reader's time zone, as the browser names it
ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    conversations: list[Conversation]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of somebody's conversations, newest first."""

    pinned: list[Conversation]
    others: list[Conversation]
    older: str = ""  # where the next page begins, as `older_than` reads it

    @property
    def all(self) -> list[Conversation]:
        return [*self.pinned, *self.others]

    @property
    def state(self) -> str:
        """What tells whether a page shows what is there now."""
        shown = [(str(each.pk), each.title, each.is_running, each.is_unread) for each in self.all]
        return blake2s(json.dumps([len(self.pinned), shown]).encode(), digest_size=8).hexdigest()

    @property
    def unread(self) -> list[str]:
        return [str(each.pk) for each in self.all if each.is_unread]

    def groups(self, zone: tzinfo) -> list[Group]:
        """Put them under headings, by the calendar of `zone`."""
        pinned = [Group("Pinned", self.pinned)] if self.pinned else []
        return [*pinned, *_by_date(self.others, zone)]


def first_page(user: Any) -> Page:  # a User or AnonymousUser
    """Read what the sidebar shows at first."""
    listed = Conversation.objects.for_user(user).listed()
    pinned = listed.filter(pinned_at__isnull=False).order_by("-pinned_at").values("pk")[:PINNED]
    newest = listed.filter(pinned_at=None).order_by("-updated_at", "-pk").values("pk")[: PAGE + 1]
    # Both at once: each page of the site asks for this.
    both = Conversation.objects.filter(Q(pk__in=pinned) | Q(pk__in=newest)).with_marks()
    found = list(both.order_by("-pinned_at", "-updated_at", "-pk"))
    return _page([each for each in found if not each.pinned_at], [each for each in found if each.pinned_at])


def next_page(user: Any, cursor: str) -> Page:  # a User or AnonymousUser
    """Read the conversations that come after those of a page whose `older` is `cursor`."""
    listed = Conversation.objects.for_user(user).listed().filter(pinned_at=None)
    return _page(_first(older_than(listed.with_marks(), cursor)))


def archived_page(user: Any, cursor: str = "") -> Page:  # a User or AnonymousUser
    archived = Conversation.objects.for_user(user).archived()
    return _page(_first(older_than(archived.with_marks(), cursor)))


def older_than(conversations: ConversationQuerySet, cursor: str) -> ConversationQuerySet:
    """Leave out what comes before `cursor`; one that says nothing leaves out nothing."""
    moment, _, key = cursor.partition("~")
    try:
        at, pk = datetime.fromisoformat(moment), uuid.UUID(key)
    except ValueError:
        return conversations
    if at.tzinfo is None:
        return conversations
    return conversations.filter(updated_at__lte=at).filter(Q(updated_at__lt=at) | Q(pk__lt=pk))


def zone_named(name: str) -> tzinfo:
    """Return the time zone of that name, or UTC where there is none."""
    if not ZONE.fullmatch(name):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def tell(user: Any) -> str:  # a User or AnonymousUser
    """Tell a page the state of its sidebar, as a frame: one that shows another fetches it anew."""
    page = first_page(user)
    return json.dumps({"type": "sidebar", "state": page.state, "unread": page.unread})


def _first(conversations: ConversationQuerySet) -> list[Conversation]:
    """Read a page of them, and one more, to know whether there is another page."""
    return list(conversations.order_by("-updated_at", "-pk")[: PAGE + 1])


def _page(found: list[Conversation], pinned: Iterable[Conversation] = ()) -> Page:
    last = found[PAGE - 1] if len(found) > PAGE else None
    return Page(list(pinned), found[:PAGE], older=f"{last.updated_at.isoformat()}~{last.pk}" if last else "")


def _by_date(conversations: list[Conversation], zone: tzinfo) -> Iterator[Group]:
    today = clock.now().astimezone(zone).date()
    for label, group in groupby(conversations, lambda each: label_of(each.updated_at.astimezone(zone).date(), today)):
        yield Group(label, list(group))


def label_of(day: date, today: date) -> str:
    """Name the group of conversations that `day` is in."""
    days = (today - day).days
    if days <= 1:
        return "Yesterday" if days == 1 else "Today"
    if days <= 30:
        return "Last 7 days" if days <= 7 else "Last 30 days"
    return date_format(day, "F Y")
