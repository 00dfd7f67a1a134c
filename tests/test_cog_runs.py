"""Predictions at real Cog servers, with the bundled models, through a real worker."""

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
import pytest
from django.utils import timezone

from chat.models import User
from predictions import catalogue, files, providers
from predictions.bus import bus
from predictions.database import query
from predictions.events import Logs
from predictions.follow import follow, stored_text
from predictions.models import File, Model, Prediction, Provider
from predictions.models.catalogue import PATIENCE
from predictions.providers.base import LOGS_LIMIT
from predictions.providers.cog import CogProvider
from predictions.providers.errors import NotTaken, PredictionGone, ProviderRefused, StreamInterrupted
from predictions.providers.http import HostClient
from tests.cog import CogServer, start_cog_server
from tests.conftest import WorkerThread, ended
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

LONG_TEXT = " ".join(f"Sentence number {n} speaks of rivers and of the sea." for n in range(12))


@pytest.fixture(scope="module")
def smollm2_server() -> Iterator[CogServer]:
    with start_cog_server("smollm2") as server:
        yield server


@pytest.fixture(scope="module")
def summary_server() -> Iterator[CogServer]:
    with start_cog_server("summary") as server:
        yield server


def offer(server: CogServer, name: str, settings: Any) -> Model:
    settings.COG_SERVERS = {name: server.url}
    catalogue.sync_with_environment()
    model = Model.objects.select_related("provider").get(ref=name)

    async def describe() -> None:
        provider = providers.connect(model.provider)
        description = await provider.describe(model)
        await provider.close()
        await query(catalogue.take_in, model, description)

    asyncio.run(describe())
    return model


@pytest.fixture
def smollm2(transactional_db: None, smollm2_server: CogServer, settings: Any) -> Model:
    smollm2_server.wait_until_free()
    return offer(smollm2_server, "smollm2", settings)


@pytest.fixture
def summary(transactional_db: None, summary_server: CogServer, settings: Any) -> Model:
    summary_server.wait_until_free()
    return offer(summary_server, "summary", settings)


@pytest.fixture(scope="module")
def painter_server() -> Iterator[CogServer]:
    with start_cog_server("tests/models/painter") as server:
        yield server


@pytest.fixture
def painter(transactional_db: None, painter_server: CogServer, settings: Any) -> Model:
    painter_server.wait_until_free()
    return offer(painter_server, "painter", settings)


def ask(model: Model, user: User | None = None, **fields: Any) -> Prediction:
    prediction = Prediction.objects.create(model=model, version=model.versions.get(), user=user, input=fields)
    bus.publish(("work", {}))
    return prediction


def test_the_bundled_model_knows_the_capital_of_france(smollm2: Model, worker: WorkerThread) -> None:
    prediction = ask(smollm2, prompt="What is the capital of France?")

    async def read() -> list[str]:
        return [frame.text async for frame in follow(prediction.pk) if frame.text]

    pieces = asyncio.run(asyncio.wait_for(read(), 60))

    assert "Paris" in ended(prediction).output
    assert (prediction.status, prediction.edition, prediction.attempts) == ("succeeded", 0, 1)
    assert "".join(pieces) == prediction.output
    assert prediction.metrics["predict_time"] > 0


def test_a_model_that_cannot_stream_is_polled(summary: Model, worker: WorkerThread) -> None:
    prediction = ask(summary, prompt=LONG_TEXT, pause=0.4)

    seen = set()
    while not Prediction.objects.get(pk=prediction.pk).is_terminal:
        seen.add(stored_text(prediction.pk))
    ended(prediction)

    assert prediction.status == "succeeded"
    assert "**In short**" in prediction.output
    assert prediction.output.endswith("to read.")
    partial = {text for text in seen if text and prediction.output.startswith(text)}
    assert len(partial) > 2
    assert seen - partial <= {""}
    assert prediction.attempts == 1


def test_one_slot_is_shared_fairly(summary: Model, alice: User, charlie: User, worker: WorkerThread) -> None:
    first = ask(summary, alice, prompt=LONG_TEXT, pause=0.2)
    second = ask(summary, alice, prompt=LONG_TEXT, pause=0)
    third = ask(summary, charlie, prompt=LONG_TEXT, pause=0)
    wait_until(lambda: stored_text(first.pk))

    assert (third.count_ahead(), second.count_ahead()) == (0, 1)
    assert {Prediction.objects.get(pk=p.pk).phase for p in (second, third)} == {"queued"}
    for prediction in (first, second, third):
        assert ended(prediction).status == "succeeded"
    assert first.completed_at < third.started_at <= second.started_at


