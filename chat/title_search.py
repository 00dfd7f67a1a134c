"""Finds conversations by their titles, among the newest ones of a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chat.models import Conversation
from chat.search import snippet
from chat.words import Query, fold, words_of

LOOKED_AT = 10_000  # conversations, the newest
SHOWN = 10  # results


@dataclass(frozen=True, slots=True)
class TitleHit:
    """A conversation whose title was found."""

    conversation: Conversation
    title: list[tuple[str, bool]]  # pieces of it, and whether each is what was looked for


def search_titles(user: Any, text: str) -> list[TitleHit]:  # a User or AnonymousUser
    """Find the conversations of `user` whose titles have all words of `text`, the newest first."""
    query = Query.of(text)
    if not query:
        return []
    newest = Conversation.objects.for_user(user).order_by("-updated_at").values_list("pk", "title")[:LOOKED_AT]
    keys = [key for key, _ in zip(_matching(query, list(newest)), range(SHOWN), strict=False)]
    found = Conversation.objects.for_user(user).in_bulk(keys)
    pattern = query.pattern
    return [TitleHit(found[key], list(snippet(found[key].title, pattern))) for key in keys if key in found]


def _matching(query: Query, titles: list[tuple[UUID, str]]) -> Iterator[UUID]:
    """Yield the keys of the titles that have all words of `query`."""
    words = {word for phrase in query.phrases for word in phrase}
    # Folded all at once, and looked into before it is cut into words: ten thousand are a matter of milliseconds.
    folded = fold("\n".join(" ".join(title.split()) for _, title in titles)).split("\n") if titles else []
    for (key, title), line in zip(titles, folded, strict=True):
        if all(word in line for word in words) and _has_all(query, title):
            yield key


def _has_all(query: Query, title: str) -> bool:
    text = f" {' '.join(words_of(title))} "
    *whole, last = [f" {' '.join(phrase)}" for phrase in query.phrases]
    return all(f"{phrase} " in text for phrase in whole) and (last if query.is_begun else f"{last} ") in text
