"""What has been received of an output, in a memory that does not grow with its length.

Kept are the length, a digest and the part that is not journaled yet. Offsets count code points. Pure.
"""

import hashlib


class Transcript:
    """The text of one running prediction, known by `end` and a digest of everything before it."""

    def __init__(self, text: str = "") -> None:
        self.end = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._unwritten: list[str] = []
        self.unwritten_length = 0
        self._take_in(text)

    def extend(self, text: str, offset: int) -> bool:
        """Take in what is new of `text`, which begins at `offset`; say whether anything was.

        A repetition adds nothing, and a text beyond a gap is not taken: the snapshot will tell it.
        """
        if offset > self.end or offset + len(text) <= self.end:
            return False
        new = text[self.end - offset :]
        self._take_in(new)
        self._unwritten.append(new)
        self.unwritten_length += len(new)
        return True

    def is_prefix_of(self, text: str) -> bool:
        """Say whether everything received so far is how `text` begins."""
        if len(text) < self.end:
            return False
        beginning = hashlib.blake2b(text[: self.end].encode(), digest_size=16)
        return beginning.digest() == self._digest.digest()

    def contradicts(self, text: str) -> bool:
        """Say whether `text`, which begins at 0 and is long enough to tell, is another one than was received."""
        return len(text) >= self.end > 0 and not self.is_prefix_of(text)

    def take_unwritten(self) -> tuple[int, str]:
        """Hand over the text that is not journaled yet, with the offset it begins at."""
        text = "".join(self._unwritten)
        self._unwritten.clear()
        self.unwritten_length = 0
        return self.end - len(text), text

    def _take_in(self, text: str) -> None:
        self.end += len(text)
        self._digest.update(text.encode())
