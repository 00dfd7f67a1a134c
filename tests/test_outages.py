"""Redis and the database away, slow, full or locked while answers run: what people see, and what is kept.

Processes as in life: a web and a worker, over a PostgreSQL and a Valkey that the tests crash and start again, with a
proxy before each. `ROWS` says which tests show a row of the table of faults from F30 on, as far as Python shows it.
"""

import hashlib
import importlib
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from django.db import OperationalError, connection, connections
from django.db.backends.signals import connection_created
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from chat.middleware import NOT_REACHED, NOT_SAVED, TEXT_NOT_SAVED
from chat.models import AlreadyAnswering, Conversation, Message, User
from predictions.batch import Batch, write_batch
from predictions.database import is_disk_full
from predictions.follow import stored_text
from predictions.models import Model, Prediction, Worker
from predictions.redis_bus import CHANNEL, REDIS_TIMEOUT
from tests.browser import chromium
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import FakeReplicate, Gate, Script
from tests.prepared import static
from tests.proxy import FaultyProxy, Toxic
from tests.services import restartable_postgres, restartable_valkey
from tests.site import Site
from tests.test_processes import Fleet, free_port
from tests.test_runs import ask
from tests.waiting import WAIT_LIMIT, wait_until
from tests.websocket import CLOSE, TEXT, WebSocket

PROJECT = Path(__file__).parent.parent
HERE = f"{__name__}::test_"
BROWSER, CLOCK, CONDITION, JOURNAL, NEWS, OUTGOING, PROCESSES, RACES, SERVER, SOCKET, WATCHDOG = (
    f"tests.test_{name}::test_"
    for name in (
        *("browser", "clock", "condition", "journal", "news_over_http", "outgoing"),
        *("processes", "races", "server", "socket", "watchdog"),
    )
)
ROWS = {
    "F30": [BROWSER + "a_crash_in_mid_answer_costs_a_pause_and_nothing_else"],
    "F31": [PROCESSES + "an_answer_survives_the_worker_that_wrote_it"],
    "F32": [
        JOURNAL + "a_worker_that_lost_its_lease_writes_nothing",
        JOURNAL + "who_was_stopped_for_a_while_asks_the_database_before_the_host",
    ],
    "F33": [PROCESSES + "an_answer_survives_the_worker_that_wrote_it"],  # the system kills as `kill -9` does
    "F34": [WATCHDOG + "what_holds_a_loop_up_is_named_once"],
    "F35": [
        SERVER + "browsers_are_sent_elsewhere_before_it_ends",
        SERVER + "a_request_that_runs_is_answered_to_its_end",
    ],
    "F36": [
        HERE + "f36_without_redis_from_the_start_everything_is_told",
        HERE + "f36_a_redis_that_dies_takes_nothing_with_it",
        HERE + "f36_several_processes_without_redis_tell_the_same",
    ],
    "F37": [
        HERE + "f37_a_redis_that_restarts_again_and_again_is_not_noticed",
        HERE + "f37_a_redis_that_forgets_everything_is_not_noticed",
    ],
    "F38": [HERE + "f38_a_redis_that_answers_nothing_holds_up_neither_answers_nor_questions"],
    "F39": [
        HERE + "f39_an_answer_outlives_a_database_that_crashes_in_its_midst",
        HERE + "f39_an_answer_is_not_failed_because_the_database_is_away",
        HERE + "f39_without_a_database_every_page_says_so_in_words",
        HERE + "f39_a_refused_text_stays_in_the_box",
        HERE + "f39_a_worker_ends_when_it_is_told_to_although_the_database_is_away",
    ],
    "F40": [
        HERE + "f40_a_commit_that_is_cut_off_anywhere_is_written_once",
        JOURNAL + "a_commit_whose_answer_got_lost_is_written_once",
    ],
    "F41": [
        HERE + "f41_a_locked_database_is_waited_for",
        HERE + "f41_a_database_that_stays_locked_refuses_in_words",
    ],
    "F42": [HERE + "f42_a_full_disk_refuses_in_words_and_loses_nothing"],
    "F43": [
        HERE + "f43_whatever_people_do_at_once_is_never_refused_as_a_deadlock",
        HERE + "f43_the_same_over_postgresql",
        RACES + "questions_that_arrive_at_once_have_one_order",
    ],
    "F44": [
        HERE + "f44_an_answer_goes_on_after_everything_lost_its_power",
        HERE + "f44_a_sqlite_database_without_its_last_writes_goes_on_from_what_is_there",
    ],
    "F45": [
        BROWSER + "a_reload_in_mid_answer_goes_on_where_it_stood",
        SOCKET + "a_tab_that_comes_back_gets_what_it_lacks",
    ],
    "F46": [BROWSER + "a_page_that_slept_catches_up", BROWSER + "a_page_that_was_offline_catches_up"],
    "F47": [BROWSER + "a_connection_that_is_dead_without_a_word_is_noticed"],
    "F48": [
        BROWSER + "stop_keeps_what_was_seen_in_every_tab",
        SOCKET + "two_tabs_and_a_late_one_read_the_same",
    ],
    "F49": [
        RACES + "a_first_message_that_is_sent_many_times_at_once_is_one",
        HERE + "f39_without_a_database_every_page_says_so_in_words",
    ],
    "F50": [
        SERVER + "a_socket_is_sent_as_fast_as_it_is_read",
        SERVER + "a_file_is_sent_as_fast_as_it_is_read",
    ],
    "F52": [
        BROWSER + "who_is_signed_out_where_sockets_are_blocked_is_sent_to_sign_in",
        SOCKET + "who_is_not_signed_in_is_sent_away",
    ],
    "F53": [
        CLOCK + "a_machine_whose_clock_is_wrong_leaves_the_others_predictions_alone",
        CLOCK + "a_machine_whose_clock_is_wrong_gives_leases_of_the_right_length",
    ],
    "F54": [
        NEWS + "an_event_stream_tells_an_answer_as_it_is_written",
        NEWS + "polls_tell_an_answer_and_wait_while_there_is_nothing_new",
    ],
    "F55": [
        CONDITION + "a_host_in_trouble_is_left_in_peace_then_tried_with_one_question_until_it_takes_it",
        CONDITION + "a_host_in_trouble_gets_one_question_at_a_time",
    ],
    "F56": [
        OUTGOING + "streams_that_are_cancelled_twice_cost_no_connection",
        OUTGOING + "whatever_is_cancelled_at_any_await_costs_no_connection",
    ],
}

