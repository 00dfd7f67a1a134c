"""The models that Parley brings along, as real Cog servers, and what starts and watches them."""

import contextlib
import importlib
import inspect
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from models import platform_check, serve
from tests.cog import LAUNCHER, READY_LIMIT, CogServer, SentEvent, alive, start_cog_server
from tests.waiting import wait_until

MODELS = LAUNCHER.parent
CAPITAL = "What is the capital of France?"
STORY = "Write a long story about a dog."
LONG_TEXT = " ".join(f"The number {i} comes before the number {i + 1} in the list." for i in range(50))  # 950 tokens
BEES = (
    "The honey bee is a social insect. Each colony has one queen, who lays all the eggs. Bees tell each other by a "
    "dance where flowers are. The dance gives the direction and the distance of the flowers. Worker bees collect "
    "nectar and pollen from the flowers. In the hive the nectar becomes honey. Without bees many plants would not be "
    "pollinated."
)


@pytest.fixture(scope="module")
def smollm2() -> Iterator[CogServer]:
    with start_cog_server("smollm2") as server:
        yield server


@pytest.fixture(scope="module")
def summary() -> Iterator[CogServer]:
    with start_cog_server("summary") as server:
        yield server


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of a model as the model itself does: by its bare name."""
    known = set(sys.modules)

    def import_module(model: str, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(MODELS / model)
        return importlib.import_module(name)

    yield import_module
    for name in set(sys.modules) - known:
        if str(MODELS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def text_of(events: list[SentEvent]) -> str:
    return "".join(sent.data["chunk"] for sent in events if sent.event == "output")


def messages(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


class TestSmolLM2:
    def test_simple_question_is_answered_rightly_at_the_defaults(self, smollm2: CogServer) -> None:
        events = list(smollm2.stream(prompt=CAPITAL))

        completed = events[-1].data
        assert events[0].event == "start"
        assert events[-1].event == "completed"
        assert completed["status"] == "succeeded"
        assert "Paris" in text_of(events)
        assert "".join(completed["output"]) == text_of(events)
        assert len(completed["output"]) > 3
        assert completed["metrics"]["output_token_count"] >= len(completed["output"])
        assert completed["metrics"]["input_token_count"] > 20

    def test_text_arrives_while_the_model_still_writes(self, smollm2: CogServer) -> None:
        events = []
        states = []
        for sent in smollm2.stream(prompt=STORY, max_tokens=150):
            events.append(sent)
            if sent.event == "output" and len(states) < 3:
                states.append(smollm2.health)

        outputs = [sent for sent in events if sent.event == "output"]
        assert states == ["BUSY"] * 3
        assert len(outputs) > 100
        assert events[-1].at - outputs[0].at > 10 * (outputs[1].at - outputs[0].at)

    def test_same_question_gets_the_same_answer(self, smollm2: CogServer) -> None:
        answers = [smollm2.predict(prompt=CAPITAL).json()["output"] for _ in range(2)]

        assert answers[0] == answers[1]

    def test_seed_repeats_an_answer_of_chance(self, smollm2: CogServer) -> None:
        answers = [
            smollm2.predict(prompt=STORY, temperature=1.5, seed=seed, max_tokens=20).json()["output"]
            for seed in (7, 7, 8)
        ]

        assert answers[0] == answers[1] != answers[2]

    def test_drawn_seed_is_told(self, smollm2: CogServer) -> None:
        logs = smollm2.predict(prompt=CAPITAL, temperature=0.5, max_tokens=1).json()["logs"]

        assert logs.startswith("Seed: ")

    def test_answer_ends_at_the_most_tokens(self, smollm2: CogServer) -> None:
        answer = smollm2.predict(prompt=STORY, max_tokens=5).json()

        assert answer["metrics"]["output_token_count"] == 5

    def test_next_question_after_a_cancel_is_answered(self, smollm2: CogServer) -> None:
        smollm2.start("writes", prompt=STORY, max_tokens=1024)
        wait_until(lambda: smollm2.look("writes").json().get("output"))

        assert smollm2.cancel("writes").status_code == 200
        assert "Paris" in "".join(smollm2.predict(prompt=CAPITAL).json()["output"])

    def test_cancel_reaches_a_model_that_still_reads(self, smollm2: CogServer) -> None:
        for sent in smollm2.stream(prompt=LONG_TEXT):
            if sent.event == "start":
                smollm2.cancel(sent.data["id"])

        assert sent.data["status"] == "canceled"
        assert not sent.data.get("output")

    def test_cancelled_answer_keeps_what_was_written(self, smollm2: CogServer) -> None:
        events = []
        for sent in smollm2.stream(prompt=STORY, max_tokens=1024):
            if sent.event == "start":
                identifier = sent.data["id"]
            if sent.event == "output" and sent.data["index"] == 10:
                smollm2.cancel(identifier)
            events.append(sent)

        completed = events[-1].data
        assert completed["status"] == "canceled"
        assert 10 < len(completed["output"]) < 300
        assert "".join(completed["output"]) == text_of(events)

    def test_cancel_between_two_pieces_is_not_taken_for_a_missing_numpy(self) -> None:
        # Cog imports numpy after each piece. It swallows an exception in Python code that this runs; there may be none.
        script = """
