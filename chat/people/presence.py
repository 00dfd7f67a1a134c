"""Who may stay: sessions, people and what they may do are looked at again while pages are open.

A few queries for all tabs of a process each `CHECK` seconds, and at once when the bus tells that something has changed.
"""

import asyncio
import contextvars
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from chat.models import User
from predictions.bus import bus
from predictions.database import AWAY, query
from predictions.runner import cancel_once

T = TypeVar("T")

logger = logging.getLogger(__name__)

CHECK = 8.0  # seconds between looks; whoever may not stay is gone within 15
FRESH = 1.0  # seconds for which a look is good; a page that comes back asks for up to 22 things at once
PAUSE = 1.0  # seconds after a look that failed
BATCH = 500  # sessions in a query
TOPIC = "people"

Rank = tuple[str, bool, bool]  # the password, and whether it is staff, and superuser


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is and may do, as far as an open page depends on it."""

    rank: Rank
    groups: frozenset[int]
    permissions: frozenset[int]  # beside those of groups


def tell_change() -> None:
    """Have all pages look whether they may stay, once what was changed is written."""
    transaction.on_commit(lambda: bus.publish((TOPIC, {})))


class Visit:
    """One tab's being here; `dismiss` is called once if it may not stay as what it came as."""

    def __init__(self, session: str, user: User, dismiss: Callable[[], Awaitable[None]]) -> None:
        self.session = session
        self.user_id: int = user.pk
        self.dismiss = dismiss
        self.is_over = False
        self.looked_at = -math.inf
        self._rank: Rank = (user.password, user.is_staff, user.is_superuser)
        self._standing: Standing | None = None  # as of the first look, before which nothing was told

    def may_stay(self, standing: Standing | None) -> bool:
        """Whether it may, if this is how its person stands by now."""
        if standing is None:
            return False
        self._standing = self._standing or standing
        return standing.rank == self._rank and standing == self._standing


class Watch:
    """The visits of one event loop, and the look at them."""

    def __init__(self) -> None:
        self._visits: set[Visit] = set()
        self._looking: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def admit(self, visit: Visit) -> None:
        self._visits.add(visit)
        if self._looking is None:
            # In a context of its own: it looks for all tabs, not for the one that was there first.
            self._looking = asyncio.create_task(self._look_on(), context=contextvars.Context())

    async def forget(self, visit: Visit) -> None:
        self._visits.discard(visit)
        if not self._visits and self._looking is not None:
            looking, self._looking = self._looking, None
            if looking is not asyncio.current_task():
                await cancel_once(looking)

    async def still(self, visit: Visit) -> bool:
        """Whether it may stay, as of now."""
        if time.monotonic() - visit.looked_at > FRESH:
            await self._look_at([visit])
        return not visit.is_over

    async def _look_on(self) -> None:
        with bus.subscribe(TOPIC) as subscription:
            while True:
                await subscription.wait(CHECK * random.uniform(0.8, 1.2))  # noqa: S311 - not all processes at once
                try:
                    await self._look_at(list(self._visits))
                except AWAY as error:
                    logger.warning("Nobody can say who may stay: %s", error)
                    await asyncio.sleep(PAUSE)
                except Exception:
                    logger.exception("Who may stay could not be found out; it is tried again.")
                    await asyncio.sleep(PAUSE)

    async def _look_at(self, visits: Collection[Visit]) -> None:
        sessions, people = await query(_standing, {visit.session for visit in visits}, {v.user_id for v in visits})
        for visit in visits:
            visit.looked_at = time.monotonic()
            if visit.session not in sessions or not visit.may_stay(people.get(visit.user_id)):
                self._end(visit)

    def _end(self, visit: Visit) -> None:
        if visit.is_over:
            return
        visit.is_over = True
        self._visits.discard(visit)
        # Beside the look: a browser that reads slowly keeps nobody else here.
        task = asyncio.create_task(_dismissed(visit))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _dismissed(visit: Visit) -> None:
    try:
        await visit.dismiss()
    except Exception:
        logger.exception("A page could not be sent away.")


def _standing(sessions: set[str], people: set[int]) -> tuple[set[str], dict[int, Standing]]:
    """Return which of the sessions are alive, and how the people stand who may sign in."""
    alive: set[str] = set()
    standing: dict[int, Standing] = {}
    for keys in _batches(sessions):
        found = Session.objects.filter(expire_date__gt=timezone.now(), pk__in=keys)
        alive |= set(found.values_list("pk", flat=True))
    for ids in _batches(people):
        standing |= _standing_of(ids)
    return alive, standing


def _standing_of(people: Collection[int]) -> dict[int, Standing]:
    ranks = User.objects.filter(is_active=True, pk__in=people)
    groups, permissions = defaultdict(set), defaultdict(set)
    for user, group in User.groups.through.objects.filter(user__in=people).values_list("user_id", "group_id"):
        groups[user].add(group)
    given = User.user_permissions.through.objects.filter(user__in=people)
    for user, permission in given.values_list("user_id", "permission_id"):
        permissions[user].add(permission)
    return {
        user: Standing((password, staff, superuser), frozenset(groups[user]), frozenset(permissions[user]))
        for user, password, staff, superuser in ranks.values_list("pk", "password", "is_staff", "is_superuser")
    }


def _batches(keys: Collection[T]) -> list[list[T]]:
    listed = list(keys)
    return [listed[at : at + BATCH] for at in range(0, len(listed), BATCH)]


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch() -> Watch:
    """Return that of the running event loop."""
    return _watches.setdefault(asyncio.get_running_loop(), Watch())