LATER = "UPDATE predictions_prediction SET leased_until = '2000-01-01 00:00:00' WHERE leased_until IS NOT NULL"
START_LIMIT = 120.0  # seconds; two are usual
PASSWORD = "a long enough phrase"


def test_every_row_is_shown_by_a_test_that_exists() -> None:
    for name in itertools.chain.from_iterable(ROWS.values()):
        module, _, function = name.partition("::")
        assert callable(getattr(importlib.import_module(module), function, None)), name


def test_every_test_of_a_row_is_listed_under_it() -> None:
    assert list(ROWS) == sorted(ROWS, key=lambda row: int(row[1:]))
    assert all(ROWS.values())
    for test in filter(re.compile(r"test_f\d\d_").match, globals()):
        assert f"{__name__}::{test}" in ROWS[f"F{test[6:8]}"], test


# ---------------------------------------------------------------- people


class Reader(threading.Thread):
    """A page that follows one answer: after every loss it connects anew and says what it has."""

    def __init__(self, port: int, cookies: str, prediction: str) -> None:
        super().__init__(name="reader", daemon=True)
        self.text = ""
        self.edition = 0
        self.html = ""  # the whole message, once it has ended
        self.status = ""
        self._port = port
        self._cookies = cookies
        self._prediction = prediction
        self._has_end = 0
        self._over = threading.Event()
        self._problem: BaseException | None = None
        self.start()

    def run(self) -> None:
        end = time.monotonic() + START_LIMIT
        try:
            while not self._over.is_set() and time.monotonic() < end:
                with suppress(OSError, EOFError):
                    self._listen()
                self._over.wait(0.1)
        except BaseException as error:
            self._problem = error

    def has(self, text: str) -> bool:
        assert self._problem is None, self._problem
        assert text.startswith(self.text), f"shown {self.text!r} instead of {text!r}"
        return self.text == text

    def finish(self) -> None:
        """Wait for the end."""
        wait_until(lambda: self._over.is_set() or self._problem, limit=START_LIMIT)
        self.join(WAIT_LIMIT)
        assert self._problem is None, self._problem

    def leave(self) -> None:
        self._over.set()

    def _listen(self) -> None:
        with WebSocket(self._port, "/socket/", {"Cookie": self._cookies}) as socket:
            if socket.status != 101:
                return
            self._follow(socket)
            while not self._over.is_set():
                kind, content = socket.receive()
                if kind == CLOSE:
                    return
                if kind == TEXT:
                    self._take(socket, json.loads(content))

    def _follow(self, socket: WebSocket) -> None:
        frame = {"type": "follow", "prediction": self._prediction, "edition": self.edition, "after": self._has_end}
        socket.send(json.dumps(frame))

    def _take(self, socket: WebSocket, frame: dict[str, Any]) -> None:
        match frame.get("type"):
            case "output" if frame["edition"] != self.edition:
                assert frame["offset"] == 0, frame
                self.edition, self.text, self._has_end = frame["edition"], frame["text"], frame["end"]
            case "output" if frame["end"] > self._has_end:
                if frame["offset"] != self._has_end:
                    self._follow(socket)
                    return
                self.text, self._has_end = self.text + frame["text"], frame["end"]
            case "ended":
                self.html, self.status = frame["html"], frame["status"]
                self._over.set()
            case "refused":
                raise AssertionError(frame)


