"""What the log says, for people and for machines: all of it in one form, with ids, and without anything secret."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as project_settings
from django.test import AsyncClient, Client
from structlog.contextvars import bound_contextvars, clear_contextvars

from chat.models import Conversation, User
from config.asgi import application
from config.logs import FIELDS, logging_config
from predictions import views
from predictions.models import Model, Provider, Version
from tests.waiting import WAIT_LIMIT


def handler(log_format: str) -> tuple[logging.Handler, io.StringIO]:
    formatter = logging_config(log_format, level="DEBUG", own_level="DEBUG")["formatters"]["line"]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter.pop("()")(**formatter))
    return handler, stream


def write(log_format: str, message: str, *args: Any, name: str = "predictions.worker", **more: Any) -> str:
    made, stream = handler(log_format)
    logger = logging.Logger(name)  # nobody else's: what pytest listens to hears nothing
    logger.addHandler(made)
    logger.warning(message, *args, **more)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def nothing_is_bound() -> None:
    """What views of other tests have bound in this thread is theirs."""
    clear_contextvars()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What this process logs, as JSON."""
    made, stream = handler("json")
    logging.getLogger().addHandler(made)
    yield stream
    logging.getLogger().removeHandler(made)


def test_a_machine_reads_one_object_a_line() -> None:
    with bound_contextvars(prediction="p1", worker="here:7"):
        line = write("json", "It took %.1f s\nand two lines.", 1.5, extra={"seconds": 1.5, "status": "succeeded"})

    assert line.count("\n") == 1
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "level": "warning",
        "logger": "predictions.worker",
        "event": "It took 1.5 s\nand two lines.",
        "prediction": "p1",
        "worker": "here:7",
        "seconds": 1.5,
        "status": "succeeded",
    }


def test_a_person_reads_a_line_with_the_ids_at_its_end() -> None:
    with bound_contextvars(prediction="p1"):
        line = write("text", "The run of %s broke.", "p1")

    time, _, rest = line.partition(" ")
    assert time.endswith("Z")
    assert rest == "WARNING predictions.worker: The run of p1 broke. [prediction=p1]\n"
    assert write("text", "Nobody knows of what.").endswith(": Nobody knows of what.\n")


def test_a_hosts_words_cannot_look_like_a_line_of_ours() -> None:
    words = "no\n2026-01-01T00:00:00Z ERROR predictions: forged\x1b[31m\u2028"

    assert write("text", "It said: %s", words).count("\n") == 1
    assert "\x1b" not in write("text", "It said: %s", words)
    assert write("json", "It said: %s", words).count("\n") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_comes_with_its_traceback_and_without_what_variables_held(log_format: str) -> None:
    def fail(secret: str) -> None:
        raise ValueError("too bad\n2026-01-01T00:00:00Z ERROR predictions: forged")

    token = "_".join(["r8", "token"])  # the traceback shows this line
    try:
        fail(token)
    except ValueError:
        line = write(log_format, "It failed.", exc_info=True)

    assert "ValueError: too bad" in line
    assert "Traceback" in line
    assert all(each.startswith("  ") for each in line.splitlines()[1:])
    assert token not in line
    if log_format == "json":
        assert "ValueError: too bad" in json.loads(line)["exception"]


def test_what_libraries_attach_is_left_out() -> None:
    line = write("json", "Not Found: %s", "/x", extra={"request": "cookie: sessionid=1", "status_code": 404})

    assert json.loads(line)["status_code"] == 404
    assert "sessionid" not in line
    assert "request" not in FIELDS


def test_whoever_asks_under_another_name_is_one_line_and_no_error(log: io.StringIO, client: Client) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400

    [line] = log.getvalue().splitlines()
    entry = json.loads(line)
    assert "evil.example" in entry["event"]
    assert (entry["level"], "exception" in entry) == ("warning", False)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_libraries_write_in_the_same_form_and_hosts_addresses_never(log_format: str) -> None:
    names = ["daphne.server", "twisted", "django.request", "django.security", "asyncio", "chat.views"]
    program = f"""
import django, logging
django.setup()
for name in {names}:
    logging.getLogger(name).error("From %s.", name)
for name in ("httpx", "httpcore.http11"):
    logging.getLogger(name).info("GET https://stream.replicate.example/secret")
logging.getLogger("django.request").warning("Not Found: /favicon.ico")
"""
    lines = run(program, PARLEY_LOG_FORMAT=log_format, PARLEY_LOG_LEVEL="DEBUG").splitlines()

    if log_format == "json":
        lines = [f"{entry['level'].upper()} {entry['logger']}: {entry['event']}" for entry in map(json.loads, lines)]
    said = [line[line.index("ERROR") :] for line in lines if "ERROR" in line]
    assert said == [f"ERROR {name}: From {name}." for name in names]
    assert not any("secret" in line or "favicon" in line for line in lines)


