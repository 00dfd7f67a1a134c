"""Messages that are deleted: what goes, what stays and what that follows then, and how it comes back."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chat import export, news
from chat.housekeeping import delete_discarded_messages
from chat.models import Conversation, Message, SearchEntry, User
from chat.news import store_html
from chat.search import search
from chat.tree import Row, Tree
from predictions.models import Model, Prediction
from predictions.pins import NothingAnswers
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import FakeReplicate, Gate, Script

JSON = {"Accept": "application/json"}
LONG_AGO = timedelta(hours=2)


@pytest.fixture
def conversation(alice: User, model: Model) -> Conversation:
    """Three questions, each with its answer."""
    conversation = Conversation.begin(alice, "First?", message_id=uuid.uuid4(), model=model)
    finish("One.")
    for question, answer in (("Second?", "Two."), ("Third?", "Three.")):
        conversation.ask(question, message_id=uuid.uuid4(), model=model)
        finish(answer)
    return conversation


def finish(text: str) -> None:
    for prediction in Prediction.objects.active():
        done = {"status": "succeeded", "output": text, "completed_at": timezone.now()}
        Prediction.objects.filter(pk=prediction.pk).update(**done)
        store_html(prediction.pk)


def fresh(conversation: Conversation) -> Conversation:
    return Conversation.objects.get(pk=conversation.pk)


def texts(conversation: Conversation) -> list[str]:
    return [message.text_so_far for message in fresh(conversation).branch()]


def named(conversation: Conversation, text: str) -> Message:
    return next(message for message in fresh(conversation).branch() if message.text_so_far == text)


def delete(page: Client, message: Message, **options: Any) -> Any:
    return page.post(reverse("chat:message_delete", args=[message.pk]), **options)


def restore(page: Client, message: Message, **options: Any) -> Any:
    return page.post(reverse("chat:message_restore", args=[message.pk]), **options)


# ---------------------------------------------------------------- what goes, and what stays


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("deleted", "left"),
    [
        (["First?"], ["Second?", "Two.", "Third?", "Three."]),
        (["Second?"], ["First?", "One.", "Third?", "Three."]),
        (["Two."], ["First?", "One.", "Third?", "Three."]),  # the only answer takes its question along
        (["Third?"], ["First?", "One.", "Second?", "Two."]),
        (["First?", "Second?"], ["Third?", "Three."]),
        (["Third?", "First?", "Two."], []),
    ],
)
def test_a_turn_goes_and_what_was_said_below_follows_what_is_above(
    deleted: list[str], left: list[str], page: Client, conversation: Conversation
) -> None:
    gone = [named(conversation, text) for text in deleted]
    for message in gone:
        delete(page, message)

    assert texts(conversation) == left
    html = page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()
    assert [text in html for text in ("Two.", "Third?")] == [text in left for text in ("Two.", "Third?")]
    for message in reversed(gone):
        restore(page, message)
    assert texts(conversation) == ["First?", "One.", "Second?", "Two.", "Third?", "Three."]


@pytest.mark.django_db
def test_a_model_is_not_told_what_was_deleted(page: Client, conversation: Conversation, model: Model) -> None:
    delete(page, named(conversation, "Second?"))
    fresh(conversation).ask("Fourth?", message_id=uuid.uuid4(), model=model)

    asked = Prediction.objects.latest("created_at").input["prompt"]
    assert "Third?" in asked
    assert "Second?" not in asked
    assert "Two." not in asked


@pytest.mark.django_db
def test_where_everything_is_gone_a_new_question_begins_anew(
    page: Client, conversation: Conversation, model: Model
) -> None:
    for text in ("First?", "Second?", "Third?"):
        delete(page, named(conversation, text))
    assert page.get(reverse("chat:conversation_detail", args=[conversation.pk])).status_code == 200
    sent = {"id": str(uuid.uuid4()), "text": "Once more?", "model": model.slug}
    page.post(reverse("chat:message_create", args=[conversation.pk]), sent)
    finish("Gladly.")

    assert texts(conversation) == ["Once more?", "Gladly."]
    assert Prediction.objects.latest("created_at").input["prompt"] == "Once more?"


@pytest.mark.django_db
def test_one_of_several_answers_goes_alone_and_what_is_below_stands_below_another(
    page: Client, conversation: Conversation
) -> None:
    answer = named(conversation, "Two.")
    page.post(reverse("chat:message_retry", args=[answer.pk]))
    finish("Too.")
    page.post(reverse("chat:message_show", args=[answer.pk]))
    delete(page, answer)

    assert texts(conversation) == ["First?", "One.", "Second?", "Too.", "Third?", "Three."]
    assert [len(message.siblings) for message in fresh(conversation).branch()] == [1] * 6
    restore(page, answer)
    assert texts(conversation) == ["First?", "One.", "Second?", "Two.", "Third?", "Three."]
    assert named(conversation, "Two.").place == 1


@pytest.mark.django_db
def test_an_answer_that_comes_back_brings_its_question(page: Client, conversation: Conversation) -> None:
    answer = named(conversation, "Two.")
    page.post(reverse("chat:message_retry", args=[answer.pk]))
    finish("Too.")
    page.post(reverse("chat:message_show", args=[answer.pk]))
    delete(page, answer)
    delete(page, named(conversation, "Too."))
    assert texts(conversation) == ["First?", "One.", "Third?", "Three."]

    restore(page, answer)
    assert texts(conversation) == ["First?", "One.", "Second?", "Two.", "Third?", "Three."]


@pytest.mark.django_db
def test_the_branch_that_is_shown_stays_the_one_that_is_shown(page: Client, conversation: Conversation) -> None:
    first = named(conversation, "First?")
    page.post(reverse("chat:message_edit", args=[first.pk]), {"text": "Other?"})
    finish("Another.")
    page.post(reverse("chat:message_show", args=[first.pk]))
    delete(page, named(conversation, "Second?"))
    assert texts(conversation) == ["First?", "One.", "Third?", "Three."]

    delete(page, named(conversation, "Third?"))  # at its end `leaf` stands
    assert texts(conversation) == ["First?", "One."]
    delete(page, named(conversation, "First?"))
    assert texts(conversation) == ["Other?", "Another."]  # nothing is above a first question
    restore(page, first)
    assert texts(conversation) == ["First?", "One."]


@pytest.mark.django_db
def test_what_was_deleted_cannot_be_worked_with(page: Client, conversation: Conversation, model: Model) -> None:
    question, answer = named(conversation, "Second?"), named(conversation, "Two.")
    delete(page, question)

    gone = [
        page.get(reverse("chat:message_edit", args=[question.pk])),
        page.get(reverse("chat:receipt_detail", args=[answer.pk])),
        page.post(reverse("chat:message_retry", args=[answer.pk])),
        page.post(reverse("chat:message_rate", args=[answer.pk]), {"rating": "1"}),
        page.post(reverse("chat:message_show", args=[answer.pk])),
        delete(page, answer),
    ]
    assert {response.status_code for response in gone} == {404}
    # A request that had read it just before is told so, and writes nothing.
    owned = fresh(conversation)
    for ask in (
        lambda: owned.answer_again(answer),
        lambda: owned.run_again(answer, model.versions.get()),
        lambda: owned.go_on(answer),
        lambda: owned.ask("Other?", message_id=uuid.uuid4(), model=model, instead_of=question),
    ):
        with pytest.raises(NothingAnswers, match="deleted"):
            ask()
    owned.discard_message(answer)
    owned.show(answer)
    assert owned.above(answer, last=5) == []
    assert Prediction.objects.count() == 3
    assert texts(conversation) == ["First?", "One.", "Third?", "Three."]


@pytest.mark.django_db
def test_what_was_deleted_is_found_and_kept_nowhere(page: Client, alice: User, conversation: Conversation) -> None:
    Conversation.objects.update(read_ordinal=4)
    for text in ("Second?", "Third?"):
        delete(page, named(conversation, text))

    assert [search(alice, words) for words in ("second", "two")] == [[], []]
    assert search(alice, "first") != []
    kept = export.as_json(fresh(conversation))
    assert [message["text"] for message in kept["messages"]] == ["First?", "One."]
    assert "Two." not in export.as_markdown(fresh(conversation))
    assert not Conversation.objects.with_marks().get().is_unread


@pytest.mark.django_db
def test_an_export_names_what_each_message_follows_now(page: Client, conversation: Conversation) -> None:
    delete(page, named(conversation, "Second?"))
    kept = {message["text"]: message for message in export.as_json(fresh(conversation))["messages"]}

    assert kept["Third?"]["parent"] == kept["One."]["id"]


@pytest.mark.django_db
def test_without_scripts_the_next_page_offers_to_undo(page: Client, conversation: Conversation) -> None:
    question = named(conversation, "Second?")
    response = delete(page, question, follow=True)

    assert reverse("chat:message_restore", args=[question.pk]) in response.content.decode()
    assert delete(page, named(conversation, "Third?"), headers=JSON).json()["restore"].endswith("/restore/")
    assert page.get(reverse("chat:message_delete", args=[question.pk])).status_code == 405


@pytest.mark.django_db
def test_nobody_deletes_or_restores_anothers_messages(
    page: Client, conversation: Conversation, charlie: User, client: Client
) -> None:
    first, second = named(conversation, "First?"), named(conversation, "Second?")
    delete(page, second)
    client.logout()
    assert [delete(client, first).status_code, restore(client, second).status_code] == [302, 302]
    client.force_login(charlie)

    assert [delete(client, first).status_code, restore(client, second).status_code] == [404, 404]
    offered = client.get(f"/?deleted={second.pk}").content.decode()
    assert reverse("chat:message_restore", args=[second.pk]) not in offered
    assert texts(conversation) == ["First?", "One.", "Third?", "Three."]


# ---------------------------------------------------------------- while an answer is written


@pytest.mark.django_db(transaction=True)
def test_what_is_deleted_while_it_is_written_is_stopped_at_its_host_and_does_not_come_back(
    page: Client, alice: User, model: Model, fake: FakeReplicate, worker: WorkerThread
) -> None:
    gate = Gate()
    fake.script(Script(chunks=["One."]), Script(steps=["A secret", gate, "."]), Script(chunks=["Three."]))
    conversation = Conversation.begin(alice, "First?", message_id=uuid.uuid4(), model=model)
    ended(Prediction.objects.get())
    question = conversation.ask("Second?", message_id=uuid.uuid4(), model=model)
    gate.wait_reached()
    delete(page, question)
    assert texts(conversation) == ["First?", "One."]
    assert not Conversation.objects.with_marks().get().is_running
    conversation.ask("Third?", message_id=uuid.uuid4(), model=model)  # nothing is in its way

    for prediction in Prediction.objects.all():
        ended(prediction)
    assert texts(conversation) == ["First?", "One.", "Third?", "Three."]
    assert [created.status for created in fake.ledger.created] == ["succeeded", "canceled", "succeeded"]
    assert search(alice, "secret") == []
    told = news.ended(Prediction.objects.get(message__parent=question).pk)  # a tab that followed it is not left alone
    assert "canceled" in told


@pytest.mark.django_db
def test_what_waits_for_its_turn_is_not_asked_once_it_was_deleted(
    page: Client, conversation: Conversation, model: Model
) -> None:
    question = fresh(conversation).ask("Fourth?", message_id=uuid.uuid4(), model=model)
    delete(page, question)

    assert Prediction.objects.latest("created_at").status == "canceled"
    assert not Prediction.objects.active().exists()


@pytest.mark.django_db
def test_an_answer_below_goes_on_when_a_turn_above_is_deleted(
    page: Client, conversation: Conversation, model: Model
) -> None:
    fresh(conversation).ask("Fourth?", message_id=uuid.uuid4(), model=model)
    delete(page, named(conversation, "Second?"))
    assert Prediction.objects.active().count() == 1
    finish("Four.")

    assert texts(conversation) == ["First?", "One.", "Third?", "Three.", "Fourth?", "Four."]


@pytest.mark.django_db
def test_other_tabs_are_told_what_goes_what_comes_back_and_which_arrows_changed(
    page: Client, alice: User, conversation: Conversation, model: Model
) -> None:
    second = named(conversation, "Second?")
    page.post(reverse("chat:message_edit", args=[second.pk]), {"text": "Other?"})
    finish("Another.")
    page.post(reverse("chat:message_show", args=[second.pk]))
    shown = news.messages_after(alice, conversation.pk, 0)
    assert shown
    other = Message.objects.get(text="Other?")
    delete(page, other)
    alone = news.messages_after(alice, conversation.pk, shown.after, shown.marks)
    assert alone
    assert (alone.path, alone.marks != shown.marks) == (shown.path, True)
    assert "Second?" in alone.html
    assert "1/2" not in alone.html
    assert "First?" not in alone.html

    delete(page, second)
    gone = news.messages_after(alice, conversation.pk, alone.after, alone.marks)
    assert gone
    assert (gone.html, len(gone.path)) == ("", 4)
    restore(page, second)
    back = news.messages_after(alice, conversation.pk, gone.after, gone.marks)
    assert back
    assert "Second?" in back.html
    assert "Third?" not in back.html
    assert back.path == alone.path


# ---------------------------------------------------------------- for good


@pytest.mark.django_db
def test_an_hour_later_it_goes_for_good_with_its_prediction_and_what_is_below_stays(
    page: Client, conversation: Conversation
) -> None:
    answer, third = named(conversation, "Two."), named(conversation, "Third?")
    page.post(reverse("chat:message_retry", args=[answer.pk]))
    finish("Too.")
    page.post(reverse("chat:message_show", args=[answer.pk]))
    first = named(conversation, "First?")
    for message in (answer, first, third):
        delete(page, message)
    Message.objects.filter(deleted_at__isnull=False).exclude(pk=third.pk).exclude(parent=third.pk).update(
        deleted_at=timezone.now() - LONG_AGO
    )
    before = texts(conversation)
    delete_discarded_messages()
    delete_discarded_messages()

    assert texts(conversation) == before == ["Second?", "Too."]
    assert restore(page, first).status_code == 404
    assert sorted(Prediction.objects.values_list("output", flat=True)) == ["Three.", "Too."]
    assert SearchEntry.objects.count() == 4
    restore(page, third)
    assert texts(conversation) == ["Second?", "Too.", "Third?", "Three."]
    assert not Message.objects.filter(pk__in=[answer.pk, first.pk]).exists()


@pytest.mark.django_db
def test_a_sweep_waits_for_an_answer_that_is_still_written(page: Client, alice: User, model: Model) -> None:
    conversation = Conversation.begin(alice, "First?", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="processing", asked_at=timezone.now())
    delete(page, conversation.branch()[0])
    assert Prediction.objects.get().cancel_requested_at is not None
    Message.objects.update(deleted_at=timezone.now() - LONG_AGO)
    delete_discarded_messages()
    assert Message.objects.count() == 2

    Prediction.objects.update(status="canceled")
    delete_discarded_messages()
    assert (Message.objects.count(), Prediction.objects.count(), Conversation.objects.count()) == (0, 0, 1)


# ---------------------------------------------------------------- the tree alone


def numbered(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


@st.composite
def trees(draw: st.DrawFn) -> list[Row]:
    """Some turns of a conversation, each below any answer before it or at its beginning; some of them deleted."""
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 12))):
        above = draw(st.sampled_from([None, *(row.id for row in rows if row.is_answer)]))
        question = numbered(len(rows) + 1)
        answers = draw(st.lists(st.booleans(), min_size=1, max_size=3))
        rows.append(Row(question, above, is_answer=False, is_deleted=all(answers)))
        rows += [Row(numbered(len(rows) + 1 + n), question, True, gone) for n, gone in enumerate(answers)]
    return rows


@given(trees())
def test_whatever_is_deleted_all_else_is_reached_and_questions_and_answers_take_turns(rows: list[Row]) -> None:
    tree = Tree(rows)
    kinds = {row.id: row.is_answer for row in rows}
    for row in rows:
        if row.is_deleted:
            assert row.id not in tree
            assert tree.path_to(row.id) == []
            continue
        path = tree.path_to(row.id)
        assert path[-1] == row.id
        assert [kinds[key] for key in path] == [bool(place % 2) for place in range(len(path))]
        assert row.id in tree.path_to(tree.newest_below(row.id))
        assert row.id in tree.siblings_of(row.id)


@given(trees(), st.data())
def test_deleting_for_good_changes_nothing_that_is_shown(rows: list[Row], data: st.DataObject) -> None:
    questions = [row.id for row in rows if row.is_deleted and not row.is_answer]
    chosen = set(data.draw(st.lists(st.sampled_from(questions)) if questions else st.just([])))
    alone = [row.id for row in rows if row.is_deleted and row.is_answer and row.parent not in questions]
    going = {row.id for row in rows if row.id in chosen or (row.parent in chosen and row.is_answer)} | set(alone)
    joined = Tree(row._replace(is_deleted=row.id in going) for row in rows)
    left = [row._replace(parent=joined.parent_of(row.id)) for row in rows if row.id not in going]

    before, after = Tree(rows), Tree(left)
    assert {row.id: before.parent_of(row.id) for row in rows} == {row.id: after.parent_of(row.id) for row in rows}