class Browser:
    """Somebody who is signed in, at one web process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT_LIMIT)

    def set_up(self, token: str) -> None:
        """Become the first admin."""
        path = f"/setup/{token}/"
        self.http.get(path)
        fields = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD}
        assert self.http.post(path, data=self.with_token(fields)).status_code == 302

    def at(self, port: int) -> "Browser":
        """The same person, at another web process."""
        other = Browser(port)
        other.http.cookies = self.http.cookies
        return other

    def with_token(self, fields: dict[str, str]) -> dict[str, str]:
        return {**fields, "csrfmiddlewaretoken": self.http.cookies["csrftoken"]}

    def fields(self, text: str) -> dict[str, str]:
        return self.with_token({"id": str(uuid.uuid4()), "text": text, "model": "meta-meta-llama-3-8b-instruct"})

    def send(self, fields: dict[str, str], path: str = "/conversations/") -> httpx.Response:
        return self.http.post(path, data=fields, headers={"Accept": "application/json"})

    def ask(self, text: str) -> "Question":
        answer = self.send(self.fields(text))
        assert answer.status_code == 201, answer.text
        return Question(self, text, answer.json()["url"])

    def read(self, prediction: str) -> Reader:
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        return Reader(self.port, cookies, prediction)

    def is_live(self) -> bool:
        with suppress(httpx.TransportError):
            return self.http.get("/health/live").status_code == 200
        return False


class Question:
    """One question, and who reads along."""

    def __init__(self, browser: Browser, text: str, url: str) -> None:
        self.browser = browser
        self.text = text
        self.url = url
        self.reader = browser.read(self.prediction)

    @cached_property
    def prediction(self) -> str:
        found = re.search(r' prediction="([0-9a-f-]+)"', self.page())
        assert found
        return found[1]

    def page(self) -> str:
        answer = self.browser.http.get(self.url)
        assert answer.status_code == 200, answer.text
        return answer.text


class Town:
    """The processes, what they stand on, and one person."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.fake = stack.enter_context(FakeReplicate())
        self.postgres = stack.enter_context(restartable_postgres())
        self.valkey = stack.enter_context(restartable_valkey())
        self.way_to_postgres = stack.enter_context(FaultyProxy(self.postgres.port))  # the worker's
        self.way_to_redis = stack.enter_context(FaultyProxy(self.valkey.port))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "DJANGO_"))},
            "DATABASE_URL": self.postgres.url,
            "PARLEY_DATA_DIR": str(folder),
            "PARLEY_STATIC_DIR": static(),
            "PARLEY_REPLICATE_URL": self.fake.url,
            "PARLEY_REPLICATE_MODELS": "meta/meta-llama-3-8b-instruct",
            "REPLICATE_API_TOKEN": self.fake.token,
        }
        environment.pop("REDIS_URL", None)
        self._stack = stack
        self._environment = environment
        assert self.fleet().manage("prepare").wait(START_LIMIT) == 0
        self.execute("CREATE DATABASE lonely TEMPLATE parley")
        self.valkey.crash()
        self.start_web()
        self.start_worker()
        wait_until(self.alice.is_live, limit=START_LIMIT)
        wait_until(self.is_ready, limit=START_LIMIT)
        self.alice.set_up(self.make_token())

    def fleet(self, **more: str) -> Fleet:
        return Fleet(self._stack, {**self._environment, **more})

    def start_web(self) -> None:
        port = free_port()
        self.web = self.fleet(REDIS_URL=self._redis).manage("web", "--port", str(port))
        self.alice = Browser(port)
        self._stack.callback(self.alice.http.close)

    def start_worker(self) -> None:
        postgres = self.postgres.url.replace(str(self.postgres.port), str(self.way_to_postgres.port))
        self.worker = self.fleet(REDIS_URL=self._redis, DATABASE_URL=postgres).manage("runpredictions")

    @property
    def _redis(self) -> str:
        return f"redis://127.0.0.1:{self.way_to_redis.port}/0"

    def make_token(self, database: str = "parley") -> str:
        token = uuid.uuid4().hex
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.execute("INSERT INTO chat_setuptoken (id, digest) VALUES (1, %s)", digest, database=database)
        return token

    def execute(self, sql: str, *values: str, database: str = "parley") -> Any:
        """Run one statement behind everybody's back; return the first value, if there is one."""
        with psycopg.connect(self.postgres.url.replace("/parley", f"/{database}"), autocommit=True) as link:
            cursor = link.execute(sql, values)  # type: ignore[call-overload]
            row = cursor.fetchone() if cursor.description else None
        return row and row[0]

    def stored(self, question: Question) -> str:
        """What of an answer is in the database by now."""
        chunks = "SELECT string_agg(text, '' ORDER BY \"offset\") FROM predictions_outputchunk WHERE prediction_id = %s"
        row = "SELECT output FROM predictions_prediction WHERE id = %s"
        return str(self.execute(row, question.prediction) or self.execute(chunks, question.prediction) or "")

    def is_ready(self, database: str = "parley") -> bool:
        """Whether a worker runs and has asked for the model's version."""
        return bool(self.execute("SELECT 1 FROM predictions_version WHERE is_described", database=database))

    def hears_hints(self) -> bool:
        """Whether web and worker are both connected to Redis."""
        with suppress(redis.RedisError), redis.Redis.from_url(self.valkey.url) as client:
            return dict(client.pubsub_numsub(CHANNEL))[CHANNEL.encode()] == 2
        return False

    def check(self, question: Question, text: str, *, database: str = "parley") -> None:
        """Wait for the end; whoever read along, the page and the row have the very text, which was asked for once."""
        question.reader.finish()
        row = "SELECT status || '|' || edition || '|' || output FROM predictions_prediction WHERE id = %s"
        assert self.execute(row, question.prediction, database=database) == f"succeeded|0|{text}"
        assert text.startswith(question.reader.text)
        assert (question.reader.status, question.reader.edition) == ("succeeded", 0)
        assert question.reader.html.strip() in question.page()
        [created] = created_for(self.fake, question.text)
        assert not created.is_running


