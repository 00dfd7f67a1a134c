"""Files of answers and questions at Replicate, through a real worker: ours before anybody is told of them."""

import asyncio
import base64
import errno
import hashlib
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import OperationalError, transaction
from django.template.loader import render_to_string
from django.utils import timezone

from predictions import clock, files, providers
from predictions.models import File, Model, Prediction, Provider
from predictions.models.file import KEPT_BY_HOSTS, RETRY_LEASE
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import (
    IMAGE_SCHEMA,
    Answer,
    Cut,
    FakeReplicate,
    Gate,
    Logs,
    Output,
    Script,
    WrongLength,
)
from tests.test_runs import ask, create_at, row
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture" * 40_000
JPEG = b"\xff\xd8\xff" + b"another picture" * 100
EXPIRED = Answer(404, "<Error>NoSuchKey</Error>", "application/xml")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSES", (0.01, 0.01, 0.01))


def outputs(prediction: Prediction) -> list[File]:
    return list(prediction.files.outputs())


def content(file: File) -> bytes:
    with file.content.open() as stored:
        data: bytes = stored.read()
    return data


# ---------------------------------------------------------------- what a model made


def test_files_are_ours_when_the_answer_has_ended(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    addresses = [fake.output_file(PNG), fake.output_file(JPEG, name="b.png", content_type="text/html")]
    fake.script(Script(output=addresses, stream=False))
    prediction = ended(ask(painter))
    for address in addresses:
        fake.expire(address)

    first, second = outputs(prediction)
    assert (prediction.status, prediction.output, prediction.file_count) == ("succeeded", "", 2)
    assert (content(first), content(second)) == (PNG, JPEG)
    assert (first.name, first.media_type, first.size) == ("out-0.png", "image/png", len(PNG))
    assert (second.name, second.media_type) == ("b.png", "image/jpeg")
    assert first.sha256 == hashlib.sha256(PNG).hexdigest()


def test_a_stream_is_not_opened_where_files_come_out(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(output=[fake.output_file(PNG)]))
    prediction = ended(ask(painter))

    assert content(outputs(prediction)[0]) == PNG
    assert fake.ledger.to("stream") == []


def test_pictures_appear_one_by_one(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    fake.script(Script(steps=[Output(fake.output_file(PNG)), gate, Output(fake.output_file(JPEG))], stream=False))
    prediction = ask(painter)

    wait_until(lambda: row(prediction).file_count == 1)
    assert row(prediction).status == "processing"
    gate.open()
    assert [content(file) for file in outputs(ended(prediction))] == [PNG, JPEG]


@pytest.mark.parametrize("shape", ["single", "objects", "data URI", "stream of nothing"])
def test_files_are_found_in_every_form(shape: str, painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    address = fake.output_file(PNG, name="mask.png")
    told: Any = {
        "single": address,
        "objects": {"mask": address, "scores": [0.5, {"again": address}]},
        "data URI": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        "stream of nothing": [address],
    }[shape]
    schema = {} if shape != "single" else IMAGE_SCHEMA
    painter.versions.update(openapi_schema=schema)
    fake.script(Script(output=told, stream=False))
    prediction = ended(ask(painter))

    kept = outputs(prediction)
    assert {content(file) for file in kept} == {PNG}
    assert len(kept) == (2 if shape == "objects" else 1)
    assert fake.origin not in prediction.output
    if shape == "objects":
        assert '"mask": "mask.png"' in prediction.output


def test_a_text_that_mentions_an_address_stays_a_text(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    address = fake.output_file(PNG)
    fake.script(Script(chunks=[address]))
    prediction = ended(ask(model))

    assert (prediction.output, outputs(prediction)) == (address, [])


@pytest.mark.parametrize(
    "faults",
    [
        [Cut(1_000)],
        [Cut(None, "reset"), Cut(50, "reset")],
        [Answer(503, "busy"), Answer(403, "not yet")],
        [WrongLength(len(PNG) + 9)],
    ],
    ids=["cut", "reset twice", "503 and 403", "shorter than promised"],
)
def test_a_copy_that_fails_is_repeated(
    faults: list[Any], painter: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(output=[fake.output_file(PNG)], stream=False))
    fake.fail("output", *faults)

    [file] = outputs(ended(ask(painter)))
    assert (file.error, content(file)) == ("", PNG)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (EXPIRED, "expired"),
        (Answer(403, "expired"), "expired"),
        (Answer(500, "broken"), "did not send it"),
        (Cut(10), "did not send it"),
        (Answer(302, "", headers={"location": "https://evil.example/x.png"}), "does not fetch from"),
        (Answer(302, "", headers={"location": "http://169.254.169.254/latest"}), "does not fetch from"),
    ],
    ids=["404", "403", "500", "cut", "redirect elsewhere", "redirect inside"],
)
def test_a_file_that_cannot_be_had_says_why_and_the_answer_stays(
    fault: Any, words: str, painter: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(output={"caption": "A cat.", "image": fake.output_file(PNG)}, stream=False))
    fake.fail("output", *[fault] * 3)
    painter.versions.update(openapi_schema={})
    prediction = ended(ask(painter))

    [file] = outputs(prediction)
    assert prediction.status == "succeeded"
    assert "A cat." in prediction.output
    assert words in file.error
    assert not file.content


def test_redirects_among_allowed_hosts_are_followed(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    address = fake.output_file(PNG)
    fake.script(Script(output=[address], stream=False))
    fake.fail("output", Answer(302, "", headers={"location": address}))

    [file] = outputs(ended(ask(painter)))
    assert content(file) == PNG


def test_redirects_in_a_circle_end(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    address = fake.output_file(PNG)
    fake.script(Script(output=[address], stream=False))
    fake.fail("output", *[Answer(302, "", headers={"location": address})] * 30)

    [file] = outputs(ended(ask(painter)))
    assert "does not fetch" in file.error
    assert len(fake.ledger.to("output")) == 4


def test_a_file_elsewhere_is_not_fetched(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    with FakeReplicate() as elsewhere:
        fake.script(Script(output=[elsewhere.output_file(PNG)], stream=False))

        [file] = outputs(ended(ask(painter)))
        assert "does not fetch from" in file.error
        assert elsewhere.ledger.calls == []


def test_a_file_that_is_too_large_is_left_there(
    painter: Model, fake: FakeReplicate, worker: WorkerThread, settings: Any
) -> None:
    settings.FILE_LIMIT = 100_000
    fake.script(Script(output=[fake.output_file(PNG), fake.output_file(JPEG)], stream=False))

    large, small = outputs(ended(ask(painter)))
    assert "larger than this site allows" in large.error
    assert content(small) == JPEG


def test_a_damaged_data_uri_is_told(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    fake.script(Script(output=["data:image/png;base64,!!!!"], stream=False))

    [file] = outputs(ended(ask(painter)))
    assert "damaged" in file.error


def test_a_failed_answer_keeps_the_files_it_had(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    steps = [Output(fake.output_file(PNG))]
    fake.script(Script(steps=steps, status="failed", error="NSFW content detected", stream=False))
    prediction = ended(ask(painter))

    assert (prediction.status, prediction.error) == ("failed", "NSFW content detected")
    assert content(outputs(prediction)[0]) == PNG


def test_what_the_host_has_removed_is_no_answer_without_words(
    model: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    """No worker looked for an hour: what was made is gone at the host, and that is said."""
    created = create_at(fake, model)
    fake.ledger.wait_for(lambda ledger: not ledger.running())
    fake.remove_data(created["id"])
    prediction = Prediction.objects.create(
        model=model, version=model.versions.first(), input={}, asked_at=timezone.now(), provider_id=created["id"]
    )
    run(prediction)

    assert (row(prediction).status, row(prediction).output) == ("failed", "")
    assert "keeps answers for an hour" in row(prediction).error


def test_progress_is_told_while_a_picture_is_made(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    gate = Gate()
    bar = Logs(" 38%|███▊      | 19/50 [00:01<00:01, 15.97it/s]\n")
    fake.script(Script(steps=[bar, gate], output=[fake.output_file(PNG)], stream=False))
    prediction = ask(painter)

    wait_until(lambda: row(prediction).progress == 38)
    gate.open()
    assert ended(prediction).status == "succeeded"


# ---------------------------------------------------------------- what is tried again


def retry_files(*, workers: int = 1) -> None:
    """Do what housekeeping does in each of some workers, as if the pause were over."""
    File.objects.retried().update(retry_at=clock.now())
    asyncio.run(_retry_in(workers))


async def _retry_in(workers: int) -> None:
    connected: dict[int, providers.Provider] = {}

    def connect(row: Provider) -> providers.Provider:
        return connected.setdefault(row.pk, providers.connect(row))

    try:
        await asyncio.gather(*(files.retry(connect) for _ in range(workers)))
    finally:
        for provider in connected.values():
            await provider.close()


def card(file: File) -> str:
    return render_to_string("chat/_file.html", {"file": file})


@pytest.fixture
def delayed(painter: Model, fake: FakeReplicate, worker: WorkerThread) -> File:
    """A picture that its host did not send when the answer ended."""
    fake.script(Script(output=[fake.output_file(PNG)], stream=False))
    fake.fail("output", *[Answer(500, "broken")] * 3)
    [file] = outputs(ended(ask(painter)))
    worker.stop()
    return file


def is_settled(file: File) -> bool:
    """Whether nobody tries again, and where it was is forgotten."""
    return (file.retry_at, file.provider_url, file.provider_url_until) == (None, "", None)


def test_a_file_that_its_host_did_not_send_arrives_later(delayed: File) -> None:
    assert "did not send it" in card(delayed)
    assert "tried again" in card(delayed)
    assert delayed.provider_url not in card(delayed)
    retry_files()

    delayed.refresh_from_db()
    assert (content(delayed), delayed.error, delayed.size) == (PNG, "", len(PNG))
    assert is_settled(delayed)
    assert 'class="file__image"' in card(delayed)


def test_a_full_disk_delays_a_file_and_nothing_is_left_of_the_part_that_fitted(
    painter: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []
    with monkeypatch.context() as full:

        def fill(storage: FileSystemStorage, name: str, stored: Any) -> str:
            path = Path(storage.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.read(100))
            parts.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(FileSystemStorage, "_save", fill)
        fake.script(Script(output=[fake.output_file(PNG)], stream=False))
        [file] = outputs(ended(ask(painter)))
        worker.stop()

    assert "look at the disk" in file.error
    assert [path.exists() for path in parts] == [False]
    retry_files()
    file.refresh_from_db()
    assert (content(file), file.error) == (PNG, "")


@contextmanager
def commits_whose_answer_gets_lost(monkeypatch: pytest.MonkeyPatch, count: int) -> Iterator[None]:
    """Have the first commits of `predictions.files` arrive at the database, and their answers not."""
    real, left = transaction.atomic, itertools.repeat(None, count)

    @contextmanager
    def atomic() -> Iterator[None]:
        with real():
            yield
        for _ in left:
            raise OperationalError("the connection was lost")

    with monkeypatch.context() as faulty:
        faulty.setattr(files, "transaction", SimpleNamespace(atomic=atomic))
        yield


def test_a_file_is_kept_though_the_answer_to_its_commit_got_lost(
    painter: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.script(Script(output=[fake.output_file(PNG)], stream=False))
    with commits_whose_answer_gets_lost(monkeypatch, 2):
        [file] = outputs(ended(ask(painter)))

    assert (content(file), file.error) == (PNG, "")
    assert stored(file) == [file.id.hex]


def test_a_late_file_is_kept_though_the_answer_to_its_commit_got_lost(
    delayed: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = File.note_retried, itertools.repeat(None, 1)

    def note_retried(file: File, **outcome: Any) -> bool:
        is_noted = real(file, **outcome)
        for _ in left:
            raise OperationalError("the connection was lost")
        return is_noted

    monkeypatch.setattr(File, "note_retried", note_retried)
    retry_files()

    delayed.refresh_from_db()
    assert (content(delayed), delayed.error) == (PNG, "")
    assert stored(delayed) == [delayed.id.hex]


def stored(file: File) -> list[str]:
    """Return the names under which contents of this file lie in the storage."""
    return [path.name for path in Path(default_storage.path("files")).rglob(f"{file.id.hex}*")]


@pytest.mark.parametrize(
    "fault",
    [
        EXPIRED,
        Answer(403, "expired"),
        Answer(410, "gone"),
        Answer(302, "", headers={"location": "https://evil.example/"}),
    ],
    ids=["404", "403", "410", "not allowed"],
)
def test_what_cannot_change_is_not_tried_again(
    fault: Answer, painter: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(output=[fake.output_file(PNG)], stream=False))
    fake.fail("output", *[fault] * 3)

    [file] = outputs(ended(ask(painter)))
    assert is_settled(file)
    assert "tried again" not in card(file)


def test_a_data_uri_on_a_full_disk_is_lost(
    painter: Model, fake: FakeReplicate, worker: WorkerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", refuse)
    fake.script(Script(output=[f"data:image/png;base64,{base64.b64encode(PNG).decode()}"], stream=False))

    [file] = outputs(ended(ask(painter)))
    assert "look at the disk" in file.error
    assert is_settled(file)


def test_a_file_that_expired_meanwhile_is_given_up(delayed: File, fake: FakeReplicate) -> None:
    fake.expire(delayed.provider_url)
    retry_files()

    delayed.refresh_from_db()
    assert "expired" in delayed.error
    assert is_settled(delayed)
    assert "tried again" not in card(delayed)


def test_retries_become_rarer_and_end_when_hosts_forget(
    delayed: File, fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fail("output", *[Answer(500, "broken")] * 100)
    until = delayed.provider_url_until
    assert until is not None
    times: list[datetime] = []
    while (at := delayed.retry_at) is not None:
        times.append(at)
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        retry_files()
        delayed.refresh_from_db()

    pauses = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(times)]
    assert 4 <= len(times) <= 8
    assert pauses == sorted(pauses)
    assert until - timedelta(minutes=40) < times[-1] < until
    assert is_settled(delayed)
    assert "did not send it" in delayed.error


def test_of_two_workers_that_saw_it_at_once_one_has_it(delayed: File) -> None:
    first, second = (File.objects.get(pk=delayed.pk) for _ in range(2))

    assert [first.claim_retry(clock.now()), second.claim_retry(clock.now())] == [True, False]


def test_of_many_workers_one_fetches(delayed: File, fake: FakeReplicate) -> None:
    before = len(fake.ledger.to("output"))
    retry_files(workers=5)

    assert len(fake.ledger.to("output")) == before + 1


def test_a_worker_that_died_while_it_fetched_is_followed_by_another(
    delayed: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert delayed.claim_retry(clock.now())
    monkeypatch.setattr(clock, "now", lambda: timezone.now() + RETRY_LEASE - timedelta(minutes=1))
    asyncio.run(_retry_in(1))
    delayed.refresh_from_db()
    assert delayed.error

    monkeypatch.setattr(clock, "now", lambda: timezone.now() + RETRY_LEASE + timedelta(minutes=1))
    asyncio.run(_retry_in(1))
    delayed.refresh_from_db()
    assert content(delayed) == PNG


def test_who_comes_too_late_changes_nothing_and_leaves_nothing(delayed: File) -> None:
    late = File.objects.get(pk=delayed.pk)
    assert late.claim_retry(clock.now())
    retry_files()
    files._store_late(late, io.BytesIO(JPEG))

    delayed.refresh_from_db()
    assert content(delayed) == PNG
    assert stored(delayed) == [delayed.id.hex]


def test_a_file_whose_answer_was_deleted_is_not_kept(delayed: File) -> None:
    late = File.objects.get(pk=delayed.pk)
    assert late.claim_retry(clock.now())
    delayed.prediction.delete()
    files._store_late(late, io.BytesIO(PNG))

    assert not default_storage.exists(late.content.field.generate_filename(late, late.name))


def test_an_address_is_kept_for_an_hour_at_most(delayed: File) -> None:
    assert delayed.provider_url_until is not None
    assert delayed.provider_url_until - timezone.now() <= KEPT_BY_HOSTS


# ---------------------------------------------------------------- what a person gives


def ask_with_file(model: Model, data: bytes, name: str = "cat.png") -> Prediction:
    prediction = Prediction.objects.create(model=model, version=model.versions.first(), input={"prompt": "What?"})
    file = files.give(prediction, 0, name, io.BytesIO(data))
    Prediction.objects.filter(pk=prediction.pk).update(input={"prompt": "What?", "image": file.reference})
    return prediction


def test_a_small_file_travels_in_the_input(painter: Model, fake: FakeReplicate, no_look_at_versions: None) -> None:
    prediction = ask_with_file(painter, PNG[:1_000])
    run(prediction)

    [created] = fake.ledger.created
    assert created.body["input"]["image"] == f"data:image/png;base64,{base64.b64encode(PNG[:1_000]).decode()}"
    assert fake.files == {}


def test_a_large_file_is_uploaded_first(painter: Model, fake: FakeReplicate, no_look_at_versions: None) -> None:
    prediction = ask_with_file(painter, PNG, 'naïve "cat".png')
    run(prediction)

    [uploaded] = fake.files.values()
    [created] = fake.ledger.created
    assert uploaded.content == PNG
    assert created.body["input"]["image"] == f"{fake.url}/files/{uploaded.id}"
    assert row(prediction).input["image"].startswith("parley-file:")


def test_a_lost_create_with_a_file_is_found_without_a_second_upload(
    painter: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    fake.script(Script(on_create=Cut(None, "reset")))
    prediction = ask_with_file(painter, PNG)
    run(prediction)

    assert row(prediction).status == "succeeded"
    assert (len(fake.files), len(fake.ledger.created)) == (1, 1)


def test_a_file_that_the_host_finds_too_large_is_told(
    painter: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    fake.file_limit = 1_000
    prediction = ask_with_file(painter, PNG)
    run(prediction)

    assert "too large" in row(prediction).error
    assert fake.ledger.created == []


def test_an_upload_that_fails_is_tried_again(painter: Model, fake: FakeReplicate, no_look_at_versions: None) -> None:
    fake.fail("upload", Cut(None, "reset"), Answer(503, "busy"))
    prediction = ask_with_file(painter, PNG)
    run(prediction)

    assert row(prediction).status == "succeeded"
    assert len(fake.ledger.created) == 1


def test_an_address_that_a_person_typed_is_passed_on_untouched(
    painter: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    with FakeReplicate() as elsewhere:
        address = elsewhere.output_file(PNG)
        prediction = Prediction.objects.create(
            model=painter, version=painter.versions.first(), input={"prompt": "x", "image": address}
        )
        ended(prediction)

        assert fake.ledger.created[0].body["input"]["image"] == address
        assert elsewhere.ledger.calls == []


def test_nobody_sends_anothers_file_by_its_reference(
    painter: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    foreign = ask_with_file(painter, PNG)
    run(foreign)
    reference = row(foreign).input["image"]
    mine = Prediction.objects.create(
        model=painter, version=painter.versions.first(), input={"prompt": reference, "image": reference}
    )
    run(mine)

    assert fake.ledger.to("create")[-1].json()["input"] == {"prompt": reference, "image": reference}


def test_a_file_beyond_the_sites_limit_is_not_taken(painter: Model, settings: Any) -> None:
    settings.FILE_LIMIT = 10
    prediction = Prediction.objects.create(model=painter, input={})

    with pytest.raises(files.FileLost, match="larger than this site allows"):
        files.give(prediction, 0, "cat.png", io.BytesIO(PNG))


def test_stored_names_are_ours(painter: Model) -> None:
    prediction = Prediction.objects.create(model=painter, input={})
    file = files.give(prediction, 0, "../../etc/passwd\x00.png", io.BytesIO(PNG))

    assert file.content.name == f"files/{file.id.hex[:2]}/{file.id.hex}"
    assert default_storage.exists(file.content.name)
    assert "\x00" not in file.name


def test_content_goes_with_its_row(painter: Model) -> None:
    prediction = Prediction.objects.create(model=painter, input={})
    file = files.give(prediction, 0, "cat.png", io.BytesIO(PNG))
    prediction.delete()

    assert not default_storage.exists(file.content.name)


def run(prediction: Prediction) -> None:
    """Have a worker answer it; the question was complete before any worker looked."""
    thread = WorkerThread()
    thread.start()
    try:
        ended(prediction)
    finally:
        thread.stop()
