"""Titles of conversations that a model makes, and all that leaves them the first line of the question."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from chat.housekeeping import delete_discarded
from chat.models import TITLE_LENGTH, Conversation, User
from chat.titles import make_missing_titles, note_end, read_title
from predictions.database import query
from predictions.figures import figures_of
from predictions.models import Model, Prediction
from tests.conftest import make_model
from tests.fake_replicate import FakeReplicate, Script
from tests.test_overrides import address, shown
from tests.test_pages import begin, finish
from tests.test_sidebar import LONG_AGO, do
from tests.test_socket import a_tab

pytestmark = pytest.mark.django_db


@pytest.fixture
def titler(model: Model, fake: FakeReplicate) -> Model:
    """The model that makes titles."""
    fake.catalogue.add_model("acme/titler", is_official=True)
    return make_model(model.provider, "acme/titler", is_official=True, makes_titles=True)


@pytest.fixture
def conversation(page: Client, model: Model, titler: Model) -> Conversation:
    """One whose first answer has ended, and which a title was asked for."""
    begun = begin(page, model, "What is a quince, please?")
    finish(begun, "A fruit.")
    note_end(begun.branch()[-1].prediction_id)  # type: ignore[arg-type]
    begun.refresh_from_db()
    return begun


def end(conversation: Conversation, **state: Any) -> str:
    """Have the title's prediction end, and return the title then."""
    title = Prediction.objects.filter(titled=conversation)
    title.update(**{"status": "succeeded", "completed_at": timezone.now(), **state})
    note_end(title.get().pk)
    conversation.refresh_from_db()
    return conversation.title


@pytest.mark.parametrize(
    ("output", "title"),
    [
        ("Quinces in autumn", "Quinces in autumn"),
        ('\n  **"Quinces in autumn."**\nThis title says it all.', "Quinces in autumn"),
        ("# Title: „Quitten im Herbst“", "Quitten im Herbst"),
        ("<think>The reader asks about fruit.\n</think>\n\nWhy C# and snake_case?", "Why C# and snake_case?"),
        ("<think>The reader asks about", ""),
        ("The reader asks.\n</think>\nQuinces", "Quinces"),
        ("Quinces \u202eevil\x07 and\tmedlars", "Quinces"),
        ("- `Quinces`", "Quinces"),
        ("“”\n\n***\n", ""),
        ("", ""),
        ("word " * 40, "word " * 11 + "word…"),
        ("x" * 99_999, "x" * TITLE_LENGTH + "…"),
    ],
)
def test_what_a_model_writes_becomes_one_plain_line(output: str, title: str) -> None:
    assert read_title(output) == title


async def test_a_model_titles_a_conversation_while_its_page_is_open(
    alice: User, model: Model, titler: Model, worker: Any, fake: FakeReplicate
) -> None:
    fake.script(Script(chunks=["A fruit."]), Script(chunks=["**Quinces", " explained**"]))
    async with a_tab(alice) as tab:
        await tab.send(type="sidebar")
        await tab.next("sidebar")
        begun = await query(Conversation.begin, alice, "What is a quince?", message_id=uuid.uuid4(), model=model)
        states = [(await tab.next("sidebar"))["state"] for _ in range(3)]  # it is asked, answered, titled
        titled = await query(Conversation.objects.select_related("title_prediction").get, pk=begun.pk)

    made = titled.title_prediction
    assert made is not None
    assert titled.title == "Quinces explained"
    assert len(set(states)) == 3
    assert "Question: What is a quince?\n\nAnswer: A fruit." in made.input["prompt"]
    assert (made.model_id, made.user_id, made.status) == (titler.pk, alice.pk, "succeeded")


def test_a_title_is_asked_for_once_whoever_notes_the_end(conversation: Conversation) -> None:
    for _ in range(2):
        note_end(conversation.branch()[-1].prediction_id)  # type: ignore[arg-type]
        make_missing_titles()
    end(conversation, output="Quinces")
    make_missing_titles()

    assert Prediction.objects.filter(is_background=True).count() == 1