def created_for(fake: FakeReplicate, text: str) -> list[Any]:
    return [created for created in fake.ledger.created if text in created.body["input"]["prompt"]]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Everything runs; web and worker were started, and the first question answered, while there was no Redis."""
    with ExitStack() as stack:
        town = Town(stack, tmp_path_factory.mktemp("town"))
        town.fake.script(Script(steps=["With", "out ", "Redis."]))
        town.first = town.alice.ask("The first question")
        town.first.reader.finish()
        town.valkey.start()
        wait_until(town.hears_hints, limit=START_LIMIT)
        yield town


def pieces(count: int) -> tuple[list[str], list[Gate], str]:
    """Return pieces of a text, a gate after each of them, and the whole text."""
    words = [f"Wort {n} 👩‍🚀 ü " for n in range(count)]
    return words, [Gate() for _ in words], "".join(words)


def scripted(words: list[str], gates: list[Gate]) -> Script:
    return Script(steps=[step for pair in zip(words, gates, strict=True) for step in pair])


# ---------------------------------------------------------------- Redis


def test_f36_without_redis_from_the_start_everything_is_told(town: Town) -> None:
    town.check(town.first, "Without Redis.")


def test_f36_a_redis_that_dies_takes_nothing_with_it(town: Town) -> None:
    words, gates, whole = pieces(2)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("Redis dies")
    wait_until(lambda: question.reader.has(words[0]))
    town.valkey.crash()
    try:
        for n, gate in enumerate(gates):
            wait_until(lambda n=n: question.reader.has("".join(words[: n + 1])))
            gate.open()
        town.check(question, whole)
    finally:
        town.valkey.start()
    wait_until(town.hears_hints)


def test_f37_a_redis_that_restarts_again_and_again_is_not_noticed(town: Town) -> None:
    words, gates, whole = pieces(4)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("Redis restarts")
    for n, gate in enumerate(gates):
        wait_until(lambda n=n: question.reader.has("".join(words[: n + 1])))
        town.valkey.crash()
        town.valkey.start()
        gate.open()

    town.check(question, whole)
    wait_until(town.hears_hints)


def test_f37_a_redis_that_forgets_everything_is_not_noticed(town: Town) -> None:
    words, gates, whole = pieces(3)
    town.fake.script(scripted(words, gates))
    with redis.Redis.from_url(town.valkey.url) as client:
        question = town.alice.ask("Redis forgets")
        wait_until(lambda: question.reader.has(words[0]))
        client.flushall()
        gates[0].open()
        wait_until(lambda: question.reader.has(words[0] + words[1]))
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "2mb")
        for n in range(100):
            client.set(f"key {n}", "x" * 65_536)
        assert client.info("stats")["evicted_keys"] > 0
        gates[1].open()
        gates[2].open()

        town.check(question, whole)
        client.config_set("maxmemory", "0")
        client.flushall()
    wait_until(town.hears_hints)


def test_f38_a_redis_that_answers_nothing_holds_up_neither_answers_nor_questions(town: Town) -> None:
    words, gates, whole = pieces(60)
    town.fake.script(scripted(words, gates))
    stuck = Gate()
    # A journal that waited for Redis at each commit would need twice as long.
    end = time.monotonic() + len(words) * REDIS_TIMEOUT / 2
    town.way_to_redis.spoil(Toxic(pause=stuck), "request")
    town.way_to_redis.spoil(Toxic(pause=stuck), "answer")
    try:
        question = town.alice.ask("Redis is silent")
        for n, gate in enumerate(gates):
            wait_until(lambda n=n: town.stored(question) == "".join(words[: n + 1]), limit=end - time.monotonic())
            gate.open()
        town.check(question, whole)
    finally:
        stuck.open()
        town.way_to_redis.heal()
    wait_until(town.hears_hints, limit=START_LIMIT)


def test_f36_several_processes_without_redis_tell_the_same(town: Town) -> None:
    words, gates, whole = pieces(2)
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        fleet = Fleet(
            stack, {**town.fleet().environment, "DATABASE_URL": town.postgres.url.replace("parley", "lonely")}
        )
        for port in ports:
            fleet.manage("web", "--port", str(port))
        fleet.manage("runpredictions")
        alice = Browser(ports[0])
        elsewhere = alice.at(ports[1])
        stack.callback(alice.http.close)
        stack.callback(elsewhere.http.close)
        wait_until(lambda: alice.is_live() and elsewhere.is_live(), limit=START_LIMIT)
        wait_until(lambda: town.is_ready("lonely"), limit=START_LIMIT)
        alice.set_up(town.make_token("lonely"))
        elsewhere.http.cookies = alice.http.cookies
        town.fake.script(scripted(words, gates))
        question = alice.ask("Nobody told me")
        other = elsewhere.read(question.prediction)
        for n, gate in enumerate(gates):
            wait_until(lambda n=n: question.reader.has("".join(words[: n + 1])))
            wait_until(lambda n=n: other.has("".join(words[: n + 1])))
            gate.open()

        town.check(question, whole, database="lonely")
        other.finish()
        assert other.html == question.reader.html


# ---------------------------------------------------------------- PostgreSQL


@contextmanager
def no_postgres(town: Town) -> Iterator[None]:
    """Within, PostgreSQL is down; it comes back with what it had."""
    town.postgres.crash()
    try:
        yield
    finally:
        town.postgres.start()
        wait_until(lambda: town.alice.http.get("/").status_code == 200, limit=START_LIMIT)


def test_f39_an_answer_outlives_a_database_that_crashes_in_its_midst(town: Town) -> None:
    words, gates, whole = pieces(6)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("The database crashes")
    wait_until(lambda: question.reader.has(words[0]))
    with no_postgres(town):
        for gate in gates[:4]:
            gate.open()
        gates[4].wait_reached()
    wait_until(lambda: question.reader.has("".join(words[:5])), limit=START_LIMIT)
    gates[4].open()
    gates[5].open()

    town.check(question, whole)


@pytest.mark.django_db(transaction=True)
def test_f39_an_answer_is_not_failed_because_the_database_is_away(
    model: Model, fake: FakeReplicate, no_look_at_versions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    fake.script(Script(steps=["Hel", gate, "lo"]))
    prediction = ask(model)
    with a_worker():
        wait_until(lambda: stored_text(prediction.pk) == "Hel")
    failures = [OperationalError("away")] * 5

    def read(key: uuid.UUID) -> str:
        if failures:
            raise failures.pop()
        return stored_text(key)

    monkeypatch.setattr("predictions.worker.stored_text", read)
    monkeypatch.setattr("predictions.database.PAUSES", (0.01, 0.01))
    with a_worker():
        wait_until(lambda: not failures)
        gate.open()
        ended(prediction)

    assert (prediction.status, prediction.output, prediction.error) == ("succeeded", "Hello", "")
    assert len(fake.ledger.created) == 1


@contextmanager
def a_worker() -> Iterator[None]:
    thread = WorkerThread()
    thread.start()
    try:
        yield
    finally:
        thread.stop()


def test_f39_without_a_database_every_page_says_so_in_words(town: Town) -> None:
    http = town.alice.http
    session = http.cookies["sessionid"]
    sent = town.alice.fields("Keep <this> text")
    stop = f"/messages/{uuid.uuid4()}/stop/"
    with no_postgres(town), ThreadPoolExecutor(4) as threads:
        asking: list[Future[httpx.Response]] = [
            threads.submit(http.get, "/"),
            threads.submit(http.post, "/conversations/", data=sent),
            threads.submit(town.alice.send, sent),
            threads.submit(town.alice.send, town.alice.with_token({}), stop),
        ]
        page, form, refused, stopped = answers = [future.result() for future in asking]

    assert [answer.status_code for answer in answers] == [503, 503, 503, 503]
    assert all(answer.headers["Retry-After"] == "5" for answer in answers)
    assert all(answer.headers["Cache-Control"] == "no-store, private" for answer in answers)
    assert NOT_REACHED in page.text
    assert TEXT_NOT_SAVED in form.text
    assert "Keep &lt;this&gt; text</textarea>" in form.text
    assert f'value="{sent["id"]}"' in form.text
    assert refused.json() == {"detail": TEXT_NOT_SAVED}
    assert stopped.json() == {"detail": NOT_SAVED}
    assert http.cookies["sessionid"] == session
    assert not town.execute("SELECT 1 FROM chat_message WHERE id = %s", sent["id"])

    town.fake.script(Script(steps=["Once."]))
    urls = {town.alice.send(sent).json()["url"] for _ in range(2)}
    town.check(Question(town.alice, "Keep <this> text", urls.pop()), "Once.")
    assert not urls


def test_f39_a_refused_text_stays_in_the_box(town: Town) -> None:
    town.fake.script(Script(steps=["Now it ", "is there."]))
    address = town.alice.http.base_url
    with chromium() as browser:
        context = browser.new_context(base_url=str(address))
        context.set_default_timeout(30_000)
        cookies = [
            {"name": name, "value": value, "url": str(address)} for name, value in town.alice.http.cookies.items()
        ]
        context.add_cookies(cookies)
        page = context.new_page()
        page.goto("/")
        box = page.get_by_role("textbox", name="Message")
        send = page.get_by_role("button", name="Send")
        box.fill("Stay where you are")
        with no_postgres(town):
            send.click()
            expect(page.get_by_role("alert").filter(has_text=TEXT_NOT_SAVED)).to_be_visible(timeout=30_000)
            expect(box).to_have_value("Stay where you are")
        send.click()

        expect(page.locator(".message--assistant")).to_contain_text("Now it is there.", timeout=30_000)
    assert len(created_for(town.fake, "Stay where you are")) == 1


CUTS = range(0, 160, 8)  # bytes of the answers to one commit's statements, of which there are about a hundred


def test_f40_a_commit_that_is_cut_off_anywhere_is_written_once(town: Town) -> None:
    words, gates, whole = pieces(len(CUTS) + 1)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("The line to the database breaks")
    for n, cut in enumerate(CUTS):
        wait_until(lambda n=n: question.reader.has("".join(words[: n + 1])))
        town.way_to_postgres.spoil_next(Toxic(cut_at=cut), on=b"BEGIN")
        gates[n].open()
        wait_until(lambda: town.way_to_postgres.pending == 0)
    wait_until(lambda: question.reader.has(whole))
    town.way_to_postgres.heal()
    gates[-1].open()

    town.check(question, whole)


def test_f44_an_answer_goes_on_after_everything_lost_its_power(town: Town) -> None:
    words, gates, whole = pieces(3)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("The power fails")
    wait_until(lambda: question.reader.has(words[0]))
    town.worker.kill()
    town.postgres.crash()
    town.valkey.crash()
    gates[0].open()
    town.postgres.start()
    town.valkey.start()
    assert town.stored(question) == words[0]
    town.execute(LATER)  # the power was away for longer than a lease
    town.start_worker()
    for gate in gates[1:]:
        gate.open()

    town.check(question, whole)
    wait_until(town.hears_hints, limit=START_LIMIT)


def test_f39_a_worker_ends_when_it_is_told_to_although_the_database_is_away(town: Town) -> None:
    words, gates, whole = pieces(2)
    town.fake.script(scripted(words, gates))
    question = town.alice.ask("The database dies, and the worker is replaced")
    wait_until(lambda: question.reader.has(words[0]))
    town.postgres.crash()
    town.worker.terminate()
    try:
        assert town.worker.wait(WAIT_LIMIT) == 0
    finally:
        town.postgres.start()
    town.start_worker()
    for gate in gates:
        gate.open()

    town.check(question, whole)


# ---------------------------------------------------------------- SQLite


@pytest.fixture
def page(client: Client, alice: User) -> Client:
    """A browser in which alice is signed in, and which is shown what went wrong."""
    client.force_login(alice)
    client.raise_request_exception = False
    return client


def fields(model: Model, text: str) -> dict[str, str]:
    return {"id": str(uuid.uuid4()), "text": text, "model": model.slug}


def send(page: Client, sent: dict[str, str]) -> Any:
    return page.post(reverse("chat:conversation_create"), sent, headers={"accept": "application/json"})


def begin(page: Client, model: Model, text: str) -> tuple[str, Prediction]:
    """Ask, and return the address of the conversation and the answer's prediction."""
    answer = send(page, fields(model, text))
    assert answer.status_code == 201, answer.content
    return answer.json()["url"], Prediction.objects.latest("created_at")


