"""How often this process may look at a host: its part of what all workers may, taken from the database in blocks."""

import asyncio
import logging
import random

from django.db import Error

from predictions.database import query
from predictions.models import Condition, Provider

logger = logging.getLogger(__name__)

BLOCK = 10  # looks that are taken from the common budget at a time


class ReadBudget:
    """The looks at one provider."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._left = 0
        self._one_at_a_time = asyncio.Lock()

    async def take(self) -> None:
        """Return when one more look is within the budget."""
        async with self._one_at_a_time:
            while self._left == 0:
                await self._refill()
            self._left -= 1

    async def _refill(self) -> None:
        try:
            self._left, wait = await query(Condition.take_reads, self._provider, BLOCK)
        except Error as error:
            # The host's own limit still holds, and an answer matters more than the count.
            logger.warning("The budget of looks cannot be read: %s", error)
            self._left, wait = 1, 0.0
        if wait and not self._left:
            await asyncio.sleep(wait * random.uniform(1.0, 1.5))  # noqa: S311 - so that not all come at once