def test_a_server_that_somebody_else_keeps_busy_is_waited_for(
    summary: Model, summary_server: CogServer, worker: WorkerThread
) -> None:
    summary_server.start("not-parleys", prompt=LONG_TEXT, pause=0.3)
    prediction = ask(summary, prompt=LONG_TEXT, pause=0)

    wait_until(lambda: Prediction.objects.get(pk=prediction.pk).attempts > 0)

    assert ended(prediction).status == "succeeded"
    assert prediction.attempts > 1


def test_stop_frees_the_server_and_keeps_the_text(
    smollm2: Model, smollm2_server: CogServer, worker: WorkerThread
) -> None:
    prediction = ask(smollm2, prompt="Tell me a long story about a bridge, a river and a city.", max_tokens=1000)
    wait_until(lambda: len(stored_text(prediction.pk)) > 20)

    Prediction.objects.get(pk=prediction.pk).request_cancel()
    ended(prediction)

    assert prediction.status == "canceled"
    assert len(prediction.output) > 20
    smollm2_server.wait_until_free()


def test_stop_of_a_polled_answer(summary: Model, summary_server: CogServer, worker: WorkerThread) -> None:
    prediction = ask(summary, prompt=LONG_TEXT, pause=5)
    wait_until(lambda: stored_text(prediction.pk))

    Prediction.objects.get(pk=prediction.pk).request_cancel()

    assert ended(prediction).status == "canceled"
    assert prediction.output.startswith("**In short**")
    summary_server.wait_until_free()


def test_bad_input_is_told_in_words(summary: Model, worker: WorkerThread) -> None:
    prediction = ended(ask(summary, prompt=LONG_TEXT, sentences=99))

    assert prediction.status == "failed"
    assert prediction.error == "The model does not take this input: sentences: 99 is greater than the maximum of 10"


def test_pictures_of_a_cog_server_are_kept(painter: Model, worker: WorkerThread) -> None:
    prediction = ended(ask(painter, prompt="red", count=2))

    kept = list(prediction.files.outputs())
    assert (prediction.status, prediction.output) == ("succeeded", "")
    assert [(file.media_type, file.error) for file in kept] == [("image/png", "")] * 2
    assert all(file.size > 100 for file in kept)


def test_pictures_of_a_server_that_was_asked_again_are_the_new_ones(painter: Model, no_look_at_versions: None) -> None:
    """A worker had kept the first picture of a run that the server forgot."""
    prediction = Prediction.objects.create(
        model=painter,
        version=painter.versions.get(),
        input={"prompt": "green"},
        asked_at=timezone.now(),
        provider_id="forgotten-1",
        attempts=1,
        status="processing",
        file_count=1,
    )
    files.store(File(prediction=prediction, role="output", position=0, name="old.png"), BytesIO(b"old"))
    thread = WorkerThread()
    thread.start()
    ended(prediction)
    thread.stop()

    [picture] = prediction.files.outputs()
    assert (prediction.status, picture.media_type) == ("succeeded", "image/png")


def test_a_picture_that_is_given_reaches_the_cog_server(painter: Model, no_look_at_versions: None) -> None:
    picture = b"\x89PNG\r\n\x1a\n a picture of alice"
    prediction = Prediction.objects.create(model=painter, version=painter.versions.get(), input={})
    given = files.give(prediction, 0, "alice.png", BytesIO(picture))
    Prediction.objects.filter(pk=prediction.pk).update(input={"prompt": "blue", "image": given.reference})
    thread = WorkerThread()
    thread.start()
    ended(prediction)
    thread.stop()

    assert (prediction.status, prediction.error) == ("succeeded", "")
    first, _ = prediction.files.outputs()
    with first.content.open() as content:
        assert content.read() == picture


def test_another_worker_attaches_to_the_same_prediction(
    smollm2: Model, transactional_db: None, no_look_at_versions: None
) -> None:
    prediction = ask(smollm2, prompt="Tell me a long story about a bridge and a river.", max_tokens=400)
    first = WorkerThread()
    first.start()
    wait_until(lambda: len(stored_text(prediction.pk)) > 10)
    first.stop()
    before = stored_text(prediction.pk)
    second = WorkerThread()
    second.start()
    ended(prediction)
    second.stop()

    assert prediction.status == "succeeded"
    assert prediction.output.startswith(before)
    assert (prediction.attempts, prediction.edition) == (1, 0)


def test_a_server_that_was_restarted_is_asked_again(
    transactional_db: None, settings: Any, worker: WorkerThread
) -> None:
    """Twice the same model on one port: what the first forgot, the second answers, as a new edition."""
    with start_cog_server("smollm2") as server:
        model = offer(server, "smollm2", settings)
        prediction = ask(model, prompt="Tell me a long story about a bridge and a river.", max_tokens=150)
        wait_until(lambda: len(stored_text(prediction.pk)) > 10)
        # All at once: a server whose worker alone is gone says so in an orderly way.
        for blow in (signal.SIGSTOP, signal.SIGKILL):
            for pid in server.processes:
                os.kill(pid, blow)
    with start_cog_server("smollm2", port=httpx.URL(server.url).port):
        ended(prediction)

    assert (prediction.status, prediction.attempts, prediction.edition) == ("succeeded", 2, 1)


