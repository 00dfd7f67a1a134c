"""Ask a host while a page of the admin waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from predictions.models import Provider as ProviderRow
from predictions.providers import Provider
from predictions.providers.errors import ProviderUnavailable

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

PATIENCE = 20.0  # seconds that a person waits for a page


def ask(row: ProviderRow, connect: Callable[[ProviderRow], P], look: Callable[[P], Awaitable[T]]) -> T:
    """Return what `look` finds at the host of `row`; raise ProviderError. Not to be called within a transaction."""

    async def go() -> T:
        provider = connect(row)
        try:
            async with asyncio.timeout(PATIENCE):
                return await look(provider)
        except TimeoutError as error:
            raise ProviderUnavailable(f"{row} does not answer in time. Try again in a moment.") from error
        finally:
            await provider.close()

    return asyncio.run(go())
