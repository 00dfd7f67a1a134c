"""The fake of Replicate's API is trusted while the recordings, the OpenAPI document and the official client agree."""

import asyncio
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.pagination import paginate

from tests.fake_replicate import (
    BAD_GATEWAY,
    CHAT_SCHEMA,
    DEPLOYMENT,
    NOT_FOUND,
    OFFICIAL_MODEL,
    VERSIONED_MODEL,
    Answer,
    Cut,
    Disconnect,
    Event,
    FakeReplicate,
    Gate,
    Hang,
    Late,
    Logs,
    Output,
    Raw,
    Script,
    Step,
    Version,
    recorded_errors,
)
from tests.fake_replicate.judges import (
    EXCHANGES,
    OPENAPI,
    PATIENCE,
    RECORDINGS,
    ask_raw,
    client_fixture,  # noqa: F401  # fixtures are asked for by their names
    create,
    disagreements,
    finish,
    http_fixture,  # noqa: F401
    masked,
    media_type,
    official_client,
    open_client,
    read_stream,
)
from tests.fake_replicate.scripts import WAIT_LIMIT

RECORDED_STREAM = (RECORDINGS / "vercel-replicate-sse.sse").read_bytes()

RECORDED_STEPS: list[Step] = [
    Output("", id="1698774369:0"),
    Output("", id="1698774369:1"),
    Output(" Hello,", id="1698774370:0"),
    Output(" world", id="1698774370:1"),
    Output(".", id="1698774370:2"),
    Output("", id="1698774371:0"),
    Event("done", "{}", id="1698774371:1"),
]


def read_until_cut(http: httpx.Client, url: str) -> tuple[bytes, Exception | None]:
    """Read a stream until it ends; return also what ended it, if it was not the server's word."""
    received = b""
    try:
        with http.stream("GET", url) as answer:
            for part in answer.iter_raw():
                received += part
    except httpx.TransportError as error:
        return received, error
    return received, None


class TestOfficialClient:
    """replicate 1.0.7, used as its README says."""

    def test_it_streams_the_output(self, fake: FakeReplicate, client: Client) -> None:
        fake.script(Script(chunks=["Hel", "lo,\n", " world", "\n"]))

        events = list(client.stream(OFFICIAL_MODEL, input={"prompt": "Hi"}))

        assert "".join(str(event) for event in events) == "Hello,\n world\n"
        assert [event.event.value for event in events] == ["output"] * 4 + ["done"]
        assert len(fake.ledger.created) == 1

    def test_it_streams_asynchronously(self, fake: FakeReplicate) -> None:
        async def stream() -> str:
            client = Client(api_token=fake.token, base_url=fake.origin, trust_env=False)
            try:
                events = await client.async_stream(OFFICIAL_MODEL, input={"prompt": "Hi"})
                return "".join([str(event) async for event in events])
            finally:
                await client._async_client.aclose()

        assert asyncio.run(stream()) == "Hello, world."

    def test_it_polls_to_the_end(self, fake: FakeReplicate, client: Client) -> None:
        gate = Gate()
        fake.script(Script(steps=["Hel", gate, "lo"], logs="loading\n", stream=False))
        version = fake.catalogue.models[VERSIONED_MODEL].versions[0]

        prediction = client.predictions.create(version=version.id, input={"prompt": "Hi"})
        assert prediction.status == "starting"
        assert prediction.output is None
        gate.wait_reached()
        prediction.reload()
        assert (prediction.status, prediction.output, prediction.logs) == ("processing", ["Hel"], "loading\n")
        gate.open()
        prediction.wait()

        assert (prediction.status, prediction.output) == ("succeeded", ["Hel", "lo"])
        assert prediction.version == version.id
        assert prediction.metrics is not None
        assert prediction.metrics["predict_time"] >= 0

    def test_it_iterates_over_a_growing_output(self, fake: FakeReplicate, client: Client) -> None:
        gate = Gate()
        fake.script(Script(steps=["Hel", gate, "lo"]))
        prediction = client.predictions.create(model=OFFICIAL_MODEL, input={"prompt": "Hi"})

        chunks = prediction.output_iterator()

        assert next(chunks) == "Hel"
        gate.open()
        assert list(chunks) == ["lo"]

    def test_it_cancels(self, fake: FakeReplicate, client: Client) -> None:
        gate = Gate()
        fake.script(Script(steps=["Hel", gate, "lo"]))
        prediction = client.predictions.create(model=OFFICIAL_MODEL, input={"prompt": "Hi"})
        gate.wait_reached()

        prediction.cancel()

        assert prediction.status == "canceled"
        assert prediction.completed_at
        assert [created.id for created in fake.ledger.canceled()] == [prediction.id]
        assert fake.ledger.running() == []

    def test_it_runs_an_official_model(self, fake: FakeReplicate, client: Client) -> None:
        assert client.run(OFFICIAL_MODEL, input={"prompt": "Hi"}) == ["Hello", ",", " world", "."]
        assert fake.ledger.created[0].headers["prefer"] == "wait"

    def test_it_runs_a_version(self, fake: FakeReplicate, client: Client) -> None:
        version = fake.catalogue.models[VERSIONED_MODEL].versions[1]

        chunks = client.run(f"{VERSIONED_MODEL}:{version.id}", input={"prompt": "Hi"}, wait=False)

        assert "".join(chunks) == "Hello, world."
        assert fake.ledger.created[0].body["version"] == version.id

    def test_it_runs_a_deployment(self, fake: FakeReplicate, client: Client) -> None:
        prediction = client.deployments.predictions.create(DEPLOYMENT, input={"prompt": "Hi"})
        prediction.wait()

        assert prediction.model == VERSIONED_MODEL
        assert prediction.version == fake.catalogue.models[VERSIONED_MODEL].versions[0].id

    def test_it_reads_models_versions_and_account(self, fake: FakeReplicate, client: Client) -> None:
        versions = fake.catalogue.models[VERSIONED_MODEL].versions

        model = client.models.get(VERSIONED_MODEL)

        assert model.latest_version is not None
        assert model.latest_version.id == versions[1].id
        assert [version.id for version in model.versions.list()] == [versions[1].id, versions[0].id]
        assert model.versions.get(versions[0].id).openapi_schema == CHAT_SCHEMA
        assert client.accounts.current().username == "acme"

    def test_it_follows_pages(self, fake: FakeReplicate, client: Client) -> None:
        fake.page_size = 2
        ids = [client.predictions.create(model=OFFICIAL_MODEL, input={"prompt": "Hi"}).id for _ in range(5)]

        pages = list(paginate(client.predictions.list))

        assert [[prediction.id for prediction in page] for page in pages] == [
            [ids[4], ids[3]],
            [ids[2], ids[1]],
            [ids[0]],
        ]

    def test_it_raises_what_the_model_raised(self, fake: FakeReplicate, client: Client) -> None:
        fake.script(*[Script(chunks=["Hel"], status="failed", error="out of memory")] * 2)

        with pytest.raises(ModelError, match="out of memory"):
            client.run(OFFICIAL_MODEL, input={"prompt": "Hi"})
        with pytest.raises(RuntimeError, match="out of memory"):
            list(client.stream(OFFICIAL_MODEL, input={"prompt": "Hi"}))

    def test_it_understands_refusals(self, fake: FakeReplicate, client: Client) -> None:
        with pytest.raises(ReplicateError) as not_found:
            client.models.get("acme/nothing")
        with pytest.raises(ReplicateError) as invalid:
            client.predictions.create(version="0" * 64, input={"prompt": "Hi"})
        with official_client(fake, token="r8_wrong") as stranger, pytest.raises(ReplicateError) as unknown:
            stranger.accounts.current()

        assert (not_found.value.status, invalid.value.status, unknown.value.status) == (404, 422, 401)
        assert unknown.value.detail == "You did not pass a valid authentication token"

    def test_it_tries_again_when_throttled(self, fake: FakeReplicate, client: Client) -> None:
        throttled = recorded_errors(429)[0]
        fake.fail("account", Answer(429, throttled.body, headers={"retry-after": "0"}), None)

        assert client.accounts.current().username == "acme"
        assert [call.status for call in fake.ledger.to("account")] == [429, 200]

    def test_it_does_not_know_aborted(self, fake: FakeReplicate, client: Client, http: httpx.Client) -> None:
        """The one answer of the OpenAPI document that it refuses: a reason not to poll as it does."""
        fake.script(Script(boot=Gate()))
        id = create(http, **{"cancel-after": "5m"})["id"]
        fake.strike_deadline(id)

        with pytest.raises(ValueError, match="aborted"):
            client.predictions.get(id)


