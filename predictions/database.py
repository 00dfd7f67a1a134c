"""Run queries beside the event loop, in a few threads that give their connections back; tell what a failure means."""

import asyncio
import contextvars
import functools
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4  # queries at once in one process; more would only queue at the database

PAUSES = (0.1, 0.5, 1, 2, 5, 10, 10, 10, 20)  # seconds between tries while the database is away

AWAY = (OperationalError, InterfaceError)  # not there, locked, full: what was asked may succeed later
DISK_FULL = "53100"  # PostgreSQL's code

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="queries")


async def query(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function`, which may use the database, in a thread and return what it returns."""
    call = functools.partial(_call, function, *args, **kwargs)
    context = contextvars.copy_context()  # what the caller's log lines are about
    return await asyncio.get_running_loop().run_in_executor(_threads, context.run, call)


async def insist(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do as `query` does, but try again for a minute while the database is away."""
    for pause in PAUSES:
        try:
            return await query(function, *args, **kwargs)
        except AWAY:
            await asyncio.sleep(pause)
    return await query(function, *args, **kwargs)


def is_disk_full(error: BaseException) -> bool:
    """Whether the database could not write because there is no room left."""
    cause = error.__cause__  # the driver's own error
    full_sqlite = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return full_sqlite or getattr(cause, "sqlstate", None) == DISK_FULL


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        connections.close_all()