@contextmanager
def another_writer() -> Iterator[None]:
    """Within, somebody else holds SQLite's one lock for writing."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as link:
        link.execute("BEGIN IMMEDIATE")
        yield


def in_a_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_f41_a_locked_database_is_waited_for(
    page: Client, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    words, gates, whole = pieces(3)
    fake.script(scripted(words, gates), Script(steps=["Another."]))
    url, prediction = begin(page, model, "Hi")
    wait_until(lambda: stored_text(prediction.pk) == words[0])
    with ThreadPoolExecutor(1) as threads:
        with another_writer():
            for gate in gates:
                gate.open()
            fake.ledger.wait_for(lambda ledger: not ledger.running())
            asking = threads.submit(in_a_thread, send, page, fields(model, "And now?"))
            shown = page.get(url)
            assert (shown.status_code, words[0] in shown.content.decode()) == (200, True)
            assert stored_text(prediction.pk) == words[0]
        assert asking.result(WAIT_LIMIT).status_code == 201

    assert (ended(prediction).status, prediction.output) == ("succeeded", whole)
    assert ended(Prediction.objects.latest("created_at")).output == "Another."
    assert len(fake.ledger.created) == 2


@pytest.mark.django_db(transaction=True)
def test_f41_a_database_that_stays_locked_refuses_in_words(page: Client, model: Model) -> None:
    sent = fields(model, "Keep me")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    with another_writer():
        refused = send(page, sent)
        shown = page.get("/")
    connection.close()

    assert (refused.status_code, refused.json()) == (503, {"detail": TEXT_NOT_SAVED})
    assert shown.status_code == 200
    assert not Message.objects.exists()
    assert send(page, sent).status_code == 201


class Disk:
    """What SQLite's file stands on; while it is full, the file gets no more pages."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_gone = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.is_gone:
            # Fewer than there are means: as many as there are.
            context["connection"].connection.execute(f"PRAGMA max_page_count = {1 if self.is_full else 2**30}")
        return execute(sql, params, many, context)

    def watch(self, connection: Any, **_: Any) -> None:
        if self not in connection.execute_wrappers:
            connection.execute_wrappers.append(self)