class TestOpenApiDocument:
    """Every answer has the form that the official document gives it, but for what the recordings show otherwise."""

    def test_create_lacks_what_the_recordings_lack(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.default = Script(boot=Gate())
        body = {"input": {"prompt": "Hi"}}
        version = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
        doors = {
            "/predictions": body | {"version": version},
            f"/models/{OFFICIAL_MODEL}/predictions": body,
            f"/deployments/{DEPLOYMENT}/predictions": body,
        }

        for door, sent in doors.items():
            errors = disagreements(http.post(door, json=sent).json(), "schemas_prediction_response")

            assert errors == {"'output' is a required property", "'data_removed' is a required property"}

    def test_snapshots_of_each_status(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(
            Script(boot=Gate()),
            Script(steps=["Hel", Gate()]),
            Script(),
            Script(status="failed", error="out of memory"),
            Script(status="canceled"),
            Script(status="aborted"),
            Script(output={"text": "Hello"}, metrics={"predict_time": -1}),
        )
        statuses = ["starting", "processing", "succeeded", "failed", "canceled", "aborted", "succeeded"]

        for status in statuses:
            created = create(http, **{"cancel-after": "5m"})
            fake.ledger.wait_for(lambda ledger, status=status: ledger.created[-1].status == status)
            snapshot = http.get(f"/predictions/{created['id']}").json()

            assert disagreements(snapshot, "schemas_prediction_response") == set()
            assert snapshot["status"] == status
            assert ("started_at" in snapshot) == (status not in ("starting", "aborted"))
            assert ("completed_at" in snapshot) == ("metrics" in snapshot) == (status in statuses[2:])
        assert (snapshot["output"], snapshot["metrics"]["predict_time"]) == ({"text": "Hello"}, -1)

    def test_cancel_logs_nothing_as_recorded(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=[Gate()]), Script(steps=[Logs("loading\n"), gate := Gate()]))
        first, second = create(http)["id"], create(http)["id"]
        gate.wait_reached()

        bare, logged = (http.post(f"/predictions/{id}/cancel").json() for id in (first, second))

        assert disagreements(bare, "schemas_prediction_response") == {"logs: None is not of type 'string'"}
        assert disagreements(logged, "schemas_prediction_response") == set()

    def test_list(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.page_size = 1
        create(http)
        create(http)

        page = http.get("/predictions").json()

        assert page["next"]
        assert disagreements(page, "schemas_paginated_prediction_response") == set()

    def test_models_and_versions(self, fake: FakeReplicate, http: httpx.Client) -> None:
        id = fake.catalogue.models[VERSIONED_MODEL].versions[0].id

        for path, schema in {
            f"/models/{OFFICIAL_MODEL}": "schemas_model_response",
            f"/models/{VERSIONED_MODEL}": "schemas_model_response",
            f"/models/{VERSIONED_MODEL}/versions": "schemas_paginated_version_response",
            f"/models/{VERSIONED_MODEL}/versions/{id}": "schemas_version_response",
        }.items():
            shown = http.get(path).json()

            assert disagreements(shown, schema) == set()
            for part in [shown, *shown.get("results", [])]:
                assert part.keys() == OPENAPI["components"]["schemas"][part_schema(part, schema)]["properties"].keys()

    def test_account(self, http: httpx.Client) -> None:
        operation = OPENAPI["paths"]["/account"]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]

        assert disagreements(http.get("/account").json(), schema) == set()

    def test_the_comparison_itself_finds_faults(self) -> None:
        """It reads `nullable` and `hidden` as they are meant, and nothing else more loosely than it is written."""
        good: dict[str, Any] = {
            "id": "x",
            "model": "acme/chat",
            "version": "hidden",
            "input": {},
            "output": None,
            "data_removed": False,
            "error": None,
            "status": "starting",
            "created_at": "2025-01-01T00:00:00.000Z",
            "urls": {"web": "https://a.example/", "get": "https://a.example/", "cancel": "https://a.example/"},
        }
        assert disagreements(good, "schemas_prediction_response") == set()

        for wrong in [
            {"status": "successful"},
            {"created_at": "yesterday"},
            {"error": 1},
            {"urls": {"get": "https://a.example/"}},
            {"urls": good["urls"] | {"stream": "not an address"}},
        ]:
            assert disagreements(good | wrong, "schemas_prediction_response") != set()


def part_schema(part: Any, schema: str) -> str:
    return schema if "results" in part or "paginated" not in schema else "schemas_version_response"


class TestRecordings:
    """What was recorded is asked again, and the answers are compared."""

    def test_recorded_stream_is_reproduced_byte_for_byte(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=RECORDED_STEPS, done=False))

        assert read_stream(http, create(http)["urls"]["stream"]) == RECORDED_STREAM

    def test_own_ids_have_the_recorded_form(self, fake: FakeReplicate, http: httpx.Client) -> None:
        stream = read_stream(http, create(http)["urls"]["stream"]).decode()

        ids = [line.removeprefix("id: ").split(":") for line in stream.splitlines() if line.startswith("id: ")]
        assert len(ids) == 5
        pairs = [(int(second), int(counter)) for second, counter in ids]
        assert pairs == sorted(set(pairs))
        assert pairs[0][1] == 0
        assert stream.endswith(f"event: done\nid: {':'.join(ids[-1])}\ndata: {{}}\n\n")

    @pytest.mark.parametrize("name", ["create", "create-by-model", "create-streaming", "create-and-wait"])
    def test_recorded_creates(self, fake: FakeReplicate, http: httpx.Client, name: str) -> None:
        request, recorded = EXCHANGES[name]["request"], EXCHANGES[name]["response"]
        offer_recorded_models(fake)
        output = recorded["body"].get("output")
        streams = "stream" in recorded["body"]["urls"]
        fake.script(
            Script(
                chunks=output or ["Hello"],
                stream=streams,
                model=recorded["body"]["model"],
                version=recorded["body"]["version"],
            )
        )

        answer = http.post(
            request["url"].removeprefix("https://api.replicate.com/v1"),
            json=request["body"],
            headers=request["headers"],
        )

        assert answer.status_code == recorded["status"]
        assert {key: answer.headers[key] for key in recorded["headers"] if key != "content-type"} == {
            key: value for key, value in recorded["headers"].items() if key != "content-type"
        }
        assert media_type(answer.headers["content-type"]) == media_type(recorded["headers"]["content-type"])
        # Since then `urls.web` has become required, and `stream` in the body deprecated.
        assert masked(answer.json(), without={"web"}) == masked(recorded["body"], without={"stream"})

    @pytest.mark.parametrize("name", ["get-starting", "get-processing", "get-succeeded"])
    def test_recorded_gets(self, fake: FakeReplicate, http: httpx.Client, name: str) -> None:
        recorded = EXCHANGES[name]["response"]
        status, output = recorded["body"]["status"], recorded["body"].get("output")
        offer_recorded_models(fake)
        gate = Gate()
        fake.script(
            Script(
                boot=gate if status == "starting" else 0,
                steps=[gate] if status == "processing" else output or [],
                logs=recorded["body"]["logs"],
                stream=False,
            )
        )
        sent = EXCHANGES["create"]["request"]["body"]
        id = http.post("/predictions", json=sent).json()["id"]
        if status == "succeeded":
            finish(fake, id)
        else:
            gate.wait_reached()

        answer = http.get(f"/predictions/{id}")

        assert answer.status_code == recorded["status"]
        # Today's document requires `output` and `data_removed` and knows `source` and `total_time`.
        newer = {"web", "data_removed", "source", "total_time"} | ({"output"} if output is None else set())
        assert masked(answer.json(), without=newer) == masked(recorded["body"], without=set())

    def test_recorded_cancel(self, fake: FakeReplicate, http: httpx.Client) -> None:
        recorded = EXCHANGES["cancel"]["response"]
        offer_recorded_models(fake)
        fake.script(Script(steps=[gate := Gate()], stream=False))
        id = http.post("/predictions", json=EXCHANGES["create"]["request"]["body"]).json()["id"]
        gate.wait_reached()

        answer = http.post(f"/predictions/{id}/cancel")

        assert answer.status_code == recorded["status"]
        assert masked(answer.json(), without={"web", "data_removed", "source"}) == masked(
            recorded["body"], without={"webhook_completed"}
        )

    def test_recorded_invalid_token(self, fake: FakeReplicate, http: httpx.Client) -> None:
        request, recorded = EXCHANGES["invalid-token"]["request"], EXCHANGES["invalid-token"]["response"]

        answer = http.post("/predictions", json=request["body"], headers={"authorization": "Bearer r8_wrong"})

        assert (answer.status_code, answer.json()) == (recorded["status"], recorded["body"])
        assert answer.headers["content-type"] == recorded["headers"]["content-type"]
        assert fake.ledger.created == []


