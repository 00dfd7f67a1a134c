"""What an answer came from: receipts, once more on the same or another version, two answers side by side."""

import hashlib
import io
import json
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from chat.models import Conversation, Message, User
from predictions import files
from predictions.models import Model, Prediction, Provider, Version
from predictions.models.catalogue import schema_digest
from predictions.receipts import (
    MOST_CHARACTERS,
    MOST_WORDS,
    Grade,
    Receipt,
    compare_words,
    grade_of,
    in_seconds,
)
from tests.browser import Open, choose_action, send, violations
from tests.conftest import WorkerThread, ended, make_model
from tests.fake_replicate import CHAT_SCHEMA, DEPLOYMENT, OFFICIAL_MODEL, VERSIONED_MODEL, FakeReplicate, Script

pytestmark = pytest.mark.usefixtures("quick")

Chosen = Prediction.Chosen
A, B = "a" * 64, "b" * 64
SCHEMA = "c" * 64


# ---------------------------------------------------------------- how sure it is, and whether it is what was meant


def replicate(asked_for: str, answered: str, chosen: str = "latest", version: str = A) -> Prediction:
    model = Model(provider=Provider(kind="replicate"), ref=asked_for.partition(":")[0])
    return Prediction(
        model=model,
        version=Version(model=model, identifier=version),
        chosen=chosen,
        asked_for=asked_for,
        answered_version=answered,
        started_at=timezone.now(),
    )


def cog(schema_hash: str, *, answered: str = "", started: bool = True) -> Prediction:
    model = Model(provider=Provider(kind="cog"), ref="smollm2")
    version = Version(model=model, identifier=schema_hash)
    started_at = timezone.now() if started else None
    asked = {"asked_for": "smollm2", "answered_version": answered}
    return Prediction(model=model, version=version, schema_hash=schema_hash, started_at=started_at, **asked)


@pytest.mark.parametrize(
    ("prediction", "grade", "substituted"),
    [
        # A version by its number: told, told otherwise, hidden, called by another kind of name, not told at all.
        (replicate(f"acme/parrot:{A}", A, "pinned"), Grade.PINNED, False),
        (replicate(f"acme/parrot:{A}", B, "pinned"), Grade.PINNED, True),
        (replicate(f"acme/parrot:{A}", B, "latest"), Grade.PINNED, True),
        (replicate(f"acme/parrot:{A}", "hidden", "pinned"), Grade.OPAQUE, False),
        (replicate(f"acme/parrot:{A}", "dp-1234", "pinned"), Grade.OPAQUE, False),
        (replicate(f"acme/parrot:{A}", "", "pinned"), Grade.OPAQUE, False),
        (replicate(A, B, "named"), Grade.PINNED, True),
        # An official model, by its name alone. What was meant is a version only where somebody chose one.
        (replicate("acme/chat", "hidden"), Grade.NAMED, False),
        (replicate("acme/chat", "hidden", "pinned"), Grade.NAMED, False),
        (replicate("acme/chat", ""), Grade.OPAQUE, False),
        (replicate("acme/chat", B), Grade.PINNED, False),
        (replicate("acme/chat", B, "pinned"), Grade.PINNED, True),
        # A deployment, whose owner decides which version runs.
        (replicate("deployments/acme/support", A, "latest"), Grade.PINNED, False),
        (replicate("deployments/acme/support", B, "latest"), Grade.PINNED, False),
        (replicate("deployments/acme/support", B, "kept"), Grade.PINNED, True),
        (replicate("deployments/acme/support", B, "candidate", version=B), Grade.PINNED, False),
        (replicate("deployments/acme/support", "d-1234", "pinned"), Grade.NAMED, False),
        # A Cog server tells its schema, or nothing; whatever it says of versions is no version of a catalogue.
        (cog(SCHEMA), Grade.NAMED, False),
        (cog(SCHEMA, started=False), Grade.OPAQUE, False),
        (cog(schema_digest({})), Grade.OPAQUE, False),
        (cog(""), Grade.OPAQUE, False),
    ],
)
def test_what_is_known_of_the_version_that_answered(prediction: Prediction, grade: Grade, substituted: bool) -> None:
    assert (grade_of(prediction), prediction.is_another(prediction.answered_version)) == (grade, substituted)


