"""Everything in one process: the pages, the socket and a worker, over SQLite or whatever the environment names."""

import asyncio
import threading
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.urls import reverse

from chat.models import SetupToken
from chat.server import WebServer
from predictions.bus import bus
from predictions.ending import end
from predictions.garbage import collect_seldom
from predictions.worker import Worker

WORKER_GRACE = 15.0  # seconds in which a worker hands back what it has not finished


class Command(BaseCommand):
    help = "Prepare the database and static files, then run web and worker in one process."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", default=settings.PORT, type=int, help="0 takes a free one")

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        call_command("prepare")
        server = WebServer(host=host, port=port, farewell=0)  # nobody else is there for the browsers
        thread = WorkerThread(server)

        def begin() -> None:
            if server.listening_addresses:
                thread.start()
                self.stdout.write(f"Parley is ready: {self._address(host, server.listening_addresses[0][1])}")
                self.stdout.flush()

        server.ready_callable = begin
        collect_seldom()
        server.run()
        thread.finish()
        bus.close()
        end("The worker ended, and the rest with it; the lines above say why." if thread.error else "")

    @staticmethod
    def _address(host: str, port: int) -> str:
        token = SetupToken.issue()
        path = reverse("chat:setup", args=[token]) if token else reverse("chat:home")
        if settings.PUBLIC_URL:
            return f"{settings.PUBLIC_URL}{path}"
        # A wildcard is where to listen, not where to go.
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{name}:{port}{path}"


class WorkerThread(threading.Thread):
    """A worker in an event loop of its own, so that neither pages nor answers wait for the other."""

    def __init__(self, server: WebServer) -> None:
        super().__init__(name="worker", daemon=True)
        self.error: BaseException | None = None
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._worker = Worker()

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._worker.run())
        except BaseException as error:
            self.error = error
            self._server.stop_soon()
            raise

    def finish(self) -> None:
        """Have the worker hand back what is not finished, and wait for it."""
        with suppress(RuntimeError):  # it ended by itself, and its loop with it
            self._loop.call_soon_threadsafe(self._worker.stop)
        self.join(WORKER_GRACE)