def offer_recorded_models(fake: FakeReplicate) -> None:
    fake.catalogue.add_model("meta/meta-llama-3-8b-instruct", is_official=True)
    sdxl = fake.catalogue.add_model("stability-ai/sdxl", versions=0)
    for name in ("create", "create-streaming"):
        sdxl.versions.append(
            Version(EXCHANGES[name]["request"]["body"]["version"], CHAT_SCHEMA, "2023-08-11T17:00:23.916379Z")
        )


class TestCreate:
    def test_refusals_create_nothing(self, fake: FakeReplicate, http: httpx.Client) -> None:
        body = {"input": {"prompt": "Hi"}}
        version = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
        refused: list[tuple[str, Any, int, str]] = [
            ("/predictions", {"version": "0" * 64} | body, 422, "does not exist"),
            ("/predictions", {"version": VERSIONED_MODEL} | body, 422, "does not exist"),
            ("/predictions", {"version": f"{OFFICIAL_MODEL}:{version}"} | body, 422, "does not exist"),
            ("/predictions", {"version": f"acme/nothing:{version}"} | body, 422, "does not exist"),
            ("/predictions", body, 422, "version is required"),
            ("/predictions", {"version": version}, 422, "input is required"),
            ("/predictions", {"version": version, "input": {}}, 422, "- input: prompt is required\n"),
            ("/predictions", {"version": version, "input": "Hi"}, 422, "object"),
            ("/predictions", {"version": version, "mine": 1} | body, 422, "mine is not allowed"),
            ("/predictions", [], 422, "object"),
            (f"/models/{OFFICIAL_MODEL}/predictions", {"version": version} | body, 422, "version is not allowed"),
            (f"/models/{VERSIONED_MODEL}/predictions", body, 404, "could not be found"),
            ("/models/acme/nothing/predictions", body, 404, "could not be found"),
            ("/deployments/acme/nothing/predictions", body, 404, "could not be found"),
        ]

        for path, sent, status, detail in refused:
            answer = http.post(path, json=sent)

            assert (answer.status_code, answer.json()["status"]) == (status, status), sent
            assert detail in answer.json()["detail"]
            assert answer.headers["content-type"] == "application/problem+json"
        assert http.post("/predictions", content=b"{").status_code == 400
        assert fake.ledger.created == []
        assert len(fake.ledger.to("create")) == len(refused) + 1

    def test_the_reported_refusal_of_an_input_is_met_word_by_word(self, http: httpx.Client) -> None:
        answer = http.post(f"/models/{OFFICIAL_MODEL}/predictions", json={"input": {}})

        assert answer.json() == recorded_errors(422)[1].body

    def test_every_request_but_that_for_a_stream_needs_the_token(self, fake: FakeReplicate, http: httpx.Client) -> None:
        stream = create(http)["urls"]["stream"]
        paths = ["/predictions", "/predictions/x", "/account", f"/models/{OFFICIAL_MODEL}"]

        with httpx.Client(timeout=PATIENCE, trust_env=False) as stranger:
            for path in paths:
                assert stranger.get(fake.url + path).json() == recorded_errors(401)[1].body
            assert b"Hello" in read_stream(stranger, stream)
        assert http.get("/account", headers={"authorization": f"Token {fake.token}"}).status_code == 200

    def test_version_takes_each_documented_form(self, fake: FakeReplicate, http: httpx.Client) -> None:
        id = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
        forms = {OFFICIAL_MODEL: "hidden", f"{VERSIONED_MODEL}:{id}": id, id: id}

        for version, answered in forms.items():
            answer = http.post("/predictions", json={"version": version, "input": {"prompt": "Hi"}})

            assert answer.json()["version"] == answered

    def test_answer_may_name_another_version_and_model(self, fake: FakeReplicate, http: httpx.Client) -> None:
        """Recorded: the service replaced the version it was asked for, and official models by internal names."""
        fake.script(Script(version="7762fd07", model="replicate-internal/chat"))

        created = create(http)

        assert (created["version"], created["model"]) == ("7762fd07", "replicate-internal/chat")
        shown = http.get(f"/predictions/{created['id']}").json()
        assert (shown["version"], shown["model"]) == ("7762fd07", "replicate-internal/chat")

    def test_official_model_hides_its_versions(self, fake: FakeReplicate, http: httpx.Client) -> None:
        model = http.get(f"/models/{OFFICIAL_MODEL}").json()

        assert model["is_official"]
        assert http.get(f"/models/{OFFICIAL_MODEL}/versions").status_code == 404
        assert http.get(f"/models/{OFFICIAL_MODEL}/versions/{model['latest_version']['id']}").status_code == 404

    def test_prefer_wait_gives_up_in_time(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=["Hel", Gate()]))

        created = create(http, prefer="wait=1")

        assert created["status"] == "starting"  # recorded by the official client's comment: though it has begun
        assert "output" not in created

    def test_default_may_depend_on_the_body(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.default = lambda body: Script(chunks=list(body["input"]["prompt"]))
        fake.script(Script(chunks=["first"]))

        outputs = [create(http, prefer="wait")["output"] for _ in range(2)]

        assert outputs == [["first"], ["H", "i"]]

    def test_deadline_aborts_before_the_start_and_cancels_after(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(boot=Gate()), Script(steps=["Hel", gate := Gate()]))
        waiting, running = (create(http, **{"cancel-after": "1h30m45s"}) for _ in range(2))
        lived = datetime.fromisoformat(waiting["deadline"]) - datetime.fromisoformat(waiting["created_at"])
        assert lived.total_seconds() == 5445
        gate.wait_reached()

        for created in (waiting, running):
            fake.strike_deadline(created["id"])

        shown = [http.get(f"/predictions/{created['id']}").json() for created in (waiting, running)]
        assert [snapshot["status"] for snapshot in shown] == ["aborted", "canceled"]
        assert "started_at" not in shown[0]
        assert [created.id for created in fake.ledger.ran()] == [running["id"]]

    @pytest.mark.parametrize("duration", ["4s", "soon", "", "5d"])
    def test_wrong_cancel_after_is_refused(self, http: httpx.Client, duration: str) -> None:
        answer = http.post(
            f"/models/{OFFICIAL_MODEL}/predictions",
            json={"input": {"prompt": "Hi"}},
            headers={"cancel-after": duration},
        )

        assert answer.status_code == 422


class TestReadAndCancel:
    def test_list_is_filtered_by_time(self, fake: FakeReplicate, http: httpx.Client) -> None:
        first, second = create(http), create(http)
        time = http.get(f"/predictions/{second['id']}").json()["created_at"]

        def listed(**query: str) -> list[str]:
            return [row["id"] for row in http.get("/predictions", params=query).json()["results"]]

        assert listed() == [second["id"], first["id"]]
        assert listed(created_after=time) == [second["id"]]
        assert listed(created_before=time) == [first["id"]]
        assert listed(source="web") == []
        assert http.get("/predictions", params={"created_after": "yesterday"}).status_code == 422

    def test_removed_data_is_gone_everywhere(self, fake: FakeReplicate, http: httpx.Client) -> None:
        created = create(http)
        finish(fake, created["id"])

        fake.remove_data(created["id"])

        shown = http.get(f"/predictions/{created['id']}").json()
        assert (shown["data_removed"], shown["output"], shown["input"]) == (True, None, {})
        assert disagreements(shown, "schemas_prediction_response") == set()
        assert http.get(created["urls"]["stream"]).status_code == 404

    def test_final_output_may_differ_from_the_stream(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(chunks=["Hel", "lo"], output=["Hello!"]))
        created = create(http)

        stream = read_stream(http, created["urls"]["stream"])

        finish(fake, created["id"])
        assert b"data: Hel\n" in stream
        assert http.get(f"/predictions/{created['id']}").json()["output"] == ["Hello!"]

    def test_get_may_lag_behind_the_stream(self, fake: FakeReplicate, http: httpx.Client) -> None:
        gate = Gate()
        fake.script(Script(lag=gate))
        created = create(http)

        read_stream(http, created["urls"]["stream"])

        assert http.get(f"/predictions/{created['id']}").json()["status"] == "processing"
        gate.open()
        finish(fake, created["id"])
        assert http.get(f"/predictions/{created['id']}").json()["status"] == "succeeded"

    def test_cancel_ends_the_stream_with_its_reason(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=["Hel", gate := Gate(), "lo"]))
        created = create(http)
        gate.wait_reached()

        assert http.post(f"/predictions/{created['id']}/cancel").json()["output"] == ["Hel"]

        gate.open()  # too late
        stream = read_stream(http, created["urls"]["stream"])
        assert b"lo" not in stream
        assert stream.endswith(b'data: {"reason":"canceled"}\n\n')

    def test_cancel_may_be_ignored(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=["Hel", gate := Gate(), "lo"], ignores_cancel=True))
        id = create(http)["id"]
        gate.wait_reached()

        answer = http.post(f"/predictions/{id}/cancel")

        assert (answer.status_code, answer.json()["status"]) == (200, "processing")
        assert [created.cancels for created in fake.ledger.running()] == [1]
        gate.open()
        finish(fake, id)
        assert http.get(f"/predictions/{id}").json()["output"] == ["Hel", "lo"]

    def test_cancel_of_what_has_ended_changes_nothing(self, fake: FakeReplicate, http: httpx.Client) -> None:
        id = create(http)["id"]
        finish(fake, id)

        assert http.post(f"/predictions/{id}/cancel").json()["status"] == "succeeded"
        assert http.post("/predictions/nothing/cancel").status_code == 404


