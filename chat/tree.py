"""How the messages of a conversation hang together: branches, their ends, and what stands beside a message. Pure."""

import uuid
from collections.abc import Iterable


class Tree:
    """Messages by their ids, each with the one that it answers or follows; in the order in which they were written."""

    def __init__(self, rows: Iterable[tuple[uuid.UUID, uuid.UUID | None]]) -> None:
        self._parents = dict(rows)
        self._children: dict[uuid.UUID | None, list[uuid.UUID]] = {}
        for key, parent in self._parents.items():
            self._children.setdefault(parent, []).append(key)

    @property
    def newest(self) -> uuid.UUID | None:
        """The message that was written last."""
        return next(reversed(self._parents), None)

    def path_to(self, leaf: uuid.UUID | None) -> list[uuid.UUID]:
        """From the first message down to `leaf`."""
        path = []
        while leaf is not None:
            path.append(leaf)
            leaf = self._parents[leaf]
        path.reverse()
        return path

    def branch_to(self, leaf: uuid.UUID | None) -> list[uuid.UUID]:
        """From the first message down to `leaf`, or else to the newest one."""
        return self.path_to(leaf if leaf in self._parents else self.newest)

    def newest_below(self, key: uuid.UUID) -> uuid.UUID:
        """The newest of all messages that came of `key`, or `key` itself."""
        below = {key}
        newest = key
        # A message is always written after the one that it follows.
        for each, parent in self._parents.items():
            if parent in below:
                below.add(each)
                newest = each
        return newest

    def siblings_of(self, key: uuid.UUID) -> list[uuid.UUID]:
        """The other wordings of a question, or answers to the same one, with `key` among them, oldest first."""
        return self._children[self._parents[key]]
