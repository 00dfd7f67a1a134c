"""Notice that an event loop is held up, and by what: everything that runs in it stands still meanwhile."""

import asyncio
import logging
import sys
import threading
import time
import traceback

logger = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds in which a loop may not come round
LOOK_AGAIN = 1.0  # seconds between looks
TELL_AGAIN = 60.0  # seconds after which the same standstill is told once more


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Watch a loop that runs in the calling thread, or soon will; until it is closed, from a thread beside it."""
    watched = loop, threading.get_ident()
    threading.Thread(target=_watch, args=watched, name="watchdog", daemon=True).start()


def _watch(loop: asyncio.AbstractEventLoop, thread: int) -> None:
    while True:
        came_round = threading.Event()
        try:
            loop.call_soon_threadsafe(came_round.set)
        except RuntimeError:  # it is closed
            return
        pause = PATIENCE
        while not came_round.wait(pause):
            frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, for just this
            if frame is None:  # its thread has ended
                return
            stack = "".join(traceback.format_stack(frame))
            logger.warning("Everything here waits for this, for more than %.0f s:\n%s", pause, stack)
            pause = TELL_AGAIN
        time.sleep(LOOK_AGAIN)
