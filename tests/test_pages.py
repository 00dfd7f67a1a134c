"""The pages over HTTP: writing, reading, refusing."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from chat.models import Conversation, Message, SetupToken, User, make_title
from predictions.follow import read_frame
from predictions.models import Condition, File, Model, OutputChunk, Prediction

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def fields(model: Model, text: str = "Hi", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "text": text, "model": model.slug, **more}


def begin(page: Client, model: Model, text: str = "Hi") -> Conversation:
    page.post(reverse("chat:conversation_create"), fields(model, text))
    return Conversation.objects.latest("created_at")


def read(page: Client, conversation: Conversation) -> str:
    return page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()


def finish(conversation: Conversation, output: str = "Hello!", status: str = "succeeded") -> Message:
    answer = conversation.branch()[-1]
    Prediction.objects.filter(pk=answer.prediction_id).update(status=status, output=output)
    return conversation.branch()[-1]


# ---------------------------------------------------------------- writing


def test_sending_makes_conversation_question_and_prediction(page: Client, alice: User, model: Model) -> None:
    sent = fields(model, "What is the capital of France?")

    answer = page.post(reverse("chat:conversation_create"), sent)

    [conversation] = Conversation.objects.for_user(alice)
    assert answer.status_code == 302
    assert answer["Location"] == reverse("chat:conversation_detail", args=[conversation.pk])
    question, reply = conversation.branch()
    assert (str(question.pk), question.text) == (sent["id"], "What is the capital of France?")
    assert reply.prediction is not None
    assert reply.prediction.input["prompt"] == "What is the capital of France?"
    assert (reply.prediction.user, reply.prediction.status) == (alice, "starting")
    assert conversation.title == "What is the capital of France?"


def test_sending_twice_is_asking_once(page: Client, model: Model) -> None:
    sent = fields(model)
    answers = {page.post(reverse("chat:conversation_create"), sent)["Location"] for _ in range(3)}
    again = page.post(answers.pop() + "messages/", sent)

    assert not answers
    assert again.status_code == 302
    assert Prediction.objects.count() == 1


def test_the_next_question_carries_the_conversation(page: Client, model: Model) -> None:
    conversation = begin(page, model, "Hi")
    finish(conversation, "Hello!")

    page.post(reverse("chat:message_create", args=[conversation.pk]), fields(model, "Who are you?"))

    prediction = Prediction.objects.latest("created_at")
    assert prediction.input["prompt"] == "User: Hi\n\nAssistant: Hello!\n\nUser: Who are you?\n\nAssistant:"


def test_no_question_while_an_answer_is_written_and_no_text_is_lost(page: Client, model: Model) -> None:
    conversation = begin(page, model)

    answer = page.post(reverse("chat:message_create", args=[conversation.pk]), fields(model, "My long question"))

    assert answer.status_code == 422
    assert "still being written" in answer.content.decode()
    assert "My long question" in answer.content.decode()
    assert Message.objects.count() == 2


@pytest.mark.parametrize("text", ["", "   ", "x" * 32_001])
def test_a_bad_message_is_refused_in_words(text: str, page: Client, model: Model) -> None:
    refused = page.post(
        reverse("chat:conversation_create"), fields(model, text), headers={"accept": "application/json"}
    )

    assert refused.status_code == 422
    assert refused.json()["errors"]["text"][0]
    assert not Message.objects.exists()


def test_a_model_that_is_off_is_refused(page: Client, model: Model) -> None:
    Model.objects.update(enabled=False)

    refused = page.post(reverse("chat:conversation_create"), fields(model), headers={"accept": "application/json"})

    assert "not available" in refused.json()["errors"]["model"][0]


def test_the_page_sends_with_fetch(page: Client, model: Model) -> None:
    answer = page.post(reverse("chat:conversation_create"), fields(model), headers={"accept": "application/json"})

    assert answer.status_code == 201
    assert answer.json()["url"] == f"/conversations/{answer.json()['conversation']}/"


def test_stop_is_stamped_on_the_row(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    answer = conversation.branch()[-1]

    page.post(reverse("chat:message_stop", args=[answer.pk]))

    assert conversation.branch()[-1].prediction.status == "canceled"  # type: ignore[union-attr]


def test_trying_again_makes_a_new_answer_and_keeps_the_old_one(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    failed = finish(conversation, "", "failed")

    page.post(reverse("chat:message_retry", args=[failed.pk]))

    question, answer = conversation.branch()
    assert answer.pk != failed.pk
    assert answer.parent_id == question.pk == failed.parent_id
    assert conversation.messages.count() == 3


def test_trying_again_while_it_is_written_is_refused(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    answer = conversation.branch()[-1]

    refused = page.post(reverse("chat:message_retry", args=[answer.pk]), headers={"accept": "application/json"})
    plain = page.post(reverse("chat:message_retry", args=[answer.pk]))

    assert (refused.status_code, plain.status_code) == (409, 409)
    assert "still being written" in refused.json()["detail"]
    assert "still being written" in plain.content.decode()


# ---------------------------------------------------------------- reading


def test_the_page_shows_the_text_so_far_and_where_it_stands(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    prediction = conversation.branch()[-1].prediction
    assert prediction is not None
    Prediction.objects.filter(pk=prediction.pk).update(status="processing")
    OutputChunk.objects.create(prediction=prediction, offset=0, text="Paris is")
    OutputChunk.objects.create(prediction=prediction, offset=8, text=" the 👩‍🚀")

    html = page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()

    assert "Paris is the 👩‍🚀" in html
    assert f'prediction="{prediction.pk}"' in html
    assert 'end="16"' in html
    assert '<meta http-equiv="refresh"' in html  # for browsers without scripts


def test_a_finished_answer_is_shown_as_html(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    finish(conversation, "It is **Paris**.<script>alert(1)</script>")

    html = page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()

    assert "<strong>Paris</strong>" in html
    assert "<script>alert" not in html
    assert '<meta http-equiv="refresh"' not in html


def test_a_failed_answer_says_why(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    answer = finish(conversation, "Par", "failed")
    Prediction.objects.filter(pk=answer.prediction_id).update(error="Out of <memory>.")

    html = page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()

    assert "Out of &lt;memory&gt;." in html
    assert reverse("chat:message_retry", args=[answer.pk]) in html


def test_an_answer_that_ended_before_it_began_says_that_nothing_was_charged(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    finish(conversation, "", "aborted")

    assert "It ended before it began; nothing was charged." in read(page, conversation)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "Queued"),
        ({"asked_at": NOW}, "Starting"),
        ({"asked_at": NOW, "lost_at": NOW}, "Checking what became of the question"),
        ({"status": "processing"}, "Running"),
        ({"status": "processing", "progress": 38}, "Running, 38 %"),
        ({"status": "processing", "progress": 0}, "Running, 0 %"),
    ],
)
def test_the_page_says_what_is_waited_for(state: dict[str, Any], words: str, page: Client, model: Model) -> None:
    conversation = begin(page, model)
    Prediction.objects.update(**state)

    html = read(page, conversation)

    assert f'<span class="waiting__words">{words}</span>' in html
    assert ('value="38"' in html) == (state.get("progress") == 38)


@pytest.mark.parametrize("state", [{"asked_at": NOW}, {"asked_at": NOW, "lost_at": NOW}, {"status": "processing"}])
def test_an_answer_that_waits_for_no_turn_is_read_in_two_queries(
    state: dict[str, Any], page: Client, model: Model, django_assert_num_queries: Any
) -> None:
    answer = begin(page, model).branch()[-1]
    Prediction.objects.update(**state)

    assert answer.frame  # how long a start usually takes is looked up once a minute
    with django_assert_num_queries(2):
        assert read_frame(answer.prediction_id, edition=0, after=0).phase != "queued"


def test_the_page_says_why_a_question_waits(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    Condition.note_trouble(model.provider, "The host <is> down.", pause=60)

    assert '<span class="waiting__note">The host &lt;is&gt; down. Next try in about ' in read(page, conversation)


# ---------------------------------------------------------------- files


def add_file(message: Message, name: str = "out-0.png", role: str = "output", **fields: Any) -> File:
    assert message.prediction is not None
    position = message.prediction.files.filter(role=role).count()
    sent = {"media_type": "image/png", "content": "files/aa/aa", "size": 2_048, **fields}
    return File.objects.create(prediction=message.prediction, role=role, position=position, name=name, **sent)


def test_an_answer_shows_its_files_in_order_each_with_a_download(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    answer = finish(conversation, "")
    files = [
        add_file(answer, "one.png"),
        add_file(answer, "two.wav", media_type="audio/wav"),
        add_file(answer, "three.mp4", media_type="video/mp4"),
        add_file(answer, "four.zip", media_type="application/octet-stream"),
    ]

    html = read(page, conversation)

    places = [reverse("file_detail", args=[file.pk]) for file in files]
    for tag, place in zip(("img", "audio", "video"), places, strict=False):
        assert re.search(rf'<{tag} [^>]*src="{place}"', html), tag
    assert [html.index(place) for place in places] == sorted(html.index(place) for place in places)
    for file, place in zip(files, places, strict=True):
        assert f'href="{place}?download=1" download="{file.name}"' in html
    assert "2.0\xa0KB" in html
    assert "without a word" not in html
    assert "<copy-answer>" not in html


def test_a_file_that_was_lost_says_why(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    lost = add_file(finish(conversation, ""), content="", error="The file expired <early>.")

    html = read(page, conversation)

    assert "The file expired &lt;early&gt;." in html
    assert reverse("file_detail", args=[lost.pk]) not in html
    assert "without a word" not in html


def test_the_name_of_a_file_is_never_markup(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    add_file(finish(conversation, "Here."), '"><script>alert(1)</script>')

    html = read(page, conversation)

    assert "<script>alert" not in html
    assert "&quot;&gt;&lt;script&gt;alert(1)" in html


def test_files_of_a_running_answer_are_shown(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    add_file(conversation.branch()[-1], "first.png")

    html = read(page, conversation)

    assert "first.png" in html.partition("<streaming-answer")[2].partition("</streaming-answer>")[0]


def test_what_was_given_with_a_question_is_shown_with_it(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    given = add_file(finish(conversation), "cat.png", role="input")

    html = read(page, conversation)

    place = reverse("file_detail", args=[given.pk])
    question, _, answer = html.partition("message--assistant")
    assert (place in question, place in answer) == (True, False)


def test_reading_changes_nothing(page: Client, model: Model, django_assert_max_num_queries: Any) -> None:
    conversation = begin(page, model)
    finish(conversation)
    before = list(Message.objects.values()), list(Prediction.objects.values()), list(Conversation.objects.values())

    for address in ("/", reverse("chat:conversation_detail", args=[conversation.pk])):
        with django_assert_max_num_queries(12):
            page.get(address)

    assert before == (
        list(Message.objects.values()),
        list(Prediction.objects.values()),
        list(Conversation.objects.values()),
    )


def test_the_number_of_queries_does_not_grow_with_the_conversation(page: Client, model: Model) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    conversation = begin(page, model)
    counts = []
    for text in ("two", "three", "four"):
        answer = finish(conversation)
        add_file(answer, "given.png", role="input")
        add_file(answer, "made.png")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page.get(reverse("chat:conversation_detail", args=[conversation.pk]))
        counts.append(len(queries))
        page.post(reverse("chat:message_create", args=[conversation.pk]), fields(model, text))

    assert len(set(counts)) == 1


def test_the_first_line_of_the_question_is_the_title() -> None:
    assert make_title("  Hello\nworld") == "Hello"
    assert make_title("word " * 40) == "word " * 11 + "word…"
    assert make_title("x" * 100) == "x" * 60 + "…"


# ---------------------------------------------------------------- who may


def everything(conversation: Conversation) -> list[tuple[str, str]]:
    """Each address that shows or changes a conversation, with its verb."""
    answer = conversation.branch()[-1]
    return [
        ("get", reverse("chat:conversation_detail", args=[conversation.pk])),
        ("post", reverse("chat:message_create", args=[conversation.pk])),
        ("post", reverse("chat:message_stop", args=[answer.pk])),
        ("post", reverse("chat:message_retry", args=[answer.pk])),
    ]


def test_a_stranger_sees_nothing_and_changes_nothing(page: Client, charlie: User, model: Model) -> None:
    conversation = begin(page, model)
    stranger = Client()
    stranger.force_login(charlie)

    for verb, address in everything(conversation):
        assert getattr(stranger, verb)(address, fields(model)).status_code == 404, address
    assert "Hi" not in stranger.get("/").content.decode().split("<main")[0]
    assert Message.objects.count() == 2
    assert conversation.branch()[-1].is_running


def test_a_message_id_of_another_conversation_is_refused_in_words(page: Client, alice: User, model: Model) -> None:
    first, other = (Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model) for _ in range(2))
    Prediction.objects.update(status="succeeded")
    question = other.branch()[0]
    taken = fields(model, "And?", id=str(first.branch()[0].pk))
    for address in (reverse("chat:message_create", args=[other.pk]), reverse("chat:message_edit", args=[question.pk])):
        answer = page.post(address, taken, headers={"Accept": "application/json"})

        assert (answer.status_code, "Reload the page" in answer.content.decode()) == (422, True)
    assert other.messages.count() == 2


def test_a_message_id_cannot_be_taken_from_somebody_else(page: Client, charlie: User, model: Model) -> None:
    conversation = begin(page, model)
    stranger = Client()
    stranger.force_login(charlie)

    refused = stranger.post(reverse("chat:conversation_create"), fields(model, id=str(conversation.branch()[0].pk)))

    assert refused.status_code == 422
    assert not Conversation.objects.for_user(charlie).exists()


def test_who_is_not_signed_in_is_led_to_the_login(client: Client, page: Client, model: Model) -> None:
    conversation = begin(page, model)
    nobody = Client()

    for verb, address in [("get", "/"), *everything(conversation)]:
        answer = getattr(nobody, verb)(address, fields(model))
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("login")), address


def test_nobody_and_the_disabled_see_no_rows(alice: User, model: Model, page: Client) -> None:
    begin(page, model)
    alice.is_active = False

    for user in (AnonymousUser(), alice):
        assert not Conversation.objects.for_user(user).exists()
        assert not Message.objects.for_user(user).exists()
        assert not Prediction.objects.for_user(user).exists()


def addresses() -> Iterator[str]:
    for pattern in get_resolver().url_patterns:
        if getattr(pattern, "app_name", "") == "chat":
            yield from (entry.name for entry in pattern.url_patterns)


@pytest.mark.parametrize("name", list(addresses()))
def test_every_write_needs_a_csrf_token(name: str, alice: User, model: Model, page: Client) -> None:
    conversation = begin(page, model)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    args = {
        "home": [],
        "manifest": [],
        "message_search": [],
        "sidebar_part": [],
        "conversation_older": [],
        "conversation_archived": [],
        "conversation_create": [],
        "code_highlight": [],
        "diagram_frame": [],
        "theme_choose": [],
        "setup": ["token"],
        "message_stop": [conversation.branch()[-1].pk],
        "message_retry": [conversation.branch()[-1].pk],
    }.get(name, [conversation.pk])

    status = browser.post(reverse(f"chat:{name}", args=args), fields(model)).status_code

    assert status in {403, 405}, name


def test_pages_are_private_and_walled(page: Client) -> None:
    answer = page.get("/")

    assert answer["Cache-Control"] == "no-store, private"
    assert answer["X-DNS-Prefetch-Control"] == "off"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert "<script>" not in answer.content.decode()
    assert " style=" not in answer.content.decode()


# ---------------------------------------------------------------- what goes wrong


def test_without_a_database_a_page_says_so_and_signs_nobody_out(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("away")

    page.raise_request_exception = False
    with monkeypatch.context() as outage:
        outage.setattr(SessionStore, "load", fail)
        answer = page.get("/")

    assert answer.status_code == 503
    assert "cannot reach its database" in answer.content.decode()
    assert (answer["Retry-After"], answer["Cache-Control"]) == ("5", "no-store, private")
    assert not answer.cookies
    assert page.get("/").status_code == 200


def test_what_could_not_be_saved_can_be_sent_again_without_scripts(
    alice: User, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(alice)
    browser.get("/")
    sent = fields(model, "<b>Keep</b> me", csrfmiddlewaretoken=browser.cookies["csrftoken"].value)

    def fail(*args: Any, **named: Any) -> None:
        raise OperationalError("full")

    with monkeypatch.context() as outage:
        outage.setattr(Conversation, "begin", fail)
        refused = browser.post(reverse("chat:conversation_create"), sent).content.decode()
    form = {name: re.search(f'name="{name}" value="([^"]+)"', refused) for name in sent if name != "text"}
    again = {name: found[1] for name, found in form.items() if found}

    assert "&lt;b&gt;Keep&lt;/b&gt; me</textarea>" in refused
    assert (again["id"], again["model"]) == (sent["id"], sent["model"])
    assert browser.post(reverse("chat:conversation_create"), {**again, "text": sent["text"]}).status_code == 302
    assert Message.objects.get(pk=sent["id"]).text == "<b>Keep</b> me"


def test_any_other_failure_is_told_as_one_of_ours(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise RuntimeError

    page.raise_request_exception = False
    monkeypatch.setattr("chat.views.render", fail)
    answer = page.get("/")

    assert answer.status_code == 500
    assert "Something went wrong" in answer.content.decode()


def test_more_than_a_form_may_hold_is_refused_in_words(page: Client) -> None:
    response = page.post("/conversations/", {"text": "x" * 3_000_000})

    assert response.status_code == 400
    assert "That could not be read" in response.content.decode()


# ---------------------------------------------------------------- the first admin


def test_the_printed_token_makes_the_first_admin_once(client: Client) -> None:
    token = SetupToken.issue()
    assert token is not None
    address = reverse("chat:setup", args=[token])
    form = {"username": "ada", "password1": "a long enough phrase", "password2": "a long enough phrase"}

    assert client.get(address).status_code == 200
    assert client.post(address, form)["Location"] == "/"
    assert User.objects.get(username="ada").is_superuser
    assert client.get("/").status_code == 200  # signed in

    assert Client().post(address, {**form, "username": "eve"}).status_code == 302
    assert not User.objects.filter(username="eve").exists()
    assert SetupToken.issue() is None


def test_before_the_first_admin_the_login_says_how_to_begin(client: Client) -> None:
    page = client.get("/", follow=True)

    assert "printed in the terminal" in page.content.decode()


def test_a_wrong_token_makes_nobody(client: Client) -> None:
    SetupToken.issue()
    form = {"username": "eve", "password1": "a long enough phrase", "password2": "a long enough phrase"}

    assert client.post(reverse("chat:setup", args=["guess"]), form).status_code == 302
    assert not User.objects.exists()


def test_a_new_start_replaces_the_token() -> None:
    first, second = SetupToken.issue(), SetupToken.issue()

    assert not SetupToken.is_good(str(first))
    assert SetupToken.is_good(str(second))


def test_a_weak_password_is_refused_and_the_token_stays_good(client: Client) -> None:
    address = reverse("chat:setup", args=[SetupToken.issue()])

    answer = client.post(address, {"username": "ada", "password1": "123", "password2": "123"})

    assert answer.status_code == 422
    assert not User.objects.exists()
    assert client.get(address).status_code == 200


# ---------------------------------------------------------------- the admin


def test_every_page_of_the_admin_opens(client: Client, model: Model, alice: User) -> None:
    alice.is_staff = alice.is_superuser = True
    alice.save(update_fields=["is_staff", "is_superuser"])
    client.force_login(alice)
    begin(client, model)

    for name in ("provider", "model", "version", "pin", "prediction"):
        assert client.get(reverse(f"admin:predictions_{name}_changelist")).status_code == 200, name
    prediction = Prediction.objects.get()
    assert client.get(reverse("admin:predictions_prediction_change", args=[prediction.pk])).status_code == 200
    assert client.get(reverse("admin:chat_user_changelist")).status_code == 200


def test_an_owner_may_leave_the_version_that_a_conversation_began_with(page: Client, model: Model) -> None:
    old = model.versions.get()
    conversation = begin(page, model)
    Prediction.objects.update(status="succeeded")
    assert "stays on version" not in read(page, conversation)
    new = model.versions.create(identifier="newer" * 8, openapi_schema=old.openapi_schema, latest_at=timezone.now())
    told = read(page, conversation)
    assert f"stays on version <code>{old.short}</code>" in told
    assert f"begin with <code>{new.short}</code>" in told

    page.post(reverse("chat:conversation_move", args=[conversation.pk]))
    assert "stays on version" not in read(page, conversation)
    page.post(reverse("chat:message_create", args=[conversation.pk]), fields(model, "And?"))
    assert Prediction.objects.latest("created_at").version == new


def test_nobody_moves_anothers_conversation(page: Client, model: Model, charlie: User, client: Client) -> None:
    conversation = begin(page, model)
    client.force_login(charlie)
    assert client.post(reverse("chat:conversation_move", args=[conversation.pk])).status_code == 404
    conversation.refresh_from_db()
    assert conversation.moved_at is None


def test_a_pin_is_made_in_the_admin_and_decides(client: Client, model: Model, alice: User) -> None:
    alice.is_staff = alice.is_superuser = True
    alice.save(update_fields=["is_staff", "is_superuser"])
    client.force_login(alice)
    old = model.versions.get()
    model.versions.create(identifier="newer", openapi_schema=old.openapi_schema)

    address = reverse("admin:predictions_pin_decide", args=[model.pk, "production"])
    client.post(f"{address}?version={old.pk}", {"reason": "it is known"})
    begin(client, model)

    assert model.pins.get().created_by == alice
    assert Prediction.objects.get().version == old
