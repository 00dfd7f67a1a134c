"""The database as an onlooker sees it: SQL of its own, so that the product's code is not its own judge."""

import sqlite3
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.harness.history import TERMINAL, LateChange, Row

BUSY_TIMEOUT = 20.0  # seconds

STORED = """
    SELECT p.status, p.edition, p.output_end, max(c."offset" + length(c.text))
    FROM predictions_prediction p LEFT JOIN predictions_outputchunk c ON c.prediction_id = p.id
    WHERE p.id = ? GROUP BY p.id, p.status, p.edition, p.output_end
"""
ROWS = """
    SELECT p.id, a.conversation_id, a.parent_id, u.username, p.status, p.output, p.output_end, p.edition, p.error,
           p.provider_id, p.losses
    FROM predictions_prediction p JOIN chat_message a ON a.prediction_id = p.id JOIN chat_user u ON u.id = p.user_id
    ORDER BY p.created_at
"""
CHUNKS = 'SELECT prediction_id, "offset", text FROM predictions_outputchunk ORDER BY prediction_id, "offset"'
UNANSWERED = """
    SELECT a.parent_id FROM predictions_prediction p JOIN chat_message a ON a.prediction_id = p.id
    WHERE p.status NOT IN ('succeeded', 'failed', 'canceled', 'aborted')
"""
TOUCHED = """
    SELECT count(*) FROM predictions_prediction
    WHERE status NOT IN ('succeeded', 'failed', 'canceled', 'aborted')
    AND (worker_id IS NOT NULL OR asked_at IS NOT NULL)
"""
HOLDERS = """
    SELECT w.name FROM predictions_prediction p JOIN predictions_worker w ON w.id = p.worker_id
    WHERE p.status IN ('starting', 'processing')
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """How much of an answer is kept."""

    status: str
    edition: int
    end: int

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


class Database:
    """One connection that threads share; `address` is a path, or the URL of a PostgreSQL database."""

    def __init__(self, address: str) -> None:
        self._lock = threading.Lock()
        self._is_sqlite = "://" not in address
        self._connection: Any = (
            sqlite3.connect(address, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            if self._is_sqlite
            else psycopg.connect(address, autocommit=True)
        )

    def close(self) -> None:
        self._connection.close()

    def stored(self, prediction: str) -> Stored:
        [(status, edition, output_end, end)] = self.read(STORED, self._key(prediction))
        return Stored(status, edition, output_end if status in TERMINAL else end or 0)

    def rows(self) -> list[Row]:
        chunks: dict[str, list[tuple[int, str]]] = {}
        for prediction, offset, text in self.read(CHUNKS):
            chunks.setdefault(_name(prediction), []).append((offset, text))
        return [
            Row(_name(key), _name(conversation), _name(question), *rest, tuple(chunks.get(_name(key), ())))
            for key, conversation, question, *rest in self.read(ROWS)
        ]

    def answer_of(self, prediction: str) -> str:
        """The id of the message that shows a prediction."""
        [(key,)] = self.read("SELECT id FROM chat_message WHERE prediction_id = ?", self._key(prediction))
        return _name(key)

    def question_of(self, answer: str) -> str:
        """The id of the message that another one answers."""
        [(key,)] = self.read("SELECT parent_id FROM chat_message WHERE id = ?", self._key(answer))
        return _name(key)

    def late_changes(self) -> list[LateChange]:
        rows = self.read("SELECT prediction, earlier, later FROM harness_late_change")
        return [LateChange(_name(prediction), earlier, later) for prediction, earlier, later in rows]

    def unanswered(self) -> set[str]:
        """The ids of the questions whose answer has not ended."""
        return {_name(key) for (key,) in self.read(UNANSWERED)}

    def is_untouched(self) -> bool:
        """Whether no worker has claimed anything that has not ended."""
        [(count,)] = self.read(TOUCHED)
        return bool(count == 0)

    def holders(self) -> set[int]:
        """The process ids of the workers that hold leases of what is not finished, live or lapsed."""
        return {int(name.rpartition(":")[2]) for (name,) in self.read(HOLDERS)}

    def read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            cursor = self._connection.execute(sql if self._is_sqlite else sql.replace("?", "%s"), values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _key(self, name: str) -> Any:
        return uuid.UUID(name).hex if self._is_sqlite else uuid.UUID(name)


def _name(key: Any) -> str:
    return str(uuid.UUID(str(key)))
