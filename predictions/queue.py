"""Whose turn it is when a provider has fewer slots than there are questions. Pure."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

Id = TypeVar("Id")


def fair_order(waiting: Sequence[tuple[Id, Hashable]], busy: Sequence[Hashable]) -> list[Id]:
    """Order the queue so that people take turns.

    `waiting` holds (id, person), oldest first; `busy` names a person once for each answer that is
    under way. Who has the fewest answers before a question comes first, and then who asked first.
    """
    turns = Counter(busy)
    ranked = []
    for position, (key, person) in enumerate(waiting):
        ranked.append((turns[person], position, key))
        turns[person] += 1
    ranked.sort(key=lambda entry: entry[:2])
    return [key for _, _, key in ranked]