class TestStream:
    def test_late_reader_gets_all_of_it(self, fake: FakeReplicate, http: httpx.Client) -> None:
        created = create(http)
        finish(fake, created["id"])

        streams = [read_stream(http, created["urls"]["stream"]) for _ in range(2)]

        assert streams[0] == streams[1]
        assert streams[0].count(b"event: output\n") == 4

    def test_reader_resumes_behind_the_last_event_it_saw(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=RECORDED_STEPS, done=False))
        created = create(http)
        finish(fake, created["id"])

        resumed = read_stream(http, created["urls"]["stream"], **{"last-event-id": "1698774370:1"})

        assert resumed == b": hi\n\n" + RECORDED_STREAM.split(b"data:  world\n\n")[1]
        [read] = fake.ledger.of(created["id"]).streams
        assert read.last_event_id == "1698774370:1"

    @pytest.mark.parametrize(("shift", "first"), [(-1, b" world"), (1, b"")])
    def test_resuming_may_repeat_or_skip(
        self, fake: FakeReplicate, http: httpx.Client, shift: int, first: bytes
    ) -> None:
        fake.script(Script(steps=RECORDED_STEPS, done=False, resume_shift=shift))
        created = create(http)
        finish(fake, created["id"])

        resumed = read_stream(http, created["urls"]["stream"], **{"last-event-id": "1698774370:1"})

        assert resumed.split(b"data:")[1].split(b"\n")[0].removeprefix(b" ") == first

    def test_text_comes_while_it_is_made(self, fake: FakeReplicate, http: httpx.Client) -> None:
        gate = Gate()
        fake.script(Script(steps=["Hel", gate, "lo"]))
        created = create(http)

        with http.stream("GET", created["urls"]["stream"]) as answer:
            parts = answer.iter_raw()
            early = b""
            while b"Hel" not in early:
                early += next(parts)
            assert b"lo\n" not in early
            gate.open()
            late = b""
            while b"done" not in late:
                late += next(parts)

        assert b"data: lo\n" in late
        assert answer.headers["content-type"] == "text/event-stream"

    def test_failure_says_error_then_done(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(chunks=["Hel"], status="failed", error="out of memory"))

        stream = read_stream(http, create(http)["urls"]["stream"])

        assert b"event: error\n" in stream
        assert b'data: {"detail": "out of memory"}\n\nevent: done\n' in stream
        assert stream.endswith(b'data: {"reason":"error"}\n\n')

    def test_connection_stays_open_after_done_until_it_idles(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.stream_idle_limit = 0.05
        created = create(http)
        finish(fake, created["id"])

        received, error = read_until_cut(http, created["urls"]["stream"])

        assert error is None
        assert received.endswith(b"data: {}\n\n:408: 408 Request Timeout\n\n")

    def test_ledger_knows_who_ended_a_stream(self, fake: FakeReplicate, http: httpx.Client) -> None:
        created = create(http)

        received = read_stream(http, created["urls"]["stream"])

        [read] = fake.ledger.of(created["id"]).streams
        fake.ledger.wait_for(lambda ledger: read.ended)
        assert read.ended == "client"
        assert read.sent == len(received)

    def test_stream_may_end_without_done(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(chunks=["Hel"], done=False))
        created = create(http)

        received, error = read_until_cut(http, created["urls"]["stream"])

        assert error is None
        assert received.endswith(b"data: Hel\n\n")
        assert fake.ledger.of(created["id"]).streams[0].ended == "server"

    def test_script_may_say_anything(self, fake: FakeReplicate, http: httpx.Client) -> None:
        steps: list[Step] = [
            Output("a\r\n"),
            Output("unheard", streamed=False),
            Logs("50%\n", streamed=True),
            Event("mystery", "?"),
            Raw(b"\xff\xfe no newline"),
            Raw(b"\n\n: comment\n\n"),
            Event("done", "{}"),
            Event("done", "{}"),
        ]
        fake.script(Script(steps=steps, done=False))
        created = create(http)

        received, _ = read_until_cut(http, created["urls"]["stream"])

        assert b"data: a\r\ndata:\n\n" in received
        assert b"unheard" not in received
        assert b"event: logs\n" in received
        assert b"data: 50%\ndata:\n\nevent: mystery\n" in received
        assert b"\xff\xfe no newline\n\n: comment\n\n" in received
        assert received.count(b"event: done\n") == 2
        finish(fake, created["id"])
        shown = http.get(f"/predictions/{created['id']}").json()
        assert (shown["output"], shown["logs"]) == (["a\r\n", "unheard"], "50%\n")

    def test_address_may_be_absent_elsewhere_or_hostile(self, fake: FakeReplicate, http: httpx.Client) -> None:
        hostile = "http://169.254.169.254/latest/meta-data"
        fake.script(Script(stream=False), Script(stream=hostile), Script())

        assert "stream" not in create(http)["urls"]
        assert create(http)["urls"]["stream"] == hostile
        fake.stream_origin = "https://stream.replicate.com"
        assert create(http)["urls"]["stream"].startswith("https://stream.replicate.com/v1/streams/")


class TestFaults:
    def test_cut_at_each_byte_of_the_recorded_stream(self, fake: FakeReplicate, http: httpx.Client) -> None:
        places = range(len(RECORDED_STREAM) + 1)
        fake.script(Script(steps=RECORDED_STEPS, done=False, on_stream=[Cut(after=place) for place in places]))
        stream = create(http)["urls"]["stream"]

        for place in places:
            received, error = read_until_cut(http, stream)

            assert received == RECORDED_STREAM[:place]
            assert isinstance(error, httpx.RemoteProtocolError)
        assert read_stream(http, stream) == RECORDED_STREAM

    def test_cut_may_be_silent_or_a_reset(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(on_stream=[Cut(after=9, how="end"), Cut(after=9, how="reset")]))
        stream = create(http)["urls"]["stream"]

        received, error = read_until_cut(http, stream)
        assert (len(received), error) == (9, None)
        _, error = read_until_cut(http, stream)
        assert isinstance(error, httpx.ReadError)

    def test_reader_may_be_disconnected_in_mid_stream_and_come_back(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.script(Script(steps=["Hel", Disconnect(), "lo"]))
        stream = create(http)["urls"]["stream"]

        received, error = read_until_cut(http, stream)

        assert received.endswith(b"data: Hel\n\n")
        assert isinstance(error, httpx.RemoteProtocolError)
        assert b"data: lo\n" in read_stream(http, stream)

    def test_create_may_be_refused(self, fake: FakeReplicate, http: httpx.Client) -> None:
        answers = [answer for status in (402, 422, 429) for answer in recorded_errors(status)]
        fake.script(*[Script(on_create=answer) for answer in answers])

        for expected in answers:
            answer = http.post(f"/models/{OFFICIAL_MODEL}/predictions", json={"input": {"prompt": "Hi"}})

            assert (answer.status_code, answer.json()) == (expected.status, expected.body)
        assert fake.ledger.created == []
        assert create(http)["status"] == "starting"

    @pytest.mark.parametrize("handled", [True, False])
    def test_answer_of_a_create_may_be_lost(self, fake: FakeReplicate, http: httpx.Client, handled: bool) -> None:
        fake.script(Script(on_create=Cut(handled=handled)))

        with pytest.raises(httpx.RemoteProtocolError):
            create(http)

        assert len(fake.ledger.created) == (1 if handled else 0)
        listed = http.get("/predictions").json()["results"]
        assert [row["id"] for row in listed] == [created.id for created in fake.ledger.created]

    def test_create_may_fail_after_it_was_done(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(on_create=Answer(500, "<html>", "text/html", handled=True)))

        answer = http.post(f"/models/{OFFICIAL_MODEL}/predictions", json={"input": {"prompt": "Hi"}})

        assert (answer.status_code, answer.text) == (500, "<html>")
        assert len(fake.ledger.created) == 1

    def test_answer_may_be_cut_in_the_middle(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(on_create=Cut(after=20)), Script(on_create=Cut(after=20, how="end")))

        with pytest.raises(httpx.RemoteProtocolError):
            create(http)
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            create(http)

        assert len(fake.ledger.created) == 2

    def test_answer_may_come_late(self, fake: FakeReplicate, http: httpx.Client) -> None:
        gate = Gate()
        fake.script(Script(on_create=Late(gate)))
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(create(http)))
        asking.start()

        [created] = fake.ledger.wait_for(lambda ledger: ledger.created)
        gate.wait_reached()
        assert answers == []
        finish(fake, created.id)
        gate.open()
        asking.join(PATIENCE)

        assert [answer["id"] for answer in answers] == [created.id]

    @pytest.mark.parametrize("door", ["create", "get", "stream", "cancel"])
    def test_each_door_may_hang(self, fake: FakeReplicate, http: httpx.Client, door: str) -> None:
        fake.script(Script(**{"on_create": Hang()} if door == "create" else {f"on_{door}": [Hang()]}))
        requests: dict[str, Callable[[], object]] = {"create": lambda: create(http)}
        if door != "create":
            urls = create(http)["urls"]
            requests["get"] = lambda: http.get(urls["get"])
            requests["stream"] = lambda: http.get(urls["stream"])
            requests["cancel"] = lambda: http.post(urls["cancel"])
        http.timeout = httpx.Timeout(PATIENCE, read=0.1)

        with pytest.raises(httpx.ReadTimeout):
            requests[door]()

        assert len(fake.ledger.created) == 1
        assert fake.ledger.to(door)[-1].status is None

    def test_get_may_fail_the_first_times(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(on_get=[NOT_FOUND, NOT_FOUND, BAD_GATEWAY]))
        id = create(http)["id"]

        statuses = [http.get(f"/predictions/{id}").status_code for _ in range(4)]

        assert statuses == [404, 404, 502, 200]
        assert fake.ledger.of(id).gets == 4

    def test_stream_may_be_refused(self, fake: FakeReplicate, http: httpx.Client) -> None:
        redirect = Answer(302, headers={"location": "http://127.0.0.1:1/"})
        page = Answer(200, "<html>", "text/html")
        fake.script(Script(on_stream=[NOT_FOUND, redirect, page]))
        created = create(http)

        answers = [http.get(created["urls"]["stream"]) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [404, 302, 200]
        assert answers[1].headers["location"] == "http://127.0.0.1:1/"
        assert answers[2].headers["content-type"] == "text/html"
        assert [read.ended for read in fake.ledger.of(created["id"]).streams] == ["server"] * 3

    def test_cancel_may_fail(self, fake: FakeReplicate, http: httpx.Client) -> None:
        done = Answer(500, handled=True)
        fake.script(Script(steps=[Gate()], on_cancel=[BAD_GATEWAY, Cut(handled=False), done]))
        id = create(http)["id"]

        assert http.post(f"/predictions/{id}/cancel").status_code == 502
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(f"/predictions/{id}/cancel")
        assert fake.ledger.running() != []
        assert http.post(f"/predictions/{id}/cancel").status_code == 500
        assert fake.ledger.running() == []

    def test_other_doors_may_fail(self, fake: FakeReplicate, http: httpx.Client) -> None:
        id = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
        doors = {
            "list": "/predictions",
            "account": "/account",
            "model": f"/models/{VERSIONED_MODEL}",
            "versions": f"/models/{VERSIONED_MODEL}/versions",
            "version": f"/models/{VERSIONED_MODEL}/versions/{id}",
        }

        for door, path in doors.items():
            fake.fail(door, BAD_GATEWAY)

            assert [http.get(path).status_code for _ in range(2)] == [502, 200]
            assert len(fake.ledger.to(door)) == 2

    def test_nonsense_is_refused_when_it_is_written(self) -> None:
        with pytest.raises(ValueError, match="ends in one of"):
            Script(status="processing")
        with pytest.raises(ValueError, match="go together"):
            Script(error="out of memory")
        with pytest.raises(ValueError, match="not begun"):
            Cut(how="end")
        with pytest.raises(ValueError, match="no door 'lost'"):
            FakeReplicate().fail("lost", None)


class TestServer:
    def test_connections_are_kept_alive(self, fake: FakeReplicate, http: httpx.Client) -> None:
        created = create(http)
        http.get(f"/predictions/{created['id']}")
        http.get("/nothing")

        assert fake.connections == 1

    def test_broken_requests_are_refused(self, fake: FakeReplicate) -> None:
        for request in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nBad\x00: 1\r\n\r\n"):
            assert ask_raw(fake, request).startswith(b"HTTP/1.1 400 ")
        assert ask_raw(fake, b"") == b""

    def test_requests_may_be_sent_ahead(self, fake: FakeReplicate) -> None:
        one = b"GET /v1/account HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n" % fake.token.encode()
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        assert ask_raw(fake, one + one + last).count(b"HTTP/1.1 200 ") == 3

    def test_body_may_wait_for_leave(self, fake: FakeReplicate) -> None:
        head = b"POST /v1/predictions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        with socket.create_connection(("127.0.0.1", urlsplit(fake.url).port or 0), PATIENCE) as connection:
            connection.sendall(head + b"Connection: close\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"{}")
            assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")

    def test_nothing_is_left_behind(self) -> None:
        """Hanging requests, unread streams and predictions without end stop with the fake, without a warning."""
        gate = Gate()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fake = FakeReplicate(default=Script(steps=["Hel", gate]))
            with fake:
                http = open_client(fake)
                stream = create(http, **{"cancel-after": "1h"})["urls"]["stream"]
                fake.fail("account", Hang())
                with pytest.raises(httpx.ReadTimeout):
                    http.get("/account", timeout=0.05)
                unread = http.send(http.build_request("GET", stream), stream=True)
                gate.wait_reached()
            unread.close()
            http.close()
            gate.open()
            gc.collect()

        assert [str(warning.message) for warning in caught] == []
        assert "loopback server" not in [thread.name for thread in threading.enumerate()]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(stream).port or 0), PATIENCE)

    def test_what_goes_wrong_inside_is_not_hidden(self) -> None:
        def ask() -> None:
            with (
                FakeReplicate(default=lambda body: body["no such key"]) as fake,
                open_client(fake) as http,
                pytest.raises(httpx.RemoteProtocolError),
            ):
                create(http)

        with pytest.raises(AssertionError, match="the LoopbackServer itself failed"):
            ask()

    def test_a_script_without_end_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.fake_replicate.predictions.STREAM_LIMIT", 10_000)
        endless = iter(lambda: "again and ", None)

        def ask() -> None:
            with FakeReplicate(default=Script(steps=endless)) as fake, open_client(fake) as http:
                finish(fake, create(http)["id"])

        with pytest.raises(AssertionError) as failure:
            ask()
        assert "longer than 10000 bytes" in str(failure.value.__cause__)

    def test_whoever_waits_for_the_ledger_is_woken(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(boot=(gate := Gate())))
        created = create(http)
        start = time.monotonic()

        # The condition is looked at with the ledger locked: the end can only come after the waiting has begun.
        fake.ledger.wait_for(lambda ledger: gate.open() or not ledger.of(created["id"]).is_running)

        assert time.monotonic() - start < WAIT_LIMIT / 2

    def test_waiting_in_vain_fails(self, fake: FakeReplicate) -> None:
        with pytest.raises(TimeoutError):
            Gate().wait_reached(timeout=0.01)
        with pytest.raises(TimeoutError):
            fake.ledger.wait_for(lambda ledger: ledger.created, timeout=0.01)