def test_a_form_that_does_not_exist_is_explained() -> None:
    assert "it may be text or json" in run("import django; django.setup()", PARLEY_LOG_FORMAT="xml")


def run(program: str, **environment: str) -> str:
    """Return what a process of its own writes to standard error."""
    own = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PARLEY_DATA_DIR": str(project_settings.DATA_DIR / "of its own"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **own, **environment},
        cwd=project_settings.BASE_DIR,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr


@pytest.mark.django_db(transaction=True)
async def test_a_page_that_breaks_names_its_conversation_and_not_what_was_asked(
    async_client: AsyncClient, alice: User, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = await Provider.objects.acreate(slug="replicate", kind=Provider.Kind.REPLICATE)
    model = await Model.objects.acreate(provider=provider, ref="meta/llama", slug="llama", name="Llama")
    await Version.objects.acreate(model=model, identifier="")
    conversation = await Conversation.objects.acreate(owner=alice, title="A plan", model=model)
    await async_client.aforce_login(alice)
    async_client.raise_request_exception = False

    def fail(*args: Any, **how: Any) -> None:
        raise RuntimeError("this went wrong")

    monkeypatch.setattr(Conversation, "ask", fail)
    form = {"id": str(uuid.uuid4()), "model": "llama", "text": "my secret plan"}
    answer = await async_client.post(f"/conversations/{conversation.pk}/messages/", form)

    assert answer.status_code == 500
    [entry] = map(json.loads, log.getvalue().splitlines())
    assert (entry["logger"], entry["conversation"]) == ("django.request", str(conversation.pk))
    assert "this went wrong" in entry["exception"]
    assert "secret plan" not in log.getvalue()
    assert async_client.cookies["sessionid"].value not in log.getvalue()


# ---------------------------------------------------------------- ids of requests


async def answer_to(headers: dict[bytes, bytes], path: str = "/health/live") -> tuple[dict[bytes, bytes], bytes]:
    """Ask the whole application, as a server does; return the headers and the body of its answer."""
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "query_string": b""}
    given = [(b"host", b"localhost"), *headers.items()]
    server = ApplicationCommunicator(application, {**scope, "headers": given})
    await server.send_input({"type": "http.request"})
    start, body = await server.receive_output(WAIT_LIMIT), await server.receive_output(WAIT_LIMIT)
    await server.wait(WAIT_LIMIT)
    return dict(start["headers"]), body["body"]


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        (b"1f0c6a2e-8d0b-4c1a-9a53-7d3f7d1c2b3a", True),
        (b"a b", False),
        (b"<script>", False),
        (b"x\n2026-01-01 ERROR forged", False),
        (b"x" * 129, False),
        (b"", False),
    ],
)
async def test_the_id_of_a_request_is_the_proxys_if_it_is_sane(given: bytes, is_taken: bool) -> None:
    headers, _ = await answer_to({b"x-request-id": given})

    assert (headers[b"x-request-id"] == given) is is_taken
    assert re.fullmatch(rb"[0-9a-f-]{32,36}", headers[b"x-request-id"])


@pytest.mark.django_db(transaction=True)
async def test_the_page_of_an_error_and_its_line_in_the_log_have_the_same_id(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("this went wrong")

    monkeypatch.setattr(views.checks, "READINESS", {"database": fail})
    headers, page = await answer_to({}, "/health/ready")

    [entry] = map(json.loads, log.getvalue().splitlines())
    assert "this went wrong" in entry["exception"]
    assert entry["request"].encode() == headers[b"x-request-id"]
    assert headers[b"x-request-id"] in page
    other, _ = await answer_to({})
    assert other[b"x-request-id"] != headers[b"x-request-id"]