@pytest.mark.parametrize("answered", ["A" * 64, "a" * 63, f"x:{B}", "b" * 65, "\N{ARABIC-INDIC DIGIT ONE}" * 64])
def test_only_a_whole_version_of_a_host_is_proof(answered: str) -> None:
    assert grade_of(replicate(f"acme/parrot:{A}", answered)) == Grade.OPAQUE
    assert not replicate(f"acme/parrot:{A}", answered).is_another(answered)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0.00 s"), (0.351, "0.35 s"), (2.1, "2.1 s"), (59.94, "59.9 s"), (200, "3 min 20 s")]
)
def test_durations_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert in_seconds(seconds) == words


# ---------------------------------------------------------------- real runs


@pytest.fixture
def parrot(model: Model, fake: FakeReplicate) -> Model:
    """A model with two versions that have numbers; `old` and `new` are their names in the tests."""
    known = fake.catalogue.models[VERSIONED_MODEL]
    parrot = make_model(model.provider, VERSIONED_MODEL)
    parrot.versions.all().delete()
    for days, version in enumerate(known.versions):
        parrot.versions.create(
            identifier=version.id,
            openapi_schema=CHAT_SCHEMA,
            schema_hash=schema_digest(dict(CHAT_SCHEMA)),
            released_at=timezone.now() + timedelta(days=days),
        )
    return parrot


@pytest.fixture
def old(parrot: Model) -> Version:
    return parrot.versions.last()


def ask(owner: User, model: Model, text: str = "Name three rivers.") -> Message:
    """Have `owner` ask in a new conversation; return the answer, which a worker may be writing."""
    return Conversation.begin(owner, text, message_id=uuid.uuid4(), model=model).branch()[-1]


def answered(owner: User, model: Model, output: str = "The Rhine.", **fields: Any) -> Message:
    """An answer that has ended, without a host."""
    answer = ask(owner, model)
    now = timezone.now()
    times = dict.fromkeys(("asked_at", "started_at", "first_output_at", "completed_at"), now)
    ended_as = {"status": "succeeded", "output": output, **times, **fields}
    Prediction.objects.filter(pk=answer.prediction_id).update(**ended_as)
    return Message.objects.get(pk=answer.pk)


def url(name: str, answer: Message) -> str:
    return reverse(f"chat:receipt_{name}", args=[answer.pk])


def read(page: Client, name: str, answer: Message, **query: Any) -> str:
    return page.get(url(name, answer), query).content.decode()


@pytest.mark.usefixtures("worker")
def test_a_pinned_answer_tells_who_pinned_it_and_why(
    parrot: Model, old: Version, alice: User, page: Client, fake: FakeReplicate
) -> None:
    pin = parrot.pins.create(environment="production", version=old, created_by=alice, reason="It rambles less.")
    fake.script(Script(metrics={"output_token_count": 7}))
    answer = ask(alice, parrot)
    prediction = ended(answer.prediction)
    receipt = Receipt.of(prediction)

    assert (receipt.grade, receipt.is_substituted, receipt.answered_version) == ("pinned", False, old.identifier)
    assert (receipt.asked_for, receipt.pin.id) == (f"{VERSIONED_MODEL}:{old.identifier}", pin.pk)
    times = receipt.times
    assert times.queued_at <= times.asked_at <= times.started_at <= times.first_output_at <= times.completed_at
    assert receipt.metrics["output_token_count"] == 7
    assert receipt.given == {"prompt": "Name three rivers."}
    assert receipt.defaults == {"system_prompt": "", "max_tokens": 512, "temperature": 0.7}
    text = read(page, "detail", answer)
    assert f"Answered by parrot, version {old.short}. alice pinned it on " in text
    assert "“It rambles less.”" in text
    assert prediction.provider_id in text


def test_an_official_model_is_known_by_name_only(
    model: Model, alice: User, page: Client, fake: FakeReplicate, worker: WorkerThread
) -> None:
    answer = ask(alice, model)
    ended(answer.prediction)

    data = page.get(url("download", answer)).json()
    assert data["grade"] == "named"
    assert data["asked_for"] == {"reference": OFFICIAL_MODEL, "version": ""}
    assert data["answered_by"]["version"] == "hidden"
    assert "whose host does not say which version it runs" in read(page, "detail", answer)


def test_a_deployment_is_named_and_tells_its_version(
    parrot: Model, alice: User, fake: FakeReplicate, worker: WorkerThread
) -> None:
    support = make_model(parrot.provider, f"deployments/{DEPLOYMENT}")
    receipt = Receipt.of(ended(ask(alice, support).prediction))

    assert (receipt.asked_for, receipt.grade) == (f"deployments/{DEPLOYMENT}", "pinned")
    assert receipt.answered_version == fake.catalogue.models[VERSIONED_MODEL].versions[0].id