def test_an_end_that_nobody_noted_still_leads_to_a_title(page: Client, model: Model, titler: Model) -> None:
    begun = begin(page, model, "What is a quince?")
    finish(begun, "A fruit.")
    Prediction.objects.update(completed_at=timezone.now())
    make_missing_titles()
    Prediction.objects.filter(titled=begun).update(status="succeeded", output="Quinces")
    make_missing_titles()
    begun.refresh_from_db()

    assert begun.title == "Quinces"


def test_what_its_owner_calls_it_stays(page: Client, conversation: Conversation) -> None:
    do(page, "rename", conversation, title="My fruit")

    assert end(conversation, output="Quinces") == "My fruit"


@pytest.mark.parametrize("state", [{"status": "failed", "error": "No."}, {"status": "aborted"}, {"output": "“”"}])
def test_what_goes_wrong_leaves_the_first_line_of_the_question(
    state: dict[str, str], conversation: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    assert end(conversation, **state) == "What is a quince, please?"
    assert "No title was made" in caplog.text
    assert end(conversation, status="succeeded", output="Too late") == "What is a quince, please?"


def test_nothing_is_asked_without_need(page: Client, model: Model) -> None:
    def asked_for(text: str, status: str = "succeeded") -> bool:
        begun = begin(page, model, text)
        answer = finish(begun, "Well.", status)
        note_end(answer.prediction_id)  # type: ignore[arg-type]
        begun.refresh_from_db()
        return begun.title_prediction is not None

    without_a_model = asked_for("One")
    titler = make_model(model.provider, "acme/titler", makes_titles=True)
    after_a_failure = asked_for("Two", "failed")
    Model.objects.filter(pk=titler.pk).update(enabled=False)
    while_it_is_off = asked_for("Three")
    Model.objects.filter(pk=titler.pk).update(enabled=True)
    Conversation.objects.update(is_titled=True)

    assert (without_a_model, after_a_failure, while_it_is_off, asked_for("Four")) == (False, False, False, True)


def test_a_later_answer_leads_to_no_title(page: Client, model: Model) -> None:
    begun = begin(page, model)
    finish(begun)
    make_model(model.provider, "acme/titler", makes_titles=True)
    begun.ask("And then?", message_id=uuid.uuid4(), model=model)
    note_end(finish(begun).prediction_id)  # type: ignore[arg-type]

    assert not Prediction.objects.filter(is_background=True).exists()


def test_people_have_their_turn_before_titles(conversation: Conversation, page: Client, model: Model) -> None:
    begin(page, model, "A later question")
    title, later = Prediction.objects.filter(status="starting").order_by("created_at")

    assert Prediction.objects.queued().in_turn(model.provider) == [later.pk, title.pk]
    assert (later.count_ahead(), title.count_ahead()) == (0, 1)


def test_a_title_in_the_making_is_no_answer(conversation: Conversation, alice: User) -> None:
    [listed] = Conversation.objects.for_user(alice).with_marks()

    assert not listed.is_running
    assert sum(
        figures.answers for figures in figures_of(model.versions.get() for model in Model.objects.all()).values()
    )


def test_a_title_goes_with_its_conversation(page: Client, conversation: Conversation) -> None:
    do(page, "delete", conversation)
    stopped = Prediction.objects.get(titled=conversation).status
    Conversation.objects.update(deleted_at=timezone.now() - LONG_AGO)
    delete_discarded()

    assert stopped == "canceled"
    assert not Prediction.objects.exists()


def test_an_admin_chooses_one_model_for_titles(client: Client, admin_user: User, model: Model, titler: Model) -> None:
    client.force_login(admin_user)
    saved = client.post(address(model), {**shown(client, model), "makes_titles": "on"})
    listed = client.get("/admin/predictions/model/").content.decode()

    assert saved.status_code == 302
    assert [each.pk for each in Model.objects.filter(makes_titles=True)] == [model.pk]
    assert listed.count(">titles</span>") == 1
