"""Sentry and OpenTelemetry: absent until asked for, and told nothing that people write.

Their packages are not among those of the tests. What is handed to them is seen by stand-ins that keep it; that the real
ones take it was tried by hand, with a collector on loopback (sentry-sdk 2.75, opentelemetry 1.45).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from config import telemetry
from predictions.models import Prediction
from tests.prepared import PROJECT, outside

PRESENT = "import sys; print('imported', __name__, file=sys.stderr)\n"
KEEPS = "import json, sys\ndef init(**how): print(json.dumps(how, default=repr), file=sys.stderr)\n"
ABSENT = "raise ImportError(__name__)\n"


def start(folder: Path, stand_in: str, **environment: str) -> str:
    """Start `manage.py check` where both packages are `stand_in`; return what it says on standard error."""
    for name in ("sentry_sdk", "opentelemetry"):
        (folder / f"{name}.py").write_text(stand_in)
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env=outside() | {"PYTHONPATH": str(folder), "PARLEY_DATA_DIR": str(folder / "data")} | environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_nothing_is_imported_until_it_is_asked_for(tmp_path: Path) -> None:
    assert "imported" not in start(tmp_path, PRESENT)


def test_what_is_asked_for_and_missing_is_said_at_the_start(tmp_path: Path) -> None:
    said = start(tmp_path, ABSENT, SENTRY_DSN="http://k@h/1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")

    assert "SENTRY_DSN is set, but sentry-sdk is not installed" in said
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but opentelemetry-sdk is not installed" in said
    assert "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http" in said


def test_sentry_is_told_to_look_at_nothing_of_people(tmp_path: Path) -> None:
    said = start(tmp_path, KEEPS, SENTRY_DSN="http://k@h/1", PARLEY_ENVIRONMENT="staging")

    how = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert "without_secrets" in how.pop("before_send")
    assert how == {
        "dsn": "http://k@h/1",
        "environment": "staging",
        "send_default_pii": False,
        "include_local_variables": False,
        "include_source_context": False,
        "max_request_body_size": "never",
        "max_breadcrumbs": 0,
        "auto_enabling_integrations": False,
        "trace_propagation_targets": [],
    }


def test_an_error_is_reported_with_its_place_and_ids_and_no_words() -> None:
    frame = {
        "filename": "chat/views.py",
        "function": "ask",
        "lineno": 7,
        "vars": {"text": "CANARY"},
        "abs_path": "CANARY",
    }
    event = {
        "event_id": "e1",
        "level": "error",
        "exception": {
            "values": [{"type": "IntegrityError", "value": "Key (text)=(CANARY)", "stacktrace": {"frames": [frame]}}]
        },
        "request": {"url": "https://h/?q=CANARY", "cookies": {"sessionid": "CANARY"}, "data": "CANARY"},
        "logentry": {"message": "CANARY %s", "params": ["CANARY"]},
        "user": {"username": "CANARY"},
        "extra": {"sys.argv": ["CANARY"]},
        "contexts": {"trace": {"data": "CANARY"}},
        "breadcrumbs": {"values": [{"message": "CANARY"}]},
        "transaction": "/setup/CANARY/",
        "server_name": "CANARY",
    }
    with bound_contextvars(request="r1", conversation="c1", prediction="p1", text="CANARY"):
        sent = telemetry.without_secrets(event, {"exc_info": "CANARY"})

    assert "CANARY" not in json.dumps(sent)
    assert sent["exception"]["values"] == [
        {
            "type": "IntegrityError",
            "stacktrace": {"frames": [{"filename": "chat/views.py", "function": "ask", "lineno": 7}]},
        }
    ]
    assert sent["tags"] == {"request": "r1", "conversation": "c1", "prediction": "p1"}
    for odd in ({}, {"exception": None}, {"exception": {"values": [None, {"stacktrace": None}]}}):
        assert telemetry.without_secrets(odd, {})["exception"]["values"] in ([], [{"stacktrace": {"frames": []}}])


# ---------------------------------------------------------------- spans


class Spans:
    """A stand-in for `opentelemetry`, as far as it is used: it keeps what spans are told."""

    SpanKind = SimpleNamespace(SERVER="server")

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def get_tracer(self, name: str) -> "Spans":
        return self

    def start_span(self, name: str, **told: Any) -> SimpleNamespace:
        span = {"name": name, **told}
        self.made.append(span)
        return SimpleNamespace(end=lambda **how: span.update(how), set_attribute=span["attributes"].__setitem__)

    @contextmanager
    def start_as_current_span(self, name: str, **told: Any) -> Iterator[SimpleNamespace]:
        yield self.start_span(name, **told)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    spans, package = Spans(), ModuleType("opentelemetry")
    package.trace, package.propagate = spans, SimpleNamespace(extract=lambda given: given.get("traceparent"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry", package)
    return spans


async def test_a_request_is_a_span_without_its_query_its_secrets_and_its_words(spans: Spans) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404})

    async def send(message: Any) -> None:
        assert message["status"] == 404

    application = telemetry.traced(answer, "http://127.0.0.1:4318")
    token = "webhooks/5b0c6f2e-8d0b-4c1a-9a53-7d3f7d1c2b3a/CANARY"
    for path in (f"/{token}", "/nowhere/CANARY"):
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"q=CANARY"}
        headers = [(b"traceparent", b"00-1-2-01"), (b"cookie", b"CANARY")]
        with bound_contextvars(request="r1"):
            await application({**scope, "headers": headers}, None, send)

    known, unknown = spans.made
    assert known["name"] == "POST /webhooks/<uuid:prediction>/<str:token>"
    assert known["attributes"]["http.response.status_code"] == 404
    assert known["attributes"]["parley.request"] == "r1"
    assert (known["context"], known["record_exception"]) == ("00-1-2-01", False)
    assert unknown["name"] == "POST (unknown)"
    assert "CANARY" not in repr(spans.made)
    assert telemetry.traced(answer, "") is answer


@pytest.mark.django_db(transaction=True)
def test_a_prediction_is_a_span_from_its_question_to_its_end(spans: Spans, running: Prediction) -> None:
    telemetry._trace_prediction(running.pk)
    assert not spans.made  # it has not ended

    end = timezone.now()
    Prediction.objects.update(completed_at=end, status="succeeded", output="CANARY", input={"prompt": "CANARY"})
    telemetry._trace_prediction(running.pk)

    [span] = spans.made
    assert span["attributes"] == {
        "parley.prediction": str(running.pk),
        "parley.provider": "replicate",
        "parley.model": running.model.ref,
        "parley.status": "succeeded",
    }
    assert abs(span["end_time"] - end.timestamp() * 1e9) < 1e6
    assert span["start_time"] < span["end_time"]