@pytest.fixture
def disk(transactional_db: None) -> Iterator[Disk]:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # what earlier tests have left free is room too
    disk = Disk()
    disk.watch(connection)
    connection_created.connect(disk.watch)
    yield disk
    disk.is_gone = True
    connection_created.disconnect(disk.watch)


@pytest.fixture
def disk_of_a_worker(disk: Disk, worker: WorkerThread) -> Disk:
    """In this order: each connection of the worker is watched."""
    return disk


@pytest.mark.django_db(transaction=True)
def test_f42_a_full_disk_refuses_in_words_and_loses_nothing(
    disk_of_a_worker: Disk, page: Client, model: Model, fake: FakeReplicate, caplog: pytest.LogCaptureFixture
) -> None:
    disk, words, gates = (
        disk_of_a_worker,
        ["It begins. ", "More and more. " * 20_000, "It ends."],
        [Gate() for _ in "123"],
    )
    whole = "".join(words)
    fake.script(scripted(words, gates), Script(steps=["There is room."]))
    url, prediction = begin(page, model, "Hi")
    wait_until(lambda: stored_text(prediction.pk) == words[0])
    disk.is_full = True
    for gate in gates:
        gate.open()
    wait_until(lambda: "database or disk is full" in caplog.text)
    sent = fields(model, "long " * 6_000)
    refused, shown = send(page, sent), page.get(url)
    assert (refused.status_code, refused.json()) == (503, {"detail": TEXT_NOT_SAVED})
    assert "the disk of its database is full" in caplog.text
    assert (shown.status_code, "<template>It begins. </template>" in shown.content.decode()) == (200, True)
    assert not Message.objects.filter(pk=sent["id"]).exists()
    assert Prediction.objects.get(pk=prediction.pk).status == "processing"
    disk.is_full = False

    assert (ended(prediction).status, prediction.output) == ("succeeded", whole)
    assert send(page, sent).status_code == 201
    assert ended(Prediction.objects.latest("created_at")).output == "There is room."
    assert len(fake.ledger.created) == 2