@pytest.mark.usefixtures("worker")
def test_another_version_than_asked_for_is_shown_in_the_conversation_and_in_the_details(
    parrot: Model, old: Version, alice: User, page: Client, fake: FakeReplicate
) -> None:
    fake.script(Script(version=B))
    answer = ask(alice, parrot)
    ended(answer.prediction)

    conversation = page.get(reverse("chat:conversation_detail", args=[answer.conversation_id])).content.decode()
    details = read(page, "detail", answer)
    for text in (conversation, details):
        assert "Answered by another version than asked for" in text
    asked_for = answer.prediction.version.short
    assert f"Answered by parrot, version {B[:12]}. Version {asked_for} was asked for." in details
    assert page.get(url("download", answer)).json()["substituted"] is True


def test_an_ordinary_answer_bears_no_mark_and_leads_to_its_details(page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot)
    shown = page.get(reverse("chat:conversation_detail", args=[answer.conversation_id])).content.decode()

    assert url("detail", answer) in shown
    assert "another version" not in shown


def test_what_it_cost_is_told_with_its_price(parrot: Model, alice: User, page: Client) -> None:
    price, metrics = {"per_million_output_tokens": "2.75"}, {"output_token_count": 145}
    answer = answered(alice, parrot, price=price, cost=Decimal("0.00039875"), metrics=metrics)
    text = read(page, "detail", answer)

    assert "cost about $0.0004." in text
    assert "$2.75 per million output tokens" in text
    data = page.get(url("download", answer)).json()
    assert (data["cost"], data["price"]) == ("0.0003987500", {**price, "currency": "USD"})


@pytest.mark.parametrize(("writing", "speeds"), [(2.0, (10.0, 5.0)), (0.1, (None, None))])
def test_the_speed_is_that_after_the_first_token_of_what_did_not_come_at_once(
    writing: float, speeds: tuple[float | None, float | None], alice: User, parrot: Model
) -> None:
    now = timezone.now()
    times = {"asked_at": now, "first_output_at": now + timedelta(seconds=3)}
    times["completed_at"] = times["first_output_at"] + timedelta(seconds=writing)
    answer = answered(alice, parrot, "The Rhine.", metrics={"output_token_count": 21}, **times)
    receipt = Receipt.of(answer.prediction)

    assert (receipt.times.to_first_output, receipt.times.writing) == (3.0, writing)
    assert (receipt.tokens_per_second, receipt.characters_per_second) == speeds


def test_a_running_answer_has_details_already(page: Client, alice: User, parrot: Model) -> None:
    text = read(page, "detail", ask(alice, parrot))

    assert "still being written" in text
    assert "Run again exactly" not in text


def test_a_failure_is_told_in_words(page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot, "", status="failed", error="CUDA <b>out of memory</b>")

    text = read(page, "detail", answer)
    assert "CUDA &lt;b&gt;out of memory&lt;/b&gt;" in text
    assert "It failed after" in text


@pytest.mark.parametrize(
    ("given", "logs", "seed"),
    [
        ({"seed": 7}, "Using seed: 42", (7, "input")),
        ({}, "Loading\nUsing seed: 42\nDone", (42, "log")),
        ({}, "Random seed set to 1234", (1234, "log")),
        ({}, "seeds: none, seedling 5", (None, "")),
        ({"seed": "x"}, "seed=" + "9" * 30, (None, "")),
    ],
)
def test_the_seed_is_the_one_that_was_given_or_that_the_log_tells(
    given: dict[str, Any], logs: str, seed: tuple[Any, str], alice: User, parrot: Model
) -> None:
    answer = answered(alice, parrot, input={"prompt": "Hi", **given}, logs=logs)
    receipt = Receipt.of(answer.prediction)
    assert (receipt.seed, receipt.seed_from) == seed


ODD: list[Any] = [None, [], "text", {"prompt": None}, {"prompt": [[[]]], "x": {"y": [1, None]}}, {"\ud800": "\ud800"}]


@pytest.mark.parametrize("given", ODD)
def test_odd_inputs_and_metrics_break_nothing(given: Any, page: Client, alice: User, parrot: Model) -> None:
    messages = '[{"role": "user", "content": [{"text": "Hi"}]}, {"role": 5}]'
    values = {"input": given if isinstance(given, dict) else {"given": given, "messages": messages}}
    metrics = {"output_token_count": "many", "predict_time": None, "nested": {"a": 1}}
    answer = answered(alice, parrot, **values, metrics=metrics, price={"per_moon": 1}, logs="seed: \x00")

    assert page.get(url("detail", answer)).status_code == 200
    assert page.get(url("download", answer)).json()["receipt"] == 1


