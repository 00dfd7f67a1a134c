"""Run a worker until SIGTERM or SIGINT: then it hands back what is not finished."""

import asyncio
import signal
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand

from predictions.bus import bus
from predictions.ending import end
from predictions.garbage import collect_seldom
from predictions.worker import Worker


class Command(BaseCommand):
    help = "Run predictions: claim them, ask their providers, keep their answers."

    def handle(self, **options: Any) -> None:
        asyncio.run(self._run())
        bus.close()
        end()

    async def _run(self) -> None:
        worker = Worker()
        collect_seldom()
        loop = asyncio.get_running_loop()

        def stop(*_: Any) -> None:
            with suppress(RuntimeError):  # it has ended, and its loop with it
                loop.call_soon_threadsafe(worker.stop)

        # Not the loop's own handlers, which go with it: a second signal would kill what is about to end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        await worker.run()
