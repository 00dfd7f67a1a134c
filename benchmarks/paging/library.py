"""Parley with years of conversations, in a process of its own: fills a database, and asks for pages from within.

Rows are written as the databases like them best, many at once, each a copy of one that Django would write.
"""

import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.db import connection, models, transaction  # noqa: E402 - models exist once Django is set up
from django.test import Client  # noqa: E402

from benchmarks.paging.answers import write_answer  # noqa: E402
from benchmarks.relaying.control import serve_plainly  # noqa: E402
from chat.markdown import render  # noqa: E402
from chat.models import Conversation, Message, SearchEntry, User  # noqa: E402
from chat.words import words_of  # noqa: E402
from predictions import clock  # noqa: E402
from predictions.models import Model, Prediction, Provider, Version  # noqa: E402
from tests.fake_replicate import CHAT_SCHEMA  # noqa: E402

BATCH = 10_000  # messages that are written at once
TIMES = 5  # that a page is asked for; the best counts: other work on the machine only adds
WORDS = 50_000  # that there are; the most frequent one is in nearly every message
SENTENCES = 20_000
UNIQUE = 10  # of so many messages one has a word that no other has
SECONDS = 600  # between two conversations
INDEX = "chat_searchentry_vector"

Row = list[Any]


def fill_long(username: str, messages: int) -> str:
    """Give somebody a conversation of so many messages; return its id."""
    chance = _chance()
    answers = [write_answer(chance.randint(300, 2_500), seed=number) for number in range(20)]
    pages = [render(answer) for answer in answers]
    writer = Writer()
    conversation = Conversation(owner=User.objects.get(username=username), title="A long one", model=_model())
    texts = [answers[number // 2 % 20] if number % 2 else f"And number {number}?" for number in range(messages)]
    writer.add(
        conversation, texts, htmls=["" if number % 2 == 0 else pages[number // 2 % 20] for number in range(messages)]
    )
    writer.write()
    return str(conversation.pk)


def fill_library(conversations: int, messages: int, others: int) -> dict[str, str]:
    """Give half of the messages to alice, in so many conversations, and the rest to so many others in as many.

    Return what to look for, by what it is.
    """
    chance, now = _chance(), clock.now()
    words = _vocabulary()
    sentences = [_sentence(chance, words) for _ in range(SENTENCES)]
    alice = User.objects.create_user("alice")
    people = User.objects.bulk_create([User(username=f"person{number}") for number in range(others)])
    writer, unique = Writer(), ""
    with _quick_inserts():
        for number, person in itertools.product(range(conversations), (alice, None)):
            owner = person or people[number % others]
            texts = [_text(chance, sentences, place) for place in range(messages // conversations // 2)]
            unique = unique if person is None else texts[0].split()[0]
            began = now - timedelta(seconds=SECONDS * (conversations - number))
            title = " ".join(chance.choice(sentences).split()[:6])
            writer.add(
                Conversation(owner=owner, title=title, model=_model(), updated_at=began, created_at=began), texts
            )
        writer.write()
    common, frequent = words[100], words[0]
    return {
        "a word of one message": unique,
        "a word of few messages": words[20_000],
        "a word of many messages": common,
        "a word of nearly all messages": frequent,
        "two words of nearly all messages": f"{frequent} {words[1]}",
        "a frequent and a rare word": f"{frequent} {words[20_000]}",
        "two rare words that never meet": f"{words[30_000]} {words[30_001]}",
        "two words in a row": f'"{frequent} {words[1]}"',
        "the beginning of frequent words": frequent[:3],
        "four letters of frequent words": words[40][:4],
        "sixteen words": " ".join(words[:16]),
        "no word there": "qqqqqq",
    }


def measure(username: str, paths: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return for each of the pages the milliseconds that the server takes for it, and its queries and bytes."""
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get(username=username))
    return {name: _measure(client, path) for name, path in paths.items()}


def _measure(client: Client, path: str) -> dict[str, float]:
    queries = Counter()
    with connection.execute_wrapper(queries):
        response = client.get(path)
    assert response.status_code == 200, f"{path}: {response.status_code}"
    best = min(_time(client, path) for _ in range(TIMES))
    return {"ms": best, "queries": queries.count, "kb": len(response.content) / 1000}


class Counter:
    """Counts what is asked of the database."""

    count = 0

    def __call__(self, execute: Callable[..., Any], *asked: Any) -> Any:  # as Django's wrappers are called
        self.count += 1
        return execute(*asked)


def _time(client: Client, path: str) -> float:
    begin = time.perf_counter()
    client.get(path)
    return (time.perf_counter() - begin) * 1000


# ---------------------------------------------------------------- rows


class Writer:
    """Writes conversations with their messages, predictions and words to search for, many at once."""

    def __init__(self) -> None:
        model = _model()
        version = model.versions.get()
        self._prediction = Template(
            Prediction(model=model, version=version, input={"prompt": "…"}, status="succeeded", metrics={})
        )
        self._conversation, self._message = Template(Conversation()), Template(Message())
        self._entry = Template(SearchEntry())
        self._rows: dict[Template, list[Row]] = {}
        self.clear()

    def clear(self) -> None:
        self._rows = {each: [] for each in (self._prediction, self._conversation, self._message, self._entry)}

    def add(self, conversation: Conversation, texts: list[str], htmls: Iterable[str] = itertools.repeat("")) -> None:
        """Add a question, an answer, a question …, the one a child of the other."""
        at, owner = conversation.updated_at, conversation.owner_id
        conversation.read_ordinal = len(texts)
        self._rows[self._conversation].append(self._conversation.row_of(conversation))
        parent = None
        for ordinal, (text, html) in enumerate(zip(texts, htmls, strict=False), 1):
            key, answer = uuid.uuid4(), None
            if ordinal % 2 == 0:
                answer = uuid.uuid4()
                done = {"created_at": at, "completed_at": at, "first_output_at": at, "asked_at": at}
                self._rows[self._prediction].append(self._prediction.row(id=answer, user_id=owner, output=text, **done))
            row = self._message.row(
                id=key, conversation_id=conversation.pk, parent_id=parent, ordinal=ordinal, html=html, created_at=at,
                role="user" if answer is None else "assistant", prediction_id=answer, text="" if answer else text,
            )  # fmt: skip
            self._rows[self._message].append(row)
            self._rows[self._entry].append(
                self._entry.row(message_id=key, owner_id=owner, words=" ".join(words_of(text)))
            )
            parent = key
        if len(self._rows[self._message]) > BATCH:
            self.write()

    @transaction.atomic
    def write(self) -> None:
        for template in (self._conversation, self._prediction, self._message, self._entry):
            template.insert(self._rows[template])
        self.clear()


class Template:
    """A row of a model with its defaults, of which others are copies."""

    def __init__(self, instance: models.Model) -> None:
        meta = instance._meta  # noqa: SLF001 - Django's own name for what everybody may read
        self._table = meta.db_table
        self._fields = {
            field.attname: field for field in meta.concrete_fields if not isinstance(field, models.AutoField)
        }
        self._places = {name: place for place, name in enumerate(self._fields)}
        self._row = [self._prepare(name, field.pre_save(instance, True)) for name, field in self._fields.items()]

    def row(self, **values: Any) -> Row:  # whatever its fields take
        row = self._row.copy()
        for name, value in values.items():
            row[self._places[name]] = self._prepare(name, value)
        return row

    def row_of(self, instance: models.Model) -> Row:
        return [self._prepare(name, getattr(instance, name)) for name in self._fields]

    def insert(self, rows: list[Row]) -> None:
        columns = ", ".join(f'"{field.column}"' for field in self._fields.values())
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {self._table} ({columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            else:
                places = ", ".join("?" * len(self._fields))
                sql = f"INSERT INTO {self._table} ({columns}) VALUES ({places})"  # noqa: S608 - of the models' own names
                cursor.connection.executemany(sql, rows)

    def _prepare(self, name: str, value: Any) -> Any:
        return self._fields[name].get_db_prep_save(value, connection)


@contextmanager
def _quick_inserts() -> Iterator[None]:
    """Make PostgreSQL's index of the words at the end, and have it look at the tables as it does by itself in time."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [INDEX])
        [made] = cursor.fetchone()
        cursor.execute(f"DROP INDEX {INDEX}")
        yield
        cursor.execute(made)
        cursor.execute("VACUUM ANALYZE")


def _model() -> Model:
    if (model := Model.objects.first()) is None:
        provider = Provider.objects.create(slug="host", name="Host", kind="replicate", base_url="http://127.0.0.1:9/v1")
        model = Model.objects.create(provider=provider, ref="meta/llama", slug="llama", name="Llama", is_official=True)
        Version.objects.create(model=model, identifier="", openapi_schema=dict(CHAT_SCHEMA))
    return model


# ---------------------------------------------------------------- words


def _chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - nothing is kept secret with it


def _vocabulary() -> list[str]:
    """Return words of syllables, so that many begin alike, the shortest first."""
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    long = itertools.chain(*(itertools.product(syllables, repeat=count) for count in (2, 3)))
    words = ["".join(parts) for parts in itertools.islice(long, 3 * WORDS)]
    return _chance().sample(words, WORDS)


def _sentence(chance: random.Random, words: list[str]) -> str:
    # Zipf's law: the word of rank n comes 1/n times as often as the first.
    return " ".join(words[int(WORDS ** chance.random()) - 1] for _ in range(12)).capitalize() + "."


def _text(chance: random.Random, sentences: list[str], place: int) -> str:
    own = f"{chance.getrandbits(40):x} " if chance.randrange(UNIQUE) == 0 or place == 0 else ""
    return own + " ".join(chance.choices(sentences, k=7 if place % 2 else 2))


if __name__ == "__main__":
    serve_plainly({"fill_long": fill_long, "fill_library": fill_library, "measure": measure})