import sys
import predict
predict._end_the_search_for_numpy()
ran = []
sys.setprofile(lambda frame, event, _: event == "call" and ran.append(frame.f_code.co_name))
import numpy
sys.setprofile(None)
assert not ran, ran
"""
        ran = run("-c", script, cwd=MODELS / "smollm2")

        assert ran.returncode == 0, ran.stderr

    def test_messages_win_over_the_prompt(self, smollm2: CogServer) -> None:
        answer = smollm2.predict(prompt="What is the capital of Japan?", messages=messages(CAPITAL)).json()

        assert "Paris" in "".join(answer["output"])

    def test_earlier_messages_are_read(self, smollm2: CogServer) -> None:
        alone = smollm2.predict(messages=messages(CAPITAL), max_tokens=1).json()
        after = smollm2.predict(messages=messages("Hello!", "Hello there!", CAPITAL), max_tokens=1).json()

        assert after["metrics"]["input_token_count"] > alone["metrics"]["input_token_count"] + 10

    def test_system_message_replaces_the_system_prompt(self, smollm2: CogServer) -> None:
        system = {"role": "system", "content": "Hi."}

        plain = smollm2.predict(messages=messages(CAPITAL), max_tokens=1).json()
        own = smollm2.predict(messages=[system, *messages(CAPITAL)], max_tokens=1).json()

        assert own["metrics"]["input_token_count"] < plain["metrics"]["input_token_count"] - 10

    def test_oldest_messages_of_a_long_conversation_are_left_out(self, smollm2: CogServer) -> None:
        long = messages(*[BEES] * 40, CAPITAL)

        answer = smollm2.predict(messages=long, max_tokens=1).json()

        assert answer["status"] == "succeeded"
        assert 500 < answer["metrics"]["input_token_count"] <= 1000
        assert "oldest messages were left out" in answer["logs"]

    def test_too_long_question_is_refused_in_words(self, smollm2: CogServer) -> None:
        answer = smollm2.predict(prompt=LONG_TEXT * 2).json()

        assert answer["status"] == "failed"
        assert "This message is too long: 1," in answer["error"]
        assert "reads at most 1,000" in answer["error"]

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({}, "give a prompt, or messages"),
            ({"prompt": " "}, "give a prompt, or messages"),
            ({"messages": [{"role": "user"}]}, "Message 1 needs a role and a content"),
            ({"messages": messages("Hello!", "Hello there!")}, "the last message must have the role user"),
        ],
    )
    def test_what_the_schema_cannot_say_fails_in_words(
        self, smollm2: CogServer, fields: dict[str, Any], error: str
    ) -> None:
        answer = smollm2.predict(**fields).json()

        assert answer["status"] == "failed"
        assert error in answer["error"]

    @pytest.mark.parametrize(
        ("fields", "place", "message"),
        [
            ({"prompt": 7}, "prompt", '7 is not of type "string"'),
            ({"prompt": "Hi", "max_tokens": 5000}, "max_tokens", "5000 is greater than the maximum of 1024"),
            ({"prompt": "Hi", "temperature": -1}, "temperature", "-1 is less than the minimum of 0.0"),
            ({"messages": CAPITAL}, "messages", 'is not of type "array"'),
            ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages/0/role", '"robot" is not one of'),
        ],
    )
    def test_bad_input_is_refused_in_words(
        self, smollm2: CogServer, fields: dict[str, Any], place: str, message: str
    ) -> None:
        refusal = smollm2.predict(**fields)

        assert refusal.status_code == 422
        [detail] = refusal.json()["detail"]
        assert detail["loc"] == ["body", "input", place]
        assert message in detail["msg"]

    def test_second_question_at_once_is_refused(self, smollm2: CogServer) -> None:
        smollm2.start("first", prompt=STORY, max_tokens=1024)

        second = smollm2.ask(prompt=CAPITAL)

        assert second.status_code == 409
        smollm2.cancel("first")

    def test_a_cancel_right_after_the_start_does_not_hold_the_server(self, smollm2: CogServer) -> None:
        for number in range(60):
            # Cog loses some cancels that come so early: then the answer, a short one, is written to its end.
            smollm2.start(f"cancelled-{number}", prompt=STORY, max_tokens=32)
            smollm2.cancel(f"cancelled-{number}")

        smollm2.wait_until_free()

    def test_looking_never_starts_an_answer(self, smollm2: CogServer) -> None:
        smollm2.start("watched", prompt=CAPITAL)
        running = smollm2.look("watched")
        smollm2.wait_until_free()
        over = smollm2.look("watched")

        assert (running.status_code, over.status_code) == (202, 422)
        assert smollm2.health == "READY"

    def test_log_tells_neither_warnings_nor_what_people_ask(self, smollm2: CogServer) -> None:
        smollm2.predict(prompt="What is the capital of Xanadu?", max_tokens=1)

        assert "Server ready" in smollm2.log
        assert "Warning" not in smollm2.log
        assert "Xanadu" not in smollm2.log

    def test_characters_of_several_bytes_arrive_whole(self) -> None:
        # A grammar leaves the model no choice. Cog does not offer it, so the engine is asked.
        script = """
