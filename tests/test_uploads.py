"""Files that go with a question: into our storage first, then with the question to the model."""

import itertools
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, Message, User
from predictions import files, housekeeping
from predictions.database import query
from predictions.files import FileTooLarge
from predictions.models import File, Model, Prediction, Upload
from predictions.models import upload as upload_module

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture" * 100
JSON = {"accept": "application/json"}


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def page(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def stranger(charlie: User) -> Client:
    return signed_in(charlie)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def put(page: Client, content: bytes = PNG, name: str = "cat.png") -> Any:
    return page.post(
        reverse("upload_create"), content, content_type="application/octet-stream", headers={"X-File-Name": name}
    )


def added(page: Client, content: bytes = PNG, name: str = "cat.png") -> str:
    answer = put(page, content, name)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def fields(model: Model, *uploads: str, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "text": "What is this?", "model": model.slug, "uploads": list(uploads), **more}


def ask(page: Client, model: Model, *uploads: str, **more: Any) -> Any:
    return page.post(reverse("chat:conversation_create"), fields(model, *uploads, **more), headers=JSON)


def asked() -> Prediction:
    return Prediction.objects.latest("created_at")


def finish() -> Message:
    Prediction.objects.update(status="succeeded", output="A cat.")
    [conversation] = Conversation.objects.all()
    return conversation.branch()[-1]


# ---------------------------------------------------------------- in


def test_a_file_is_stored_and_told_by_its_first_bytes(page: Client, alice: User) -> None:
    answer = put(page, name="na%C3%AFve%20cat.txt")

    assert answer.json() | {"id": ""} == {
        "id": "", "name": "naïve cat.txt", "size": len(PNG), "kind": "image"
    }  # fmt: skip
    upload = Upload.objects.get()
    assert (upload.owner, upload.media_type, content_of(upload)) == (alice, "image/png", PNG)
    assert upload.content.name == f"files/{upload.pk.hex[:2]}/{upload.pk.hex}"


@pytest.mark.parametrize("name", ["%00%ff", "", "%2e%2e/%2e%2e/etc/passwd", "x" * 3_000, "\udcff%"])
def test_odd_names_do_no_harm(name: str, page: Client) -> None:
    upload = Upload.objects.get(pk=added(page, name=name.encode("ascii", "ignore").decode()))

    assert upload.name
    assert "\x00" not in upload.name


def test_what_is_too_large_is_refused_in_words(page: Client, settings: Any) -> None:
    settings.FILE_LIMIT = len(PNG) - 1
    refused = put(page)

    assert refused.status_code == 413
    assert "larger than" in refused.json()["detail"]
    assert stored() == []


def test_what_does_not_say_how_long_it_is_is_counted_as_it_comes(alice: User, settings: Any) -> None:
    settings.FILE_LIMIT = 1_000_000
    endless = itertools.repeat(b"x" * 65_536)

    with pytest.raises(FileTooLarge):
        files.take(alice, "endless", endless)
    assert stored() == []
    assert not Upload.objects.exists()


def test_an_empty_file_is_refused(page: Client) -> None:
    refused = put(page, b"")

    assert refused.status_code == 422
    assert "empty" in refused.json()["detail"]


def test_only_who_is_signed_in_adds_files_and_only_from_our_pages(alice: User, client: Client) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(alice)

    assert put(client).status_code == 302
    assert put(careful).status_code == 403
    assert not Upload.objects.exists()


def test_who_never_sends_has_room_for_so_many(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictions.files.MOST_UNSENT", 2)
    keys = [added(page, name=str(number)) for number in range(3)]

    assert {str(upload.pk) for upload in Upload.objects.all()} == set(keys[1:])
    assert len(stored()) == 2
    assert upload_module.MOST_UNSENT >= 2 * 10


# ---------------------------------------------------------------- out again


def test_a_file_is_removed_by_who_added_it_alone(page: Client, stranger: Client) -> None:
    key = added(page)
    address = reverse("upload_remove", args=[key])

    assert stranger.post(address).status_code == 404
    assert page.post(address).status_code == 200
    assert stored() == []
    assert page.post(address).status_code == 404


async def test_what_was_never_sent_goes_after_a_day(transactional_db: None) -> None:
    def make(hours: int) -> Upload:
        owner, _ = User.objects.get_or_create(username="alice")
        return Upload.objects.create(owner=owner, name=str(hours), created_at=timezone.now() - timedelta(hours=hours))

    await query(make, 25)
    await query(make, 23)
    await housekeeping.sweep()

    assert await query(lambda: [upload.name for upload in Upload.objects.all()]) == ["23"]


# ---------------------------------------------------------------- with a question


def test_a_picture_goes_with_its_question(page: Client, painter: Model) -> None:
    answer = ask(page, painter, added(page))

    assert answer.status_code == 201
    [file] = asked().files.all()
    assert (file.role, file.name, file.media_type, content_of(file)) == ("input", "cat.png", "image/png", PNG)
    assert asked().input["image"] == file.reference
    assert not Upload.objects.exists()
    shown = page.get(answer.json()["url"]).content.decode()
    assert reverse("file_detail", args=[file.pk]) in shown


def test_sending_twice_with_files_is_asking_once(page: Client, painter: Model) -> None:
    sent = fields(painter, added(page))
    statuses = [page.post(reverse("chat:conversation_create"), sent, headers=JSON).status_code for _ in range(2)]

    assert statuses == [201, 201]
    assert (Prediction.objects.count(), File.objects.count()) == (1, 1)


def test_what_the_model_does_not_take_is_refused_and_stays(page: Client, painter: Model, model: Model) -> None:
    first, second = added(page), added(page, name="dog.png")

    refused = ask(page, painter, first, second)
    assert refused.status_code == 422
    assert "painter takes one image, and there are 2 here" in refused.json()["errors"]["model"][0]
    assert "takes no files" in ask(page, model, first).json()["errors"]["model"][0]
    assert Upload.objects.count() == 2
    assert not Message.objects.exists()


def test_nobody_sends_anothers_file(page: Client, stranger: Client, painter: Model) -> None:
    refused = ask(stranger, painter, added(page))

    assert "not here any more" in refused.json()["errors"]["model"][0]
    assert Upload.objects.count() == 1


@pytest.mark.parametrize("uploads", [["x"], [""], [str(uuid.uuid4())] * 11, ["\x00"], ["1" * 5_000]])
def test_odd_ids_are_refused_in_words(uploads: list[str], page: Client, painter: Model) -> None:
    refused = ask(page, painter, *uploads)

    assert refused.status_code == 422
    assert refused.json()["errors"]["uploads"][0]


def test_a_model_that_needs_a_picture_says_so(page: Client, painter: Model) -> None:
    version = painter.versions.get()
    schema = json.loads(json.dumps(version.openapi_schema))
    schema["components"]["schemas"]["Input"]["required"] = ["image"]
    painter.versions.update(openapi_schema=schema)

    assert "painter needs one image" in ask(page, painter).json()["errors"]["model"][0]
    assert ask(page, painter, added(page)).status_code == 201


def test_trying_again_and_other_words_keep_the_files_and_the_settings(page: Client, painter: Model) -> None:
    ask(page, painter, added(page), **{"parameter:num_outputs": "3"})
    answer = finish()
    page.post(reverse("chat:message_retry", args=[answer.pk]))
    again = asked()

    assert again.pk != answer.prediction_id
    assert (again.input["num_outputs"], again.input["image"]) == (3, again.files.get().reference)
    answer = finish()
    question = answer.parent
    assert question is not None
    answer.conversation.ask("And now?", message_id=uuid.uuid4(), model=painter, instead_of=question)
    reworded = asked()
    assert reworded.input | {"image": ""} == again.input | {"prompt": "And now?", "image": ""}
    assert content_of(reworded.files.get()) == PNG
    assert len(stored()) == 1


def test_the_content_goes_with_the_last_that_has_it(page: Client, painter: Model) -> None:
    ask(page, painter, added(page))
    answer = finish()
    page.post(reverse("chat:message_retry", args=[answer.pk]))
    first, second = File.objects.all()

    first.delete()
    assert len(stored()) == 1
    second.delete()
    assert stored() == []


def test_what_a_model_made_goes_with_the_next_question(page: Client, stranger: Client, painter: Model) -> None:
    ask(page, painter, added(page))
    made = asked().files.get()
    address = reverse("file_use", args=[made.pk])

    assert stranger.post(address).status_code == 404
    first, second = (page.post(address).json()["id"] for _ in range(2))
    finish()
    assert ask(page, painter, first).status_code == 201
    assert content_of(asked().files.get()) == PNG
    assert Upload.objects.filter(pk=second).exists()
    page.post(reverse("upload_remove", args=[second]))
    assert content_of(made) == PNG


# ---------------------------------------------------------------- settings


def test_settings_are_sent_as_what_they_mean(page: Client, painter: Model) -> None:
    typed = {"parameter:num_outputs": "2", "parameter:aspect_ratio": "16:9", "parameter:seed": "", "parameter:x": "1"}
    ask(page, painter, **typed)

    assert asked().input == {"prompt": "What is this?", "num_outputs": 2, "aspect_ratio": "16:9"}


def test_settings_that_make_no_sense_are_refused_at_their_fields(page: Client, painter: Model) -> None:
    typed = {"parameter:num_outputs": "9", "parameter:aspect_ratio": "7:7", "parameter:seed": "many"}
    errors = ask(page, painter, **typed).json()["errors"]

    assert errors["parameter:num_outputs"] == ["Must be between 1 and 4."]
    assert "16:9" in errors["parameter:aspect_ratio"][0]
    assert errors["parameter:seed"] == ["Must be a whole number."]
    assert not Message.objects.exists()


def test_a_prompt_is_not_a_setting(page: Client, painter: Model) -> None:
    ask(page, painter, **{"parameter:prompt": "Something else", "parameter:image": "https://example.org/x.png"})

    assert asked().input == {"prompt": "What is this?"}


def test_an_endless_setting_is_refused(page: Client, painter: Model) -> None:
    errors = ask(page, painter, **{"parameter:seed": "1" * 100_001}).json()["errors"]

    assert "too long" in errors["parameter:seed"][0]


def test_the_panel_shows_what_stands(page: Client, stranger: Client, painter: Model) -> None:
    painter.default_input = {"num_outputs": 2}
    painter.save()
    address = reverse("chat:model_parameters", args=[painter.slug])
    shown = page.get(address).content.decode()

    for name in ("aspect_ratio", "num_outputs", "seed"):
        assert f'name="parameter:{name}"' in shown
    assert 'placeholder="2"' in shown
    assert "parameter:prompt" not in shown
    assert "parameter:image" not in shown
    assert page.get(reverse("chat:model_parameters", args=["nothing"])).status_code == 404
    assert page.get(f"{address}?conversation=x").status_code == 200
    Model.objects.update(enabled=False)
    assert page.get(address).status_code == 404


def content_of(file: File | Upload) -> bytes:
    with file.content.open() as content:
        data: bytes = content.read()
    return data


def stored() -> list[str]:
    """The contents that lie in the storage of this test."""
    folders = default_storage.listdir("files")[0] if default_storage.exists("files") else []
    return [name for folder in folders for name in default_storage.listdir(f"files/{folder}")[1]]