# ---------------------------------------------------------------- who may look, and what nobody is shown


DOORS = [("get", "detail"), ("get", "download"), ("post", "again"), ("get", "diff")]


@pytest.mark.parametrize(("method", "name"), DOORS)
def test_only_the_owner_looks_into_an_answer(method: str, name: str, alice: User, charlie: User, parrot: Model) -> None:
    answer, client = answered(alice, parrot), Client()
    door = f"{url(name, answer)}?with={answer.pk}"
    root = User.objects.create_superuser("root", password="x")
    statuses = {}
    for person in (None, charlie, root, alice):
        client.logout()
        if person is not None:
            client.force_login(person)
        statuses[str(person)] = getattr(client, method)(door).status_code

    assert statuses == {"None": 302, "charlie": 404, "root": 404, "alice": 302 if method == "post" else 200}
    assert Prediction.objects.count() == (2 if method == "post" else 1)


@pytest.mark.parametrize(("method", "name"), DOORS)
def test_a_question_has_no_receipt(method: str, name: str, page: Client, alice: User, parrot: Model) -> None:
    question = answered(alice, parrot).parent
    assert getattr(page, method)(f"{url(name, question)}?with={question.pk}").status_code == 404


def test_a_receipt_holds_no_secrets_and_no_right_to_read(page: Client, alice: User, parrot: Model, fake: Any) -> None:
    key = {"type": "string", "format": "password", "x-cog-secret": True}
    keys = {"type": "array", "items": key}
    properties = {"prompt": {"type": "string"}, "key": key, "keys": keys, "other": {**key, "default": "sk-default"}}
    schema = {"components": {"schemas": {"Input": {"type": "object", "properties": properties}}}}
    parrot.versions.update(openapi_schema=schema)
    given = {"prompt": "Hi", "key": "sk-one", "keys": ["sk-two"]}
    answer = answered(alice, parrot, input=given, urls={"stream": "https://stream.example/right-to-read"})
    texts = [
        read(page, "detail", answer),
        read(page, "download", answer),
        read(page, "diff", answer, **{"with": answer.pk}),
    ]

    for text in texts:
        for secret in ("sk-one", "sk-two", "sk-default", "right-to-read", fake.token):
            assert secret not in text
    assert json.loads(texts[1])["input"] == {"prompt": "Hi", "key": "•••", "keys": "•••"}


def test_files_are_told_by_name_size_and_digest(page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot)
    file = files.give(answer.prediction, 0, "cat.txt", io.BytesIO(b"meow"))
    given = {"prompt": "Hi", "files": [file.reference, "parley-file:gone"], "small": "data:text/plain;base64,bWVvdw=="}
    Prediction.objects.filter(pk=answer.prediction_id).update(input=given)
    digest = hashlib.sha256(b"meow").hexdigest()

    told = page.get(url("download", answer)).json()["input"]
    cat, gone = (each["file"] for each in told["files"])
    assert (cat["name"], cat["size"], cat["sha256"]) == ("cat.txt", 4, digest)
    assert (gone["size"], gone["sha256"]) == (0, "")
    assert (told["small"]["file"]["size"], told["small"]["file"]["sha256"]) == (4, digest)
    text = read(page, "detail", answer)
    assert "bWVvdw" not in text
    assert "cat.txt" in text


def test_the_export_keeps_its_keys(page: Client, alice: User, parrot: Model) -> None:
    response = page.get(url("download", answered(alice, parrot)))

    assert response["Content-Disposition"].startswith("attachment; filename=")
    assert list(response.json()) == [
        *("receipt", "prediction", "model", "provider", "asked_for", "answered_by", "grade", "substituted", "chosen"),
        *("schema_sha256", "input", "defaults", "seed", "times", "durations", "speed", "metrics", "attempts", "losses"),
        *("price", "cost", "status", "error", "output"),
    ]


def test_a_page_of_details_takes_few_queries(
    page: Client, alice: User, parrot: Model, django_assert_max_num_queries: Any
) -> None:
    answer = answered(alice, parrot)
    for number in range(30):
        identifier = hashlib.sha256(bytes([number])).hexdigest()
        parrot.versions.create(identifier=identifier, openapi_schema=CHAT_SCHEMA)
    again(answer)
    with django_assert_max_num_queries(10):
        page.get(url("detail", answer))


