"""Whose turn it is when a provider has fewer slots than there are questions. Pure."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

Id = TypeVar("Id")


def fair_order(
    waiting: Sequence[tuple[Id, Hashable]], *, busy: Sequence[Hashable] = (), served: Sequence[Hashable] = ()
) -> list[Id]:
    """Order the queue so that people take turns.

    `waiting` holds (id, person), oldest first; `busy` names a person once for each answer that is under way;
    `served` names each person once, by when they last had a turn, longest ago first. Who has the fewest
    answers before a question comes first, then who has waited longest for a turn, then who asked first.
    """
    turns = Counter(busy)
    last_turn = {person: place for place, person in enumerate(served, start=1)}
    ranked = []
    for position, (key, person) in enumerate(waiting):
        ranked.append((turns[person], last_turn.get(person, 0), position, key))
        turns[person] += 1
    ranked.sort(key=lambda entry: entry[:3])
    return [key for *_, key in ranked]
