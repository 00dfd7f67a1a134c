"""What Replicate answered to its own client, answered to ours: every recording is understood, and asked for alike."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from predictions.budget import ReadBudget
from predictions.events import STATUSES, Completed, Output, from_snapshot
from predictions.models import Condition, File, Model, Prediction, Provider, Version
from predictions.providers.errors import AccountRefused, AnswerLost, ProviderRefused, StreamInterrupted
from predictions.providers.http import HostClient
from predictions.providers.replicate import ReplicateProvider
from predictions.providers.replicate.catalogue import Account
from predictions.schema import InputKind, OutputKind

DATA = Path(__file__).parent / "data"
API = "https://api.replicate.com/v1"
EXCHANGES: list[dict[str, Any]] = json.loads((DATA / "recordings/exchanges.json").read_text())
STREAM = (DATA / "replicate/vercel-replicate-sse.sse").read_bytes()

SDXL = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
SDXL_NOW = "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
LLAMA = "02e509c789964a7ea8736978a43525956ef40397be9033abf9fd2badfe68c9e3"
LLAMA_PLACE = "meta/meta-llama-3-8b-instruct"
HAIKU = "test_models_predictions_create_blocking"


def recorded(cassette: str, index: int) -> dict[str, Any]:
    [exchange] = [each for each in EXCHANGES if (each["cassette"], each["index"]) == (cassette, index)]
    return exchange


def body_of(exchange: dict[str, Any]) -> Any:
    text = exchange["response"]["text"]
    return json.loads(text) if text else None


def is_prediction(exchange: dict[str, Any]) -> bool:
    body = body_of(exchange)
    return isinstance(body, dict) and {"id", "status", "input", "urls"} <= body.keys()


def is_create(exchange: dict[str, Any]) -> bool:
    return is_prediction(exchange) and exchange["request"]["body"] is not None


def name_of(exchange: dict[str, Any]) -> str:
    return f"{exchange['cassette']}-{exchange['index']}"


PREDICTIONS = [exchange for exchange in EXCHANGES if is_prediction(exchange)]
CREATES = [exchange for exchange in EXCHANGES if is_create(exchange)]


class Replay:
    """Replicate, as far as it was recorded: the answers to an address are given in the order in which they came."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self._answers: dict[tuple[str, str], Iterator[httpx.Response]] = {}
        client = HostClient(
            API,
            headers={"Authorization": "Bearer r8_recorded"},
            stream_hosts=["replicate.com", "replicate.net"],
            file_hosts=["replicate.delivery", "replicate.com"],
            transport=httpx.MockTransport(self._answer),
        )
        self.provider = ReplicateProvider(client, ReadBudget(Provider(kind="replicate")))

    def give(self, *exchanges: dict[str, Any]) -> "Replay":
        for exchange in exchanges:
            request, response = exchange["request"], exchange["response"]
            headers = {"content-type": response["content_type"]}
            answer = httpx.Response(response["status"], headers=headers, text=response["text"])
            self.answer_with(request["method"], request["url"], answer)
        return self

    def answer_with(self, method: str, url: str, *answers: httpx.Response) -> "Replay":
        earlier = self._answers.get((method, url), iter(()))
        self._answers[method, url] = iter([*earlier, *answers])
        return self

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return next(self._answers[request.method, str(request.url)])


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Replicate as it was recorded; the budget of looks, which is kept in the database, has no end."""
    monkeypatch.setattr(Condition, "take_reads", lambda provider, wanted: (wanted, 0.0))
    return Replay()


def prediction_of(exchange: dict[str, Any], schema: dict[str, Any] | None = None) -> Prediction:
    """Return our row as it is when a recorded prediction is asked for, or looked at."""
    asked, body = exchange["request"], body_of(exchange)
    by_name = asked["url"].startswith(f"{API}/models/")
    ref = asked["url"].removeprefix(f"{API}/models/").removesuffix("/predictions") if by_name else "stability-ai/sdxl"
    model = Model(ref=ref, is_official=by_name, provider=Provider(kind="replicate"))
    named = (asked["body"] or body).get("version", "")
    version = Version(model=model, identifier=named, openapi_schema=schema or {})
    return Prediction(model=model, version=version, provider_id=body["id"], urls=body["urls"])


def schema_of(cassette: str, index: int) -> dict[str, Any]:
    body = body_of(recorded(cassette, index))
    document: dict[str, Any] = body.get("openapi_schema") or body["latest_version"]["openapi_schema"]
    return document


# ---------------------------------------------------------------- asked as Replicate's own client asks


@pytest.mark.parametrize("exchange", CREATES, ids=name_of)
async def test_a_create_is_asked_for_as_it_was_recorded(replay: Replay, exchange: dict[str, Any]) -> None:
    asked = exchange["request"]

    await replay.give(exchange).provider.create(prediction_of(exchange), asked["body"]["input"])

    [request] = replay.asked
    assert (request.method, str(request.url)) == (asked["method"], asked["url"])
    # Replicate has come to say that `stream` is not needed; nothing is held open, so there is no `Prefer` either.
    assert json.loads(request.content) == {key: asked["body"][key] for key in asked["body"] if key != "stream"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer r8_recorded"
    assert "prefer" not in request.headers


async def test_a_cancel_is_asked_for_as_it_was_recorded(replay: Replay) -> None:
    exchange = recorded("predictions-cancel", 4)

    await replay.give(exchange).provider.cancel(prediction_of(exchange))

    [request] = replay.asked
    assert (request.method, str(request.url), request.content) == ("POST", exchange["request"]["url"], b"")


async def test_a_file_is_uploaded_as_it_was_recorded(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = recorded("file-operations", 0)
    file = File(name="test_fileo20o3wth.txt", media_type="text/plain", size=300_000)
    monkeypatch.setattr(file.content, "open", lambda: io.BytesIO(b"x" * 300_000))

    sent = await replay.give(exchange).provider.send_file(file)

    [request] = replay.asked
    assert (request.method, str(request.url)) == ("POST", exchange["request"]["url"])
    [ours] = parts_of(request.headers["content-type"], request.content)
    boundary = exchange["request"]["body"].partition("\r\n")[0].removeprefix("--")
    [theirs] = parts_of(f"multipart/form-data; boundary={boundary}", exchange["request"]["body"].encode())
    assert ours.items() == theirs.items()
    assert ours.get_payload(decode=True) == b"x" * 300_000
    assert sent.address == body_of(exchange)["urls"]["get"]
    assert sent.until is not None


def parts_of(content_type: str, content: bytes) -> list[EmailMessage]:
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content, policy=policy.HTTP)
    return list(whole.iter_parts())


# ---------------------------------------------------------------- every prediction can be read


@pytest.mark.parametrize("exchange", PREDICTIONS, ids=name_of)
async def test_every_recorded_prediction_is_read(replay: Replay, exchange: dict[str, Any]) -> None:
    body = body_of(exchange)
    look = {**exchange, "request": {"method": "GET", "url": f"{API}/predictions/{body['id']}"}}

    snapshot = await replay.give(look).provider.poll(prediction_of(exchange))

    assert snapshot.provider_id == body["id"]
    assert snapshot.status == body["status"] in STATUSES
    assert (snapshot.model, snapshot.version) == (body.get("model", ""), body["version"])
    assert snapshot.logs == (body["logs"] or "")
    assert snapshot.metrics == body.get("metrics", {})
    assert snapshot.error == ""
    assert snapshot.urls == body["urls"]
    assert (snapshot.output is None) == (body.get("output") is None)


def test_there_is_something_to_read() -> None:
    texts = [exchange["response"]["text"] for exchange in PREDICTIONS]

    assert (len(PREDICTIONS), len(CREATES)) == (30, 16)
    assert sum(text.count('"model":') == 2 for text in texts) == 4  # the same key twice
    assert sum('"model":' not in text and '"model": ' not in text for text in texts) == 1
    assert sum('"output":' not in text for text in texts) == 20


@pytest.mark.parametrize("exchange", CREATES, ids=name_of)
async def test_every_recorded_answer_to_a_create_is_read(replay: Replay, exchange: dict[str, Any]) -> None:
    body = body_of(exchange)

    created = await replay.give(exchange).provider.create(prediction_of(exchange), exchange["request"]["body"]["input"])

    assert (created.provider_id, created.status) == (body["id"], body["status"])
    assert created.urls == body["urls"]


@pytest.mark.parametrize(
    ("cassette", "index", "version"),
    [
        ("models-predictions-create", 0, "d-c6559c5791b50af57b69f4a73f8e021c"),
        ("test_predictions_create_by_model[False]", 0, "dp-a557b7387b4940df25b23f779dc534c4"),
        ("test_predictions_create_blocking[False-10]", 2, SDXL_NOW),
    ],
)
async def test_the_version_that_answers_may_be_another_than_was_asked_for(
    replay: Replay, cassette: str, index: int, version: str
) -> None:
    exchange = recorded(cassette, index)
    prediction = prediction_of(exchange)

    created = await replay.give(exchange).provider.create(prediction, {})

    assert prediction.version is not None
    assert created.version == version != prediction.version.identifier


async def test_the_model_that_answers_may_have_another_name(replay: Replay) -> None:
    exchange = recorded("models-predictions-create", 0)

    created = await replay.give(exchange).provider.create(prediction_of(exchange), {})

    assert exchange["request"]["url"] == f"{API}/models/meta/llama-2-70b-chat/predictions"
    assert created.model == "replicate/lifeboat-70b"


@pytest.mark.parametrize("version", ["hidden", "dp-a557b7387b4940df25b23f779dc534c4", "", None, 7, ["x"], "\x00"])
async def test_whatever_stands_as_the_version_is_no_obstacle(replay: Replay, version: Any) -> None:
    exchange = changed(recorded("predictions-get", 0), version=version)

    snapshot = await replay.give(exchange).provider.poll(prediction_of(exchange, {}))

    assert snapshot.status == body_of(exchange)["status"]
    assert "\x00" not in snapshot.version


@pytest.mark.parametrize(
    "key", ["model", "version", "input", "logs", "error", "created_at", "urls", "metrics", "output"]
)
async def test_any_key_but_the_id_may_be_missing(replay: Replay, key: str) -> None:
    exchange = recorded("run", 12)
    body = {name: value for name, value in body_of(exchange).items() if name != key}

    snapshot = await replay.give(with_body(exchange, body)).provider.poll(prediction_of(exchange))

    assert (snapshot.provider_id, snapshot.status) == (body["id"], "succeeded")


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"id": ""}, {"id": None}, {"id": 7}, {"id": "a\nb"}, {"id": "x" * 201}]
)
async def test_an_answer_without_an_id_is_no_prediction(replay: Replay, body: Any) -> None:
    exchange = recorded("predictions-create", 1)

    with pytest.raises(AnswerLost):
        await replay.give(with_body(exchange, body)).provider.create(prediction_of(exchange), {})


async def test_measures_below_zero_are_not_kept(replay: Replay) -> None:
    """Replicate shows such a `predict_time` in an example of its collections."""
    metrics = {"predict_time": -0.25, "total_time": 4.95, "token_output_count": 17, "note": "fast", "ready": True}
    exchange = changed(recorded("run", 12), metrics=metrics)

    snapshot = await replay.give(exchange).provider.poll(prediction_of(exchange))

    assert snapshot.metrics == {"total_time": 4.95, "output_token_count": 17}


async def test_a_prediction_that_was_removed_has_nothing_left(replay: Replay) -> None:
    exchange = changed(recorded("run", 12), data_removed=True, output=None, logs=None)

    snapshot = await replay.give(exchange).provider.poll(prediction_of(exchange))

    assert (snapshot.status, snapshot.output, snapshot.files) == ("failed", None, ())
    assert "Try again if you still want it." in snapshot.error


def changed(exchange: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return with_body(exchange, {**body_of(exchange), **keys})


def with_body(exchange: dict[str, Any], body: Any) -> dict[str, Any]:
    return {**exchange, "response": {**exchange["response"], "text": json.dumps(body)}}


# ---------------------------------------------------------------- whole lives


async def test_a_whole_life_from_create_to_the_picture(replay: Replay) -> None:
    exchanges = [recorded("run", index) for index in range(13)]
    create, description, *looks = exchanges
    replay.give(*exchanges)
    schema = (await replay.provider.catalogue.version("stability-ai/sdxl", SDXL)).openapi_schema
    assert schema == body_of(description)["openapi_schema"]
    prediction = prediction_of(create, schema)
    prediction.resume("")

    snapshots = [await replay.provider.create(prediction, create["request"]["body"]["input"])]
    snapshots += [await replay.provider.poll(prediction) for _ in looks]

    assert [snapshot.status for snapshot in snapshots] == [*["starting"] * 2, *["processing"] * 9, "succeeded"]
    assert {(snapshot.model, snapshot.version) for snapshot in snapshots} == {("stability-ai/sdxl", SDXL)}
    lengths = [len(snapshot.logs) for snapshot in snapshots]
    assert lengths == sorted(lengths)
    assert lengths[-1] == 1_363
    assert {snapshot.output for snapshot in snapshots[:-1]} == {None}
    assert snapshots[-1].output == ""
    assert snapshots[-1].files == (body_of(looks[-1])["output"][0],)
    assert snapshots[-1].metrics == {"predict_time": 5.524512}


async def test_a_recorded_life_leaves_our_row_as_replicate_says_it_ended(replay: Replay) -> None:
    create, _, *looks = [recorded("run", index) for index in range(13)]
    prediction = prediction_of(create, schema_of("run", 1))
    prediction.resume("")
    replay.give(*looks)

    progress = []
    for look in looks:
        for event in from_snapshot(await replay.provider.poll(prediction)):
            prediction.apply(event, at=moment_of(look))
        progress.append(prediction.progress)

    assert progress[:-1] == [None, None, 0, 18, 38, 58, 78, 98, 98, 98]
    assert (prediction.status, prediction.error, prediction.transcript.end) == ("succeeded", "", 0)
    assert prediction.logs == body_of(looks[-1])["logs"]
    assert prediction.started_at == moment_of(looks[1])
    assert prediction.completed_at == moment_of(looks[-1])


def moment_of(exchange: dict[str, Any]) -> datetime:
    """Say when an exchange took place: one a second."""
    return datetime(2023, 11, 16, 11, 46, exchange["index"], tzinfo=UTC)


async def test_a_recorded_cancel_ends_it(replay: Replay) -> None:
    create, cancel = recorded("predictions-cancel", 3), recorded("predictions-cancel", 4)
    look = {**cancel, "request": {"method": "GET", "url": body_of(create)["urls"]["get"]}}
    replay.give(create, cancel, look)
    prediction = prediction_of(create, schema_of("predictions-cancel", 2))

    created = await replay.provider.create(prediction, create["request"]["body"]["input"])
    await replay.provider.cancel(prediction)
    snapshot = await replay.provider.poll(prediction)

    assert created.status == "starting"
    assert from_snapshot(snapshot) == [
        Completed("canceled", metrics={"predict_time": 0.128148, "total_time": 0.175128})
    ]


@pytest.mark.parametrize("kind", ["False-10", "False-True", "True-10", "True-True"])
async def test_a_text_that_came_with_the_create_is_whole(replay: Replay, kind: str) -> None:
    """Its status is still `processing`, and `Prefer: wait` was asked for: whoever answers so early is understood."""
    exchange = recorded(f"{HAIKU}[{kind}]", 0)
    schema = schema_of("predictions-stream", 0)

    snapshot = await replay.give(exchange).provider.create(prediction_of(exchange, schema), {})

    text = "".join(body_of(exchange)["output"])
    assert snapshot.output == text
    assert text.startswith("\n\n")
    assert (snapshot.status, snapshot.files) == ("processing", ())
    assert Output(text, 0) in from_snapshot(snapshot)


@pytest.mark.parametrize("index", [2, 5])
@pytest.mark.parametrize("is_described", [True, False])
async def test_a_picture_that_came_with_the_create_is_a_file(replay: Replay, index: int, is_described: bool) -> None:
    exchange = recorded("test_predictions_create_blocking[False-10]", index)
    schema = schema_of("models-get", 0) if is_described else {}

    snapshot = await replay.give(exchange).provider.create(prediction_of(exchange, schema), {})

    assert snapshot.files == tuple(body_of(exchange)["output"])
    assert snapshot.files[0].startswith("data:image/png;base64,iVBORw0KGgo")
    assert (snapshot.status, snapshot.output) == ("processing", "")


async def test_a_stream_of_files_is_not_opened(replay: Replay) -> None:
    exchange = recorded("test_predictions_create_blocking[False-10]", 2)
    prediction = prediction_of(exchange)
    assert prediction.urls["stream"].startswith("https://stream.replicate.com/v1/files/")

    with pytest.raises(StreamInterrupted):
        [event async for event in replay.provider.stream(prediction)]
    assert replay.asked == []


async def test_a_recorded_stream_is_read_at_the_recorded_address(replay: Replay) -> None:
    """The stream was recorded without its prediction: one of the same kind says how that ended."""
    exchange = recorded(f"{HAIKU}[True-10]", 0)
    prediction = prediction_of(exchange, schema_of("predictions-stream", 0))
    prediction.resume("")
    ended = changed(exchange, status="succeeded", output=["", " Hello,", " world", "."])
    look = {**ended, "request": {"method": "GET", "url": prediction.urls["get"]}}
    stream = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=STREAM)
    replay.give(look).answer_with("GET", prediction.urls["stream"], stream)

    events = [event async for event in replay.provider.stream(prediction)]

    assert [event for event in events if isinstance(event, Output)] == [Output(" Hello, world.", 0)]
    assert events[-1] == Completed("succeeded", output=" Hello, world.")
    assert replay.asked[0].headers["accept"] == "text/event-stream"


# ---------------------------------------------------------------- what is looked up


async def test_a_model_is_looked_up(replay: Replay) -> None:
    exchange = recorded("models-get", 0)
    body = body_of(exchange)

    model = await replay.give(exchange).provider.catalogue.model("stability-ai/sdxl")

    assert (model.ref, model.description) == ("stability-ai/sdxl", body["description"])
    assert model.is_official is False
    assert model.facts["run_count"] == 19_361_490
    assert model.facts["default_example"] == {key: body["default_example"][key] for key in ("input", "output")}
    assert {"cover_image_url", "license_url", "github_url", "paper_url", "visibility"} < model.facts.keys()
    assert model.latest is not None
    assert model.latest.identifier == SDXL
    version = Version(openapi_schema=model.latest.openapi_schema)
    assert version.output_kind == OutputKind.FILES
    assert list(version.inputs)[:3] == ["prompt", "negative_prompt", "image"]
    assert version.inputs["image"].kind == InputKind.FILE


async def test_a_model_without_a_version_is_looked_up(replay: Replay) -> None:
    model = await replay.give(recorded("models-get", 1)).provider.catalogue.model("mattt/empty")

    assert (model.ref, model.latest) == ("mattt/empty", None)


async def test_a_chat_model_and_its_version_are_looked_up(replay: Replay) -> None:
    replay.give(recorded("predictions-stream", 0), recorded("predictions-stream", 1))

    model = await replay.provider.catalogue.model("meta/llama-2-70b-chat")
    version = await replay.provider.catalogue.version("meta/llama-2-70b-chat", LLAMA)

    assert model.latest is not None
    assert model.latest.identifier == version.identifier == LLAMA
    assert Version(openapi_schema=version.openapi_schema).output_kind == OutputKind.TEXT_STREAM
    assert "prompt" in Version(openapi_schema=version.openapi_schema).inputs


async def test_the_account_is_looked_up(replay: Replay) -> None:
    """In the form of Replicate's documentation; no recording shows one."""
    account = {"type": "organization", "username": "acme", "name": "Acme Corp, Inc.", "github_url": None}
    replay.answer_with("GET", f"{API}/account", httpx.Response(200, json=account))

    assert await replay.provider.catalogue.account() == Account("acme", "organization")