# ---------------------------------------------------------------- once more


def again(answer: Message, version: Version | None = None) -> Message:
    return answer.conversation.run_again(answer, version or answer.prediction.version)


@pytest.mark.usefixtures("worker")
def test_running_it_again_asks_the_same_version_for_the_same(
    parrot: Model, old: Version, alice: User, page: Client, fake: FakeReplicate
) -> None:
    parrot.default_input = {"temperature": 0.2}
    parrot.save(update_fields=["default_input"])
    pin = parrot.pins.create(environment="production", version=old)
    answer = ask(alice, parrot)
    first = ended(answer.prediction)
    pin.restore(by=alice, reason="")
    parrot.pins.create(environment="production", version=None, moves_conversations=True)
    parrot.default_input = {"temperature": 0.9}
    parrot.save(update_fields=["default_input"])

    response = page.post(url("again", answer), {"version": ""})

    second = ended(Prediction.objects.exclude(pk=first.pk).get())
    assert response["Location"] == reverse("chat:conversation_detail", args=[answer.conversation_id])
    assert (second.version, second.input, second.chosen) == (old, first.input, Chosen.NAMED)
    assert second.message.parent_id == answer.parent_id
    assert fake.ledger.created[0].body["input"] == fake.ledger.created[1].body["input"]
    assert f"with={second.message.pk}" in read(page, "detail", answer)


def test_running_it_on_another_version_is_one_choice(page: Client, alice: User, parrot: Model, old: Version) -> None:
    answer = answered(alice, parrot)
    new = parrot.versions.first()
    assert answer.prediction.version == new
    assert f'value="{old.identifier}"' in read(page, "detail", answer)

    page.post(url("again", answer), {"version": old.identifier})

    assert Prediction.objects.exclude(pk=answer.prediction_id).get().version == old


@pytest.mark.django_db(transaction=True)
def test_files_go_along_and_stay_until_the_last_answer_that_has_them_goes(alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot)
    file = files.give(answer.prediction, 0, "cat.txt", io.BytesIO(b"meow"))
    given = {"prompt": "Hi", "image": {"deep": [file.reference]}}
    Prediction.objects.filter(pk=answer.prediction_id).update(input=given)
    second = again(Message.objects.get(pk=answer.pk)).prediction

    copy = second.files.get()
    assert (copy.content.name, copy.sha256, copy.role) == (file.content.name, file.sha256, "input")
    assert second.input == {"prompt": "Hi", "image": {"deep": [copy.reference]}}
    file.delete()
    assert copy.content.open().read() == b"meow"
    storage, name = copy.content.storage, copy.content.name
    copy.delete()
    assert not storage.exists(name)


def refuse(page: Client, answer: Message, version: str, status: int) -> str:
    response = page.post(url("again", answer), {"version": version})
    assert response.status_code == status
    assert Prediction.objects.count() == 1
    as_json = page.post(url("again", answer), {"version": version}, headers={"accept": "application/json"})
    assert (as_json.status_code, bool(as_json.json()["detail"])) == (status, True)
    return response.content.decode()


def test_a_version_that_would_refuse_the_input_says_so_before_it_is_asked(
    page: Client, alice: User, parrot: Model, old: Version
) -> None:
    inputs = {"required": ["prompt"], "properties": {"prompt": {"type": "string", "maxLength": 3}}}
    schema = {"components": {"schemas": {"Input": inputs}}}
    Version.objects.filter(pk=old.pk).update(openapi_schema=schema)
    answer = answered(alice, parrot)

    assert f"{old.short} would refuse this input." in read(page, "detail", answer)
    text = refuse(page, answer, old.identifier, 422)
    assert "The model would refuse this question." in text
    assert f'value="{old.identifier}" selected' in text


def test_what_another_version_would_leave_out_is_told_before_it_is_asked(
    page: Client, alice: User, parrot: Model, old: Version
) -> None:
    schema = {"components": {"schemas": {"Input": {"properties": {"prompt": {"type": "string"}}}}}}
    Version.objects.filter(pk=old.pk).update(openapi_schema=schema)
    answer = answered(alice, parrot, input={"prompt": "Hi", "temperature": 0.5})

    text = read(page, "detail", answer)
    assert f"{old.short} takes this input otherwise." in text
    assert "temperature" in text.partition("takes this input otherwise.")[2].partition("</li>")[0]


