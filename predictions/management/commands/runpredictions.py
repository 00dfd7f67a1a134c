"""Run a worker until SIGTERM or SIGINT: then it hands back what is not finished."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from predictions.bus import bus
from predictions.garbage import collect_seldom
from predictions.worker import Worker


class Command(BaseCommand):
    help = "Run predictions: claim them, ask their providers, keep their answers."

    def handle(self, **options: Any) -> None:
        asyncio.run(self._run())
        bus.close()

    async def _run(self) -> None:
        worker = Worker()
        collect_seldom()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
