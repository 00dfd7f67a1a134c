"""Finds messages by their words: in SQLite through FTS5, in PostgreSQL through a `tsvector`.

The databases say which messages have all the words; of those the newest `CANDIDATES` are ranked here, so that common
words cost no more than rare ones.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Coalesce, Substr

from chat.models import Conversation, Message
from chat.words import INDEXED, Query, fold

CANDIDATES = 200  # the newest messages that have all the words
RANKED = 20_000  # characters of each that are looked at to rank it
SHOWN = 50  # results
MERGED, MOST_MERGES = 500, 1_000  # pages of SQLite's index that are merged at once, and how often that is done in a row
BEFORE, SNIPPET = 60, 240  # characters of a snippet before its first hit, and in all
MOST_COUNTED = 5  # hits in one message; more do not make it better
NOISE = re.compile(r"[\s*`#|]+")  # white space, and Markdown that says nothing without its place

JOINS = """
    CROSS JOIN chat_message message ON message.id = entry.message_id
    CROSS JOIN chat_conversation conversation ON conversation.id = message.conversation_id
"""
# `CROSS JOIN` keeps SQLite's order: the index first, from its newest entry on, until there are enough.
SQLITE = f"""
    SELECT entry.message_id, substr(entry.words, 1, {RANKED}) FROM chat_search
    CROSS JOIN chat_searchentry entry ON entry.id = chat_search.rowid {JOINS}
    WHERE chat_search MATCH %s AND conversation.owner_id = %s AND conversation.deleted_at IS NULL
      AND message.deleted_at IS NULL
    ORDER BY chat_search.rowid DESC LIMIT {CANDIDATES}
"""  # noqa: S608 - of constants
POSTGRESQL = f"""
    SELECT entry.message_id, left(entry.words, {RANKED}) FROM chat_searchentry entry
    {JOINS.replace("CROSS JOIN", "JOIN")}
    WHERE entry.vector @@ %s::tsquery AND conversation.owner_id = %s AND conversation.deleted_at IS NULL
      AND message.deleted_at IS NULL
    ORDER BY entry.id DESC LIMIT {CANDIDATES}
"""  # noqa: S608 - of constants


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found, and the piece of it that says why."""

    message: Message
    snippet: list[tuple[str, bool]]  # pieces of text, and whether each is what was looked for


def search(user: Any, text: str) -> list[Hit]:  # a User or AnonymousUser
    """Find what `user` and the models have said to each other, the best first, then the newest."""
    query = Query.of(text)
    if not query or not Conversation.objects.for_user(user).exists():
        return []
    candidates = _candidates(user.pk, query)
    ranked = sorted(candidates, key=lambda key: rank(query, candidates[key]), reverse=True)[:SHOWN]
    said = Coalesce(Substr("prediction__output", 1, INDEXED), Substr("text", 1, INDEXED))
    found = Message.objects.for_user(user).select_related("conversation").annotate(said=said)
    messages = found.defer("text", "html").in_bulk(ranked)
    pattern = query.pattern
    return [Hit(messages[key], list(snippet(messages[key].said, pattern))) for key in ranked if key in messages]


def rank(query: Query, words: str) -> tuple[bool, int]:
    """Say how good a find is: all the words in a row, then how often they are there."""
    text = f" {words} "
    phrases = [" ".join(phrase) for phrase in query.phrases]
    return f" {' '.join(phrases)}" in text, min(sum(text.count(f" {phrase}") for phrase in phrases), MOST_COUNTED)


def snippet(said: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text around the first hit, each with whether it is one."""
    text = unicodedata.normalize("NFC", said)
    folded = fold(text)
    first = pattern.search(folded)
    begin = max(first.start() - BEFORE, 0) if first else 0
    if begin:
        begin = max(folded.find(" ", begin, first.start() if first else None) + 1, begin)
    end = min(begin + SNIPPET, len(text))
    place = begin
    yield "…" if begin else "", False
    for hit in pattern.finditer(folded, begin, end):
        yield NOISE.sub(" ", text[place : hit.start()]), False
        yield NOISE.sub(" ", text[hit.start() : hit.end()]), True
        place = hit.end()
    yield NOISE.sub(" ", text[place:end]) + ("…" if end < len(text) else ""), False


# ---------------------------------------------------------------- the two databases


def _candidates(owner: int, query: Query) -> dict[UUID, str]:
    """Return the newest messages that have all the words, each with its words, newest first."""
    is_postgresql = connection.vendor == "postgresql"
    sql, asked = (POSTGRESQL, _as_tsquery(owner, query)) if is_postgresql else (SQLITE, _as_fts5(owner, query))
    with connection.cursor() as cursor:
        cursor.execute(sql, [asked, owner])
        return {UUID(str(key)): words for key, words in cursor.fetchall()}


def _as_fts5(owner: int, query: Query) -> str:
    # Words are letters and digits: inside quotation marks nothing of them can mean anything to FTS5.
    phrases = " AND ".join('"' + " ".join(phrase) + '"' for phrase in query.phrases)
    return f'owner_id : "{owner}" AND words : ({phrases}{" *" if query.is_begun else ""})'


def _as_tsquery(owner: int, query: Query) -> str:
    phrases = " & ".join(" <-> ".join(f"'{word}'" for word in phrase) for phrase in query.phrases)
    return f"'owner_{owner}' & {phrases}{':*' if query.is_begun else ''}"


def forget_words() -> None:
    """Have SQLite's index forget the words of what was deleted, which it only marks until it merges its parts.

    In small steps, so that nobody who writes waits for all of it (https://sqlite.org/fts5.html#the_merge_command).
    """
    if connection.vendor != "sqlite":
        return
    pages = -MERGED  # negative: begin with all parts
    with connection.cursor() as cursor:
        for _ in range(MOST_MERGES):
            before = connection.connection.total_changes
            cursor.execute("INSERT INTO chat_search (chat_search, rank) VALUES ('merge', %s)", [pages])
            if connection.connection.total_changes - before < 2:
                return
            pages = MERGED