def test_a_full_disk_of_postgresql_is_known_as_such() -> None:
    full, away = OperationalError("full"), OperationalError("away")
    full.__cause__, away.__cause__ = psycopg.errors.DiskFull(), psycopg.errors.AdminShutdown()

    assert (is_disk_full(full), is_disk_full(away)) == (True, False)


def test_f44_a_sqlite_database_without_its_last_writes_goes_on_from_what_is_there(tmp_path: Path) -> None:
    words, gates, whole = pieces(8)
    with FakeReplicate() as fake, ExitStack() as stack:
        fake.script(scripted(words, gates))
        environment = {
            "REPLICATE_API_TOKEN": fake.token,
            "PARLEY_REPLICATE_URL": fake.url,
            "PARLEY_REPLICATE_MODELS": "meta/meta-llama-3-8b-instruct",
        }
        before, after = tmp_path / "before", tmp_path / "after"
        before.mkdir()
        with Site(before, environment) as site:
            alice = Browser(site.port)
            stack.callback(alice.http.close)
            alice.set_up(site.address.rstrip("/").rpartition("/")[2])
            wait_until(lambda: "meta-meta-llama" in alice.http.get("/").text)
            question = alice.ask("The power fails")
            wait_until(lambda: question.reader.has(words[0]))
            with closing(sqlite3.connect(before / "data" / "db.sqlite3")) as link:
                wait_until(lambda: link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
            for n, gate in enumerate(gates[:5]):
                gate.open()
                wait_until(lambda n=n: question.reader.has("".join(words[: n + 2])))
            os.kill(site.process.pid, signal.SIGSTOP)
            shutil.copytree(before / "data", after / "data")
            question.reader.leave()
            site.kill()
        log = after / "data" / "db.sqlite3-wal"
        os.truncate(log, log.stat().st_size // 2 | 1)  # in the midst of a page

        with Site(after, environment) as site, closing(sqlite3.connect(after / "data" / "db.sqlite3")) as link:
            kept = "SELECT group_concat(text, '') FROM (SELECT text FROM predictions_outputchunk ORDER BY \"offset\")"
            stored = link.execute(kept).fetchone()[0]
            assert words[0] in stored
            assert whole.startswith(stored)
            assert len(stored) < len("".join(words[:6]))
            with link:
                link.execute(LATER)
            alice = alice.at(site.port)
            stack.callback(alice.http.close)
            reader = alice.read(question.prediction)
            for gate in gates[5:]:
                gate.open()
            reader.finish()

            assert link.execute("SELECT status, edition, output FROM predictions_prediction").fetchall() == [
                ("succeeded", 0, whole)
            ]
            assert reader.html.strip() in alice.http.get(question.url).text
        assert len(fake.ledger.created) == 1


# ---------------------------------------------------------------- at once

ROUNDS = 4


@pytest.mark.django_db(transaction=True)
def test_f43_whatever_people_do_at_once_is_never_refused_as_a_deadlock(alice: User, model: Model) -> None:
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    answer = conversation.branch()[-1]
    Prediction.objects.bulk_create(Prediction(model=model, user=alice, input={}) for _ in range(10))
    workers = [Worker.objects.create(name=name) for name in ("one", "two")]
    # As two workers see it of which one was silent for too long.
    held = list(Prediction.objects.values_list("pk", flat=True))

    def end_all() -> None:
        for key in Prediction.objects.filter(message__conversation=conversation).values_list("pk", flat=True):
            Prediction.objects.filter(pk=key).update(status="failed")  # two who ended all at once would be a deadlock

    def claim(worker: Worker) -> None:
        Prediction.objects.filter(pk__in=held).update(leased_until=timezone.now())
        Prediction.objects.claim(worker, limit=10)

    people: dict[str, Callable[[int], Any]] = {
        "ask": lambda n: conversation.ask("And now?", message_id=uuid.uuid4(), model=model),
        "stop": lambda n: Prediction.objects.get(pk=held[n]).request_cancel(),
        "retry": lambda n: conversation.answer_again(answer),
        "end": lambda n: end_all(),
    }
    machines: dict[str, Callable[[int], Any]] = {
        "claim": lambda n: claim(workers[n % 2]),
        "commit": lambda n: write_batch(workers[n % 2].pk, held, Batch([], [])),
    }
    for pair in itertools.combinations_with_replacement({**people, **machines}, 2):
        problems = at_once([({**people, **machines}[name], name in people) for name in pair])
        assert problems == [], pair


def at_once(commands: list[tuple[Callable[[int], Any], bool]]) -> list[BaseException]:
    """Run each command in two threads, some rounds of them; return what people would see go wrong."""
    start = threading.Barrier(2 * len(commands))

    def run(command: Callable[[int], Any], is_peoples: bool) -> list[BaseException]:
        problems: list[BaseException] = []
        start.wait(WAIT_LIMIT)
        for n in range(ROUNDS):
            try:
                command(n)
            except AlreadyAnswering:
                continue
            except OperationalError as error:
                if is_peoples:  # a worker tries again by itself
                    problems.append(error)
        return problems

    with ThreadPoolExecutor(2 * len(commands)) as threads:
        running = [threads.submit(in_a_thread, run, *command) for command in 2 * commands]
        return [problem for future in running for problem in future.result(60)]


def test_f43_the_same_over_postgresql(town: Town) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--no-migrations",
            __file__,
            "-k",
            "f43_whatever",
        ],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": town.postgres.url, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert run.returncode == 0, run.stdout[-10_000:]
    assert "1 passed" in run.stdout
