"""The fork server's own process: imports everything, then forks a process for each order it is sent.

It has one thread and no open connection, so that whatever it forks starts clean.
"""

import asyncio
import faulthandler
import gc
import json
import os
import random
import signal
import socket
import ssl
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.template.loader import get_template  # noqa: E402
from django.urls import get_resolver  # noqa: E402

from predictions import catalogue, worker  # noqa: E402
from predictions.bus import bus  # noqa: E402
from tests.harness import bugs, furniture, pace, points  # noqa: E402
from tests.harness.forks import Order  # noqa: E402

FAILED = 70
# All that web and worker import sooner or later. What chooses Twisted's reactor is left to the web process: a reactor
# that was made before the fork would be shared by all.
PRELOADED = (
    *("config.asgi", "predictions.management.commands.runpredictions"),
    *("anyio._backends._asyncio", "certifi", "httpcore"),
    *("autobahn.twisted.websocket", "twisted.internet.asyncioreactor", "twisted.internet.endpoints"),
    *("twisted.web.http", "daphne.utils"),
    *("django.contrib.messages.storage.fallback", "django.contrib.sessions.serializers"),
    *("django.db.models.sql.compiler", "django.conf.locale.en.formats"),
)
REQUEST_LIMIT = 65_536


class Reports:
    """What this process says to its starter: JSON lines."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def say(self, **words: Any) -> None:
        os.write(self._pipe, json.dumps(words).encode() + b"\n")


def serve(requests: socket.socket) -> None:
    """Fork what is ordered until the other side hangs up; then kill what still runs."""
    living: set[int] = set()
    try:
        while received := _receive(requests):
            request, pipes = received
            if "reap" in request:
                living.discard(request["reap"])
                _, status = os.waitpid(request["reap"], 0)
                answer = {"code": os.waitstatus_to_exitcode(status)}
            else:
                pid = _fork(Order(**request), pipes[0], requests)
                living.add(pid)
                answer = {"pid": pid}
            for pipe in pipes:
                os.close(pipe)
            requests.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)


def _receive(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    line, pipes = b"", []
    while not line.endswith(b"\n"):
        data, received, _, _ = socket.recv_fds(requests, REQUEST_LIMIT, 1)
        if not data:
            return None
        line += data
        pipes += received
    return json.loads(line), pipes


def _fork(order: Order, pipe: int, requests: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    # Never back into the server's code, and no farewell of the interpreter: that is the server's own.
    try:
        requests.close()
        _tie()
        code = _be(order, Reports(pipe))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = FAILED
    finally:
        sys.stderr.flush()
        os._exit(code)


def _tie() -> None:
    """End with the server, even if that is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _be(order: Order, reports: Reports) -> int:
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    random.seed(f"{order.seed} {os.getpid()}")
    _settle(order)
    points.number(order, reports.say)
    for bug in order.bugs:
        bugs.plant(bug)
    if order.clock:
        bugs.set_clock(order.clock)
    return ROLES[order.role](order, reports)


def _settle(order: Order) -> None:
    """Put the order in the place of the environment, which was read before the fork."""
    settings.REPLICATE_API_TOKEN = order.token
    settings.REPLICATE_BASE_URL = order.provider
    settings.PUBLIC_URL = order.public_url
    settings.MEDIA_ROOT = Path(order.data)
    if order.database:
        settings.DATABASES["default"]["NAME"] = connections.settings["default"]["NAME"] = order.database


# ---------------------------------------------------------------- roles


def _furnish(order: Order, reports: Reports) -> int:
    furnished = furniture.furnish(order)
    connections.close_all()  # an SQLite database is one file again, and can be copied
    reports.say(furnished=furnished)
    return 0


def _work(order: Order, reports: Reports) -> int:
    async def nothing(*_: Any) -> None:
        return

    catalogue.look = nothing
    real = worker.Worker.run

    async def run(self: worker.Worker) -> None:
        telling = asyncio.ensure_future(_tell(self))
        try:
            await real(self)
        finally:
            telling.cancel()

    async def _tell(self: worker.Worker) -> None:
        await self.is_running.wait()
        reports.say(ready=os.getpid())

    worker.Worker.run = run
    call_command("runpredictions")
    return 0


def _serve_pages(order: Order, reports: Reports) -> int:
    import chat.server

    chat.server.LONGEST_LEAVE /= pace.FACTOR
    server = chat.server.WebServer(host="127.0.0.1", port=0, farewell=chat.server.FAREWELL / pace.FACTOR)

    def tell() -> None:
        reports.say(ready=server.listening_addresses[0][1])

    server.ready_callable = tell
    server.run()
    bus.close()
    return 0


ROLES = {"furnish": _furnish, "worker": _work, "web": _serve_pages}


if __name__ == "__main__":
    for module in PRELOADED:
        import_module(module)
    get_resolver().url_patterns  # noqa: B018 - reads all views, once for all
    for page in ("home.html", "conversation_detail.html", "_message.html", "_files.html", "_waiting.html"):
        get_template(f"chat/{page}")
    pace.shorten()
    # To read the certificates costs more than all else that an HTTP client does at its start; here all is loopback.
    context = ssl.create_default_context()
    ssl.create_default_context = lambda *_, **__: context
    gc.collect()
    gc.freeze()  # what is never touched again is never copied
    assert threading.active_count() == 1, threading.enumerate()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        serve(orders)