import engine
text = "😀 é 漢字 🇫🇷 👩‍👩‍👧"
model = engine.Engine()
asked = {"messages": [{"role": "user", "content": "Hi"}], "stream": True, "grammar": f'root ::= "{text}"'}
chunks = []
model._server.handle_chat_completions(asked, chunks.append)
pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
assert "".join(pieces) == text, pieces
assert len(pieces) > 10, pieces
"""
        ran = run("-c", script, cwd=MODELS / "smollm2")

        assert ran.returncode == 0, ran.stderr


class TestSummary:
    def test_stream_is_refused(self, summary: CogServer) -> None:
        refusal = summary.ask_for_stream(prompt=BEES)

        assert refusal.status_code == 406
        assert "does not support streaming" in refusal.json()["error"]

    def test_most_telling_sentences_come_back(self, summary: CogServer) -> None:
        report = "".join(summary.predict(prompt=BEES, sentences=2, pause=0).json()["output"])

        assert [line for line in report.splitlines() if line.startswith("- ")] == [
            "- Bees tell each other by a dance where flowers are.",
            "- Worker bees collect nectar and pollen from the flowers.",
        ]
        assert "**About:** bees, flowers" in report
        assert "62 words in 7 sentences; about 1 minute to read." in report

    def test_short_text_is_answered_politely(self, summary: CogServer) -> None:
        report = "".join(summary.predict(prompt="Hello!", pause=0).json()["output"])

        assert report.startswith("This is too short to shorten: 1 sentence, 1 word.")

    def test_output_grows_line_by_line(self, summary: CogServer) -> None:
        summary.start("grows", prompt=BEES)
        seen: list[str] = []
        while (snapshot := summary.look("grows")).status_code == 202:
            text = "".join(snapshot.json().get("output") or [])
            if text not in seen:
                seen.append(text)

        assert len(seen) > 3
        assert all(later.startswith(earlier) for earlier, later in pairwise(seen))

    def test_cancel_does_not_wait_for_the_next_line(self, summary: CogServer) -> None:
        summary.start("slow", prompt=BEES, pause=5)
        wait_until(lambda: summary.look("slow").json().get("output"))
        written = time.monotonic()
        summary.cancel("slow")
        summary.wait_until_free()

        assert time.monotonic() - written < 5  # when the next line is due

    @pytest.mark.parametrize(
        ("fields", "message"), [({}, "Field required"), ({"prompt": ""}, '"" is shorter than 1 character')]
    )
    def test_text_is_needed(self, summary: CogServer, fields: dict[str, str], message: str) -> None:
        refusal = summary.predict(**fields)

        assert refusal.status_code == 422
        assert refusal.json()["detail"][0]["msg"] == message


def test_sentences_are_found(load: Any) -> None:
    sentences_of = load("summary", "summarize").sentences_of

    assert sentences_of(
        'He said "Go." Then (really!) he left. See J. Smith, e.g. etc.\n\nThe end on p. 3. So… ok. 猫である。名前は。'
    ) == [
        'He said "Go."',
        "Then (really!) he left.",
        "See J. Smith, e.g. etc.",
        "The end on p. 3.",
        "So… ok.",
        "猫である。",
        "名前は。",
    ]


class TestConversation:
    @staticmethod
    def count(text: str) -> int:
        return len(text.split())

    def test_newest_turns_stay(self, load: Any) -> None:
        conversation = load("smollm2", "conversation")
        asked = conversation.conversation("", "Be kind.", messages("one two", "three four", "five", "six", "seven"))

        kept = conversation.fit(asked, 3 + 7 + 6 + 6 + 6, self.count)

        assert [message["content"] for message in kept] == ["Be kind.", "five", "six", "seven"]

    def test_answer_does_not_stay_without_its_question(self, load: Any) -> None:
        conversation = load("smollm2", "conversation")
        asked = conversation.conversation("", "Be kind.", messages("one two", "three", "four"))

        kept = conversation.fit(asked, 3 + 7 + 6 + 6, self.count)

        assert [message["content"] for message in kept] == ["Be kind.", "four"]

    def test_system_message_and_question_that_just_fit_stay(self, load: Any) -> None:
        conversation = load("smollm2", "conversation")
        asked = conversation.conversation("one two", "Be kind.", [])

        assert conversation.fit(asked, 3 + 7 + 7, self.count) == asked
        with pytest.raises(ValueError, match="too long: 17 tokens"):
            conversation.fit(asked, 3 + 7 + 6, self.count)


@pytest.mark.parametrize(("model", "streams"), [("smollm2", True), ("summary", False)])
def test_schema_says_what_the_model_takes(load: Any, model: str, streams: bool) -> None:
    document = json.loads((MODELS / model / ".cog/openapi_schema.json").read_text())
    described = document["components"]["schemas"]["Input"]
    parameters = dict(inspect.signature(load(model, "predict").Runner.run).parameters)
    del parameters["self"]

    assert document["paths"]["/predictions"]["post"].get("x-cog-streaming", False) == streams
    assert list(described["properties"]) == list(parameters)
    kinds = {str: "string", int: "integer", int | None: "integer", float: "number", list[dict]: "array"}
    required = []
    for order, (name, parameter) in enumerate(parameters.items()):
        field = parameter.default
        schema = described["properties"][name]
        assert schema["type"] == kinds[parameter.annotation]
        assert schema["x-order"] == order
        assert schema["description"] == field.description
        assert schema["title"] == name.replace("_", " ").title()
        assert schema.get("default") == field.default
        assert (schema.get("minimum"), schema.get("maximum")) == (field.ge, field.le)
        assert schema.get("minLength") == field.min_length
        assert schema.get("nullable", False) == (parameter.annotation == int | None)
        if field.default is None and not schema.get("nullable"):
            required.append(name)
    assert described.get("required", []) == required


class TestLauncher:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    def test_nothing_outlives_the_launcher(self, number: signal.Signals) -> None:
        with start_cog_server("smollm2") as server:
            server.start("endless", prompt=STORY, max_tokens=1024)
            processes = server.processes
            assert len(processes) == 3
            server.process.send_signal(number)
            code = server.process.wait(READY_LIMIT)

            wait_until(lambda: not alive(processes))
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)

    def test_nothing_outlives_the_process_that_started_the_launcher(self) -> None:
        script = f"""
