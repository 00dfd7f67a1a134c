"""How the messages of a conversation hang together: branches, their ends, and what stands beside a message. Pure."""

import uuid
from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """A message, and the one that it answers or follows."""

    id: uuid.UUID
    parent: uuid.UUID | None
    is_answer: bool
    is_deleted: bool


class Tree:
    """Messages by their ids, in the order in which they were written.

    Those that were deleted are not there. What hangs from a deleted answer hangs from the newest other answer to the
    same question; where there is none, from what is above the question.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        answers = {row.parent: row.id for row in rows if row.is_answer and not row.is_deleted}
        self._stand_ins = {row.id: answers.get(row.parent, row.parent) for row in rows if row.is_deleted}
        self._parents = {row.id: self.stand_in_for(row.parent) for row in rows if not row.is_deleted}
        self._children: dict[uuid.UUID | None, list[uuid.UUID]] = {}
        for key, parent in self._parents.items():
            self._children.setdefault(parent, []).append(key)

    def __contains__(self, key: object) -> bool:
        return key in self._parents

    @property
    def newest(self) -> uuid.UUID | None:
        """The message that was written last."""
        return next(reversed(self._parents), None)

    def parent_of(self, key: uuid.UUID) -> uuid.UUID | None:
        return self._parents.get(key)

    def stand_in_for(self, key: uuid.UUID | None) -> uuid.UUID | None:
        """Return `key`, or what stands in its place if it was deleted."""
        passed = []
        while key in self._stand_ins:
            passed.append(key)
            key = self._stand_ins[key]
        for each in passed:  # so that a thousand in a row are walked once
            self._stand_ins[each] = key
        return key

    def path_to(self, leaf: uuid.UUID | None) -> list[uuid.UUID]:
        """From the first message down to `leaf`."""
        path = []
        while leaf in self._parents:
            path.append(leaf)
            leaf = self._parents[leaf]
        path.reverse()
        return path

    def branch_to(self, leaf: uuid.UUID | None) -> list[uuid.UUID]:
        """From the first message down to `leaf`, or else to the newest one."""
        return self.path_to(leaf if leaf in self._parents else self.newest)

    def newest_below(self, key: uuid.UUID) -> uuid.UUID:
        """The newest of all messages that came of `key`, or `key` itself where nothing did."""
        below, waiting = set(), [*self._children.get(key, ())]
        while waiting:
            each = waiting.pop()
            below.add(each)
            waiting += self._children.get(each, ())
        return next((each for each in reversed(self._parents) if each in below), key)

    def siblings_of(self, key: uuid.UUID) -> list[uuid.UUID]:
        """The other wordings of a question, or answers to the same one, with `key` among them, oldest first."""
        return self._children[self._parents[key]] if key in self._parents else [key]