@pytest.mark.parametrize("version", ["", A, "no-such-version"])
def test_a_version_that_is_gone_is_not_asked(version: str, page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot)
    parrot.versions.update(gone_at=timezone.now())

    assert "not at its host any more" in refuse(page, answer, version, 409 if not version else 422)


def test_a_version_of_another_model_is_no_choice(page: Client, alice: User, parrot: Model) -> None:
    other = make_model(parrot.provider, "acme/other")
    other.versions.update(identifier=B)

    refuse(page, answered(alice, parrot), B, 422)


def test_a_model_that_is_no_longer_offered_is_not_asked(page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot)
    Model.objects.update(enabled=False)

    assert "not available to you now" in refuse(page, answer, "", 409)


def test_nothing_is_run_while_an_answer_is_written(page: Client, alice: User, parrot: Model) -> None:
    assert "still being written" in refuse(page, ask(alice, parrot), "", 409)


# ---------------------------------------------------------------- two answers


def test_two_answers_are_shown_with_what_only_one_of_them_says(page: Client, alice: User, parrot: Model) -> None:
    answer = answered(alice, parrot, "The Rhine flows north.", metrics={"output_token_count": 5})
    other = again(answer)
    Prediction.objects.filter(pk=other.prediction_id).update(
        status="succeeded", output="The Rhône flows <script>south</script>.", completed_at=timezone.now()
    )
    text = read(page, "diff", answer, **{"with": other.pk})

    assert "<mark>Rhine</mark> flows <mark>north.</mark>" in text
    assert "<mark>Rhône</mark> flows <mark>&lt;script&gt;south&lt;/script&gt;.</mark>" in text
    assert "Why this version" in text


def test_answers_to_different_questions_are_not_compared(
    page: Client, alice: User, charlie: User, parrot: Model
) -> None:
    answer = answered(alice, parrot)
    for other in (answered(alice, parrot).pk, answered(charlie, parrot).pk, uuid.uuid4(), "x", ""):
        assert page.get(url("diff", answer), {"with": other}).status_code == 404


def test_equal_words_are_found_whatever_stands_between_them() -> None:
    left, right = compare_words("one  two\nthree", "one two four three")

    assert [(piece.text, piece.is_shared) for piece in left] == [("one  two\n", True), ("three", True)]
    assert [piece.text for piece in right if not piece.is_shared] == ["four"]


def test_writing_without_blanks_is_compared_too() -> None:
    left, right = compare_words("我喜欢茶。", "我喜欢咖啡。")

    assert [piece.text for piece in left if not piece.is_shared] == ["茶"]
    assert [piece.text for piece in right if not piece.is_shared] == ["咖啡"]


@pytest.mark.parametrize("piece", ["a ", "a b ", "x", "\n", "我", "<b>&"])
def test_what_is_compared_is_bounded(piece: str) -> None:
    for pieces in compare_words(piece * 1_000_000, "b " + piece * 999_999):
        assert sum(len(each.text) for each in pieces) <= MOST_CHARACTERS
        assert len(pieces) <= 2 * MOST_WORDS


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def offered() -> str:
    return VERSIONED_MODEL


def look_at(page: Page) -> list[tuple[str, ...]]:
    """Check that nothing has to be scrolled sideways; return what stands in somebody's way."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    return [(page.url, *fault) for fault in violations(page)]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_people_look_into_an_answer_run_it_again_and_compare(
    scheme: Any, width: int, open_page: Open, host: FakeReplicate
) -> None:
    host.script(Script(version=B, steps=["The Rhine flows through six countries, ", 0.5, "and ends in the sea."]))
    host.script(Script(chunks=["The Danube flows through ten countries, and ends in the Black Sea."]))
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    send(page, "Which river flows through most countries of Europe?")
    expect(page.get_by_role("button", name="More actions")).to_be_visible()
    found = look_at(page)
    page.get_by_role("link", name="Answered by another version than asked for").click()
    expect(page.get_by_role("heading", name="Details of an answer")).to_be_visible()
    found += look_at(page)
    page.get_by_label("Run on another version").select_option(index=0)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".message--assistant")).to_contain_text("Black Sea", timeout=15_000)
    choose_action(page, "Details")
    page.get_by_role("link", name="Compare with this answer").click()
    expect(page.get_by_role("heading", name="Two answers")).to_be_visible()
    expect(page.locator("mark").first).to_have_text("Danube")
    found += look_at(page)

    assert found == []