import os, subprocess, sys
command = [sys.executable, {str(LAUNCHER)!r}, "summary", "--parent", str(os.getpid())]
launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
print(launcher.pid, launcher.stdout.readline(), flush=True)
launcher.wait()
"""
        starter = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        with starter:
            assert starter.stdout
            launcher, _, url = starter.stdout.readline().split()
            wait_until(lambda: _listens(url))
            starter.kill()

        wait_until(lambda: not alive({int(launcher)}))
        wait_until(lambda: not _listens(url))

    def test_server_that_is_busy_with_nothing_is_noticed(self) -> None:
        questions = itertools.count(7)  # each of which costs the server a little
        watch = serve.Watch(lambda: "BUSY", lambda: next(questions))
        looks = serve.STUCK // serve.WATCH

        assert [watch.look() for _ in range(looks + 1)] == [None] * (looks + 1)
        assert watch.look() == "it is busy and does nothing"

    def test_server_that_works_or_rests_is_left_alone(self) -> None:
        state = {"health": "BUSY", "worked": 0}
        watch = serve.Watch(lambda: str(state["health"]), lambda: int(state["worked"]))

        for look in range(3 * serve.STUCK // serve.WATCH):
            state["health"] = "READY" if look % 20 == 0 else "BUSY"
            state["worked"] = look // 10
            assert watch.look() is None
        for _ in range(3 * serve.STUCK // serve.WATCH):
            state["health"] = "BUSY"
            state["worked"] += 2
            assert watch.look() is None

    def test_work_of_the_servers_processes_is_counted(self, smollm2: CogServer) -> None:
        group = next(pid for pid in smollm2.processes if os.getpgid(pid) == pid != smollm2.process.pid)
        before = serve._cpu_time(group)
        smollm2.predict(prompt=STORY, max_tokens=200)

        assert serve._cpu_time(group) > before

    def test_server_whose_worker_dies_is_started_again(self) -> None:
        with start_cog_server("summary") as server:
            _, worker = sorted(server.processes - {server.process.pid})
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: server.health == "UNHEALTHY")
            wait_until(lambda: server.health == "READY")

            assert server.predict(prompt="Hello!", pause=0).json()["status"] == "succeeded"
            assert "summary: its worker has died; starting it again." in server.log

    def test_port_that_is_taken_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ran = run(str(LAUNCHER), "summary", "--port", str(port))

        assert ran.returncode == 1
        assert f"summary cannot be served on port {port}" in ran.stderr
        assert "in use" in ran.stderr

    def test_server_is_told_no_secrets(self) -> None:
        told = serve.environment(
            5101,
            {"REPLICATE_API_TOKEN": "r8_secret", "DATABASE_URL": "postgres://a:b@c/d", "PATH": "/bin", "LANG": "C"},
        )

        assert told["LANG"] == "C"
        assert told["PORT"] == "5101"
        assert told["PATH"] == f"{Path(sys.executable).parent}:/bin"
        assert not {"REPLICATE_API_TOKEN", "DATABASE_URL"} & told.keys()

    def test_folders_that_cog_leaves_behind_are_removed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folders = tmp_path / "coglet" / "predictions"
        monkeypatch.setattr(serve, "FOLDERS", folders)
        serve.prepare_folders()
        for name in ("old", "new", "full"):
            (folders / name / "inputs").mkdir(parents=True)
        (folders / "full" / "inputs" / "file").touch()
        for name in ("old", "full"):
            os.utime(folders / name, (0, 0))

        serve.prepare_folders()

        assert {folder.name for folder in folders.iterdir()} == {"new", "full"}
        assert folders.stat().st_mode & 0o7777 == 0o1777

    def test_folder_that_is_closed_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folders = tmp_path / "predictions"
        folders.touch()  # not even the superuser, who runs some tests, can put a file into that
        monkeypatch.setattr(serve, "FOLDERS", folders)

        with pytest.raises(PermissionError, match="closed to you"):
            serve.prepare_folders()


class TestPlatformCheck:
    def test_this_machine_can_run_the_model(self) -> None:
        assert platform_check.reason_not_to_run() is None

    def test_missing_flags_of_the_processor_are_named(self) -> None:
        cpuinfo = "processor\t: 0\nflags\t\t: fpu sse2 avx f16c fma\nbugs\t\t:\n"

        reason = platform_check._reason_in_processor(cpuinfo)

        assert reason == (
            "The bundled model needs a processor with AVX2, BMI2, F16C and FMA; this one lacks AVX2, BMI2."
        )

    def test_other_platforms_are_named(self) -> None:
        reason = platform_check._reason_in_platform("Darwin", "arm64")

        assert reason
        assert reason.endswith("this is Darwin on arm64.")

    def test_missing_packages_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform_check, "PACKAGES", ("cog", "no_such_package"))

        reason = platform_check.reason_not_to_run(load=False)

        assert reason
        assert reason.endswith(": no_such_package.")

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("import os; os.kill(os.getpid(), 4)", "an instruction that this processor does not have"),
            ("import os; os.kill(os.getpid(), 9)", "for want of memory"),
            ("import os; os.kill(os.getpid(), 11)", "Segmentation fault"),
            ("import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
            ("import time; time.sleep(30)", "not loaded within 2 seconds"),
        ],
    )
    def test_failing_load_is_told_in_words(self, tmp_path: Path, code: str, words: str) -> None:
        engine = tmp_path / "engine.py"
        engine.write_text(code)

        reason = platform_check._reason_in_loading(engine, 2)

        assert reason
        assert words in reason


def run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def _listens(url: str) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
        return True
    return False
