"""Whose turn it is when a provider has fewer slots than there are questions. Pure."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

Id = TypeVar("Id", bound=Hashable)


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


def within_slots(waiting: Iterable[Id], models: Mapping[Id, int], free: Mapping[int, int]) -> list[Id]:
    """Keep of `waiting` as many of each model as it has free slots; models that are not in `free` have no limit."""
    left = dict(free)
    kept = []
    for key in waiting:
        model = models[key]
        if model not in left:
            kept.append(key)
        elif left[model] > 0:
            left[model] -= 1
            kept.append(key)
    return kept
