"""The web process of an installation that has several: pages and sockets, without a worker."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from chat.server import WebServer
from predictions.bus import bus
from predictions.ending import end
from predictions.garbage import collect_seldom


class Command(BaseCommand):
    help = "Serve pages and sockets until SIGTERM; then send the browsers elsewhere, and end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", default=settings.PORT, type=int)

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        server = WebServer(host=host, port=port)
        collect_seldom()
        server.run()
        bus.close()
        end()
