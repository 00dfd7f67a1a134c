"""Numbered points: whatever a process does to the world outside, before and after it.

Writing SQL statements, commits, rollbacks, what is written to and read from sockets by the event loop (requests to
providers, pieces of their streams), what is published, files. What only looks is not numbered: to die before or after
it is the same to everybody else. At the n-th crossing the process ends or stops itself; the product knows nothing.
"""

import asyncio
import functools
import os
import threading
from asyncio import selector_events
from collections.abc import Callable
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from predictions import bus
from tests.harness.forks import Order

Say = Callable[..., None]

WRITING = ("INSERT", "UPDATE", "DELETE", "BEGIN")


class Points:
    """Counts crossings, in whichever thread, and acts at one of them."""

    def __init__(self, order: Order, say: Say) -> None:
        self._order = order
        self._say = say
        self._lock = threading.Lock()
        self._count = 0

    def cross(self, what: str) -> None:
        order = self._order
        if not what.startswith(order.dies_where):
            return
        with self._lock:
            self._count += 1
            if self._count == order.dies_at:
                self._say(point=self._count, what=what)
                os.kill(os.getpid(), order.dies_by)


def number(order: Order, say: Say) -> None:
    """Number this process's points from now on; nothing is wrapped where nobody is to die."""
    if not order.dies_at:
        return
    cross = Points(order, say).cross

    def cross_statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        words = " ".join(sql.split()[:3])
        if not words.startswith(WRITING):
            return execute(sql, params, many, context)
        cross(f"before {words}")
        result = execute(sql, params, many, context)
        if not context["connection"].in_atomic_block:  # else the commit is what counts
            cross(f"after {words}")
        return result

    def watch(sender: Any, connection: Any, **_: Any) -> None:
        if cross_statement not in connection.execute_wrappers:
            connection.execute_wrappers.append(cross_statement)

    connection_created.connect(watch, weak=False)
    _wrap(BaseDatabaseWrapper, "_commit", "commit", cross)
    _wrap(BaseDatabaseWrapper, "_rollback", "rollback", cross)
    _wrap(type(bus.bus), "publish", "publish", cross)
    _wrap(FileSystemStorage, "_save", "file save", cross)
    _wrap(FileSystemStorage, "delete", "file delete", cross)
    transport = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    _wrap(transport, "write", "socket write", cross)
    for reading in ("_read_ready__data_received", "_read_ready__get_buffer"):
        _wrap(transport, reading, "socket read", cross)
    assert issubclass(asyncio.SelectorEventLoop, selector_events.BaseSelectorEventLoop)


def _wrap(owner: type, name: str, what: str, cross: Callable[[str], None]) -> None:
    real = getattr(owner, name)

    @functools.wraps(real)
    def crossing(*args: Any, **kwargs: Any) -> Any:
        told = f"{what} {args[1][0]}" if what == "publish" and len(args) > 1 else what  # the first message's topic
        cross(f"before {told}")
        result = real(*args, **kwargs)
        cross(f"after {told}")
        return result

    setattr(owner, name, crossing)