def test_a_server_that_does_not_run_is_told_in_words(
    transactional_db: None, settings: Any, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_cog_server("summary") as server:
        model = offer(server, "summary", settings)
    monkeypatch.setitem(PATIENCE, "cog", timedelta(seconds=0.5))
    prediction = ended(ask(model, prompt=LONG_TEXT))

    assert (prediction.status, prediction.error) == ("failed", f"{server.url} cannot be reached.")


# ---------------------------------------------------------------- what other servers answer


def asked_of(model: Model, answer: httpx.Response) -> CogProvider:
    """The provider before a server that gives one answer to everything."""
    transport = httpx.MockTransport(lambda request: answer)
    return CogProvider(HostClient(model.provider.base_url, transport=transport))


@pytest.fixture
def small(db: None) -> Prediction:
    provider = Provider.objects.create(slug="cog", name="Cog", kind="cog", base_url="http://127.0.0.1:1", concurrency=1)
    model = Model.objects.create(provider=provider, ref="small", slug="small", name="small")
    streaming = {"paths": {"/predictions": {"post": {"x-cog-streaming": True}}}}
    version = model.versions.create(identifier="v", openapi_schema=streaming)
    return Prediction.objects.create(model=model, version=version, input={}, provider_id="p-1")


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (409, {"error": "At capacity - all prediction slots busy", "status": "failed"}, NotTaken, "somebody else"),
        (409, {"detail": "Already running a prediction"}, NotTaken, "somebody else"),
        (503, {"error": "Setup has not finished yet.", "status": "failed"}, NotTaken, "still starting"),
        (
            422,
            {"detail": [{"loc": ["body", "input", "prompt"], "msg": "Field required"}]},
            ProviderRefused,
            "prompt: Field required",
        ),
        (422, {"detail": "no"}, ProviderRefused, "no reason"),
        (415, "unsupported", ProviderRefused, "415"),
    ],
)
def test_refusals_of_servers_old_and_new(
    status: int, body: Any, error: type[Exception], words: str, small: Prediction
) -> None:
    provider = asked_of(small.model, httpx.Response(status, json=body))

    with pytest.raises(error, match=words):
        asyncio.run(provider.create(small, small.input))


def test_a_server_whose_model_could_not_start_is_not_waited_for(small: Prediction) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health-check":
            return httpx.Response(200, json={"status": "SETUP_FAILED"})
        return httpx.Response(503, json={"error": "Setup has not finished yet."})

    provider = CogProvider(HostClient(small.model.provider.base_url, transport=httpx.MockTransport(answer)))

    with pytest.raises(ProviderRefused, match="could not start its model"):
        asyncio.run(provider.create(small, small.input))


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(422, json={}), PredictionGone),
        (httpx.Response(406, json={"error": "does not support streaming"}), StreamInterrupted),
        (httpx.Response(200, json={"status": "succeeded"}), StreamInterrupted),
        (
            httpx.Response(
                200,
                headers={"content-type": "text/event-stream"},
                content=b'event: error\ndata: {"error": "SSE stream replay truncated; events were dropped"}\n\n',
            ),
            StreamInterrupted,
        ),
        (
            httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"event: output\ndata: {\n\n"),
            StreamInterrupted,
        ),
    ],
    ids=["over", "cannot stream", "an old server", "truncated", "garbage"],
)
def test_streams_that_cannot_be_had(response: httpx.Response, error: type[Exception], small: Prediction) -> None:
    async def read() -> None:
        async for _ in asked_of(small.model, response).stream(small):
            pass

    with pytest.raises(error):
        asyncio.run(read())


def test_a_log_without_end_is_listened_to_so_far(small: Prediction) -> None:
    line = f'event: log\ndata: {{"data": "{"x" * 50_000}"}}\n\n'.encode()
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=line * 10)
    heard: list[int] = []

    async def read() -> None:
        async for event in asked_of(small.model, answer).stream(small):
            assert isinstance(event, Logs)
            heard.append(len(event.text))

    with pytest.raises(StreamInterrupted):  # it does not say how the prediction ended
        asyncio.run(read())
    assert max(heard) < LOGS_LIMIT + 50_000


def test_what_a_model_raised_is_told_without_wrapping(small: Prediction) -> None:
    body = {"status": "failed", "error": "Prediction failed: Generator iteration error: ValueError: boom at token 2"}

    snapshot = asyncio.run(asked_of(small.model, httpx.Response(200, json=body)).create(small, small.input))

    assert (snapshot.status, snapshot.error) == ("failed", "boom at token 2")
