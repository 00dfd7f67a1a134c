"""Who judges the fake: the official client, a plain one, and the OpenAPI document."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
from replicate.client import Client

from . import OFFICIAL_MODEL, FakeReplicate

RECORDINGS = Path(__file__).parent.parent / "data/replicate"
EXCHANGES = {row["name"]: row for row in json.loads((RECORDINGS / "recorded-exchanges.json").read_text())}
OPENAPI = json.loads((RECORDINGS / "replicate-openapi.json").read_text())
PATIENCE = 10  # seconds until a request that should have been answered fails the test


@pytest.fixture(name="http")
def http_fixture(fake: FakeReplicate) -> Iterator[httpx.Client]:
    with open_client(fake) as http:
        yield http


@pytest.fixture(name="client")
def client_fixture(fake: FakeReplicate) -> Iterator[Client]:
    with official_client(fake) as client:
        yield client


@contextmanager
def official_client(fake: FakeReplicate, *, token: str | None = None) -> Iterator[Client]:
    client = Client(api_token=token or fake.token, base_url=fake.origin, trust_env=False)
    client.poll_interval = 0.005
    try:
        yield client
    finally:
        client._client.close()  # it has no way of its own to be closed


def open_client(fake: FakeReplicate) -> httpx.Client:
    headers = {"authorization": f"Bearer {fake.token}"}
    return httpx.Client(base_url=fake.url, headers=headers, timeout=PATIENCE, trust_env=False)


def create(http: httpx.Client, model: str = OFFICIAL_MODEL, **headers: str) -> Any:
    answer = http.post(f"/models/{model}/predictions", json={"input": {"prompt": "Hi"}}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def finish(fake: FakeReplicate, prediction_id: str) -> None:
    fake.ledger.wait_for(lambda ledger: not ledger.of(prediction_id).is_running)


def read_stream(http: httpx.Client, url: str, **headers: str) -> bytes:
    """Read a stream until it has said `done`, or to its end."""
    received = b""
    with http.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        for part in answer.iter_raw():
            received += part
            if b"event: done\n" in received and received.endswith(b"\n\n"):
                break
    return received


def disagreements(answer: Any, schema: str | dict[str, Any]) -> set[str]:
    """Compare with a schema of the OpenAPI document, read as it is meant (see data/replicate/README.md)."""
    components = {name: as_meant(part) for name, part in OPENAPI["components"]["schemas"].items()}
    reference = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else as_meant(schema)
    validator = jsonschema.Draft202012Validator(
        {**reference, "components": {"schemas": components}}, format_checker=FORMATS
    )
    return {": ".join([*map(str, error.path), error.message]) for error in validator.iter_errors(answer)}


def as_meant(schema: Any) -> Any:
    if isinstance(schema, list):
        return [as_meant(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    meant = {name: as_meant(part) for name, part in schema.items()}
    if meant.get("nullable") is True:
        meant["type"] = [meant["type"], "null"]
    if isinstance(meant.get("oneOf"), list):
        meant["anyOf"] = meant.pop("oneOf")
    return meant


FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uri", raises=ValueError)
def is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme and urlsplit(value).netloc)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0]


def masked(value: Any, *, without: set[str], name: str = "") -> Any:
    """Replace what differs from one prediction to the next by its kind."""
    if name == "urls":
        return {key for key in value if key not in without - {"stream"}}
    if isinstance(value, dict):
        return {key: masked(part, without=without, name=key) for key, part in value.items() if key not in without}
    if name == "id":
        return f"{len(value)} characters"
    if name.endswith("_at"):
        return datetime.fromisoformat(value).tzinfo
    if name in ("predict_time", "total_time"):
        return type(value)
    return value


def ask_raw(fake: FakeReplicate, request: bytes) -> bytes:
    """Send these bytes and no more; return what comes until the server closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", urlsplit(fake.url).port or 0), PATIENCE) as connection:
        connection.sendall(request)
        if not request:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(10_000):
            received += part
    return received