async def test_the_collections_are_looked_up(replay: Replay) -> None:
    exchange = recorded("collections-list", 0)

    collections = await replay.give(exchange).provider.catalogue.collections()

    assert len(replay.asked) == 1
    assert [(each.slug, each.name, each.description) for each in collections] == [
        (row["slug"], row["name"], row["description"]) for row in body_of(exchange)["results"]
    ]
    assert "streaming-language-models" in {each.slug for each in collections}


# ---------------------------------------------------------------- refused


async def test_a_bad_token_is_told_to_whoever_hosts(replay: Replay) -> None:
    exchange = recorded("run__invalid-token", 0)
    model = Model(ref="acme/chat", is_official=False)
    prediction = Prediction(
        model=model, version=Version(model=model, identifier=exchange["request"]["body"]["version"])
    )

    with pytest.raises(AccountRefused, match="must set REPLICATE_API_TOKEN"):
        await replay.give(exchange).provider.create(prediction, {})

    [request] = replay.asked
    assert json.loads(request.content) == exchange["request"]["body"]


async def test_what_is_not_there_is_a_final_no(replay: Replay) -> None:
    exchange = recorded("trainings-create__invalid-destination", 0)
    look = {**exchange, "request": {"method": "GET", "url": f"{API}/models/acme/nothing"}}

    with pytest.raises(ProviderRefused, match="does not know this model"):
        await replay.give(look).provider.catalogue.model("acme/nothing")
