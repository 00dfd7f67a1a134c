"""A conversation is a tree: other wordings, other answers, which branch is shown; and nothing of it gets lost."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from chat import news
from chat.models import MESSAGES_SHOWN, Conversation, Message, User
from predictions.models import Model, Prediction
from tests.browser import Open, send, violations
from tests.conftest import make_model
from tests.fake_replicate import FakeReplicate, Gate, Script

JSON = {"Accept": "application/json"}


@pytest.fixture
def conversation(alice: User, model: Model) -> Conversation:
    """Two questions, each with its answer."""
    conversation = Conversation.begin(alice, "First?", message_id=uuid.uuid4(), model=model)
    finish("One.")
    conversation.ask("Second?", message_id=uuid.uuid4(), model=model)
    finish("Two.")
    return conversation


def finish(text: str) -> None:
    done = {"status": "succeeded", "output": text, "completed_at": timezone.now()}
    Prediction.objects.exclude(status="succeeded").update(**done)


def texts(conversation: Conversation) -> list[str]:
    return [message.text_so_far for message in Conversation.objects.get(pk=conversation.pk).branch()]


def at(name: str, *keys: Any) -> str:
    return reverse(f"chat:{name}", args=keys)


# ---------------------------------------------------------------- branches


@pytest.mark.django_db
def test_a_question_in_other_words_begins_a_branch_and_leaves_the_first_wording(
    page: Client, conversation: Conversation
) -> None:
    first = conversation.branch()[0]
    key = str(uuid.uuid4())
    response = page.post(at("message_edit", first.pk), {"id": key, "text": "Once more?"}, headers=JSON)
    assert response.status_code == 201
    finish("Other.")
    again = page.post(at("message_edit", first.pk), {"id": key, "text": "Once more?"}, headers=JSON)
    assert again.status_code == 201  # sent twice is asked once

    assert texts(conversation) == ["Once more?", "Other."]
    question = Conversation.objects.get(pk=conversation.pk).branch()[0]
    assert (question.place, len(question.siblings), question.sibling_before) == (2, 2, first.pk)
    asked = Prediction.objects.latest("created_at")
    assert "Second?" not in str(asked.input)

    page.post(at("message_show", first.pk))
    assert texts(conversation) == ["First?", "One.", "Second?", "Two."]


@pytest.mark.django_db
def test_an_answer_is_asked_for_again_anywhere_also_of_another_model(
    page: Client, conversation: Conversation, model: Model
) -> None:
    other = make_model(model.provider, "acme/other")
    first = conversation.branch()[1]
    assert other.name in page.get(at("message_models", first.pk)).content.decode()
    page.post(at("message_retry", first.pk), {"model": other.slug})
    finish("Another.")

    assert texts(conversation) == ["First?", "Another."]
    assert Conversation.objects.get(pk=conversation.pk).branch()[1].prediction.model == other  # type: ignore[union-attr]
    page.post(at("message_show", first.pk))
    assert texts(conversation) == ["First?", "One.", "Second?", "Two."]
    assert page.post(at("message_retry", first.pk), {"model": "nothing"}).status_code == 404


@pytest.mark.django_db
def test_the_next_question_goes_on_where_the_reader_is(page: Client, conversation: Conversation, model: Model) -> None:
    old = conversation.branch()[0]
    page.post(at("message_edit", old.pk), {"text": "Other words?"})
    finish("Other.")
    page.post(at("message_show", old.pk))

    page.post(at("message_create", conversation.pk), {"id": uuid.uuid4(), "text": "Third?", "model": model.slug})
    finish("Three.")

    assert texts(conversation) == ["First?", "One.", "Second?", "Two.", "Third?", "Three."]
    asked = Prediction.objects.latest("created_at").input["prompt"]
    assert "Two." in asked
    assert "Other" not in asked


@pytest.mark.django_db
def test_what_cannot_be_asked_in_other_words_is_said_and_kept(page: Client, conversation: Conversation) -> None:
    question, answer, *_ = conversation.branch()
    empty = page.post(at("message_edit", question.pk), {"text": " "})
    assert (empty.status_code, "Write a message first." in empty.content.decode()) == (422, True)
    page.post(at("message_edit", question.pk), {"text": "Running?"})
    key = uuid.uuid4()
    busy = page.post(at("message_edit", question.pk), {"id": key, "text": "Too soon?"})
    assert busy.status_code == 422
    assert "Too soon?" in busy.content.decode()
    assert f'name="id" value="{key}"' in busy.content.decode()  # sent again, it is the same question
    assert "still being written" in busy.content.decode()
    assert page.post(at("message_edit", answer.pk), {"text": "An answer is no question"}).status_code == 404


@pytest.mark.django_db
def test_nobody_touches_anothers_branches(conversation: Conversation, charlie: User, client: Client) -> None:
    client.force_login(charlie)
    question, answer, *_ = conversation.branch()
    asked = [
        client.get(at("message_edit", question.pk)),
        client.post(at("message_edit", question.pk), {"text": "Mine"}),
        client.post(at("message_show", question.pk)),
        client.get(at("message_models", answer.pk)),
        client.get(at("earlier_messages", answer.pk)),
    ]
    assert {response.status_code for response in asked} == {404}


@pytest.mark.django_db
def test_a_link_to_a_message_on_another_branch_offers_to_show_it_and_changes_nothing(
    page: Client, conversation: Conversation
) -> None:
    first, _, second, *_ = conversation.branch()
    page.post(at("message_edit", first.pk), {"text": "Other words?"})
    finish("Other.")

    html = page.get(at("conversation_detail", conversation.pk), {"message": str(second.pk)}).content.decode()
    assert "on another branch" in html
    assert "Second?" not in html
    assert texts(conversation)[-1] == "Other."

    shown = page.post(at("message_show", second.pk), follow=True).content.decode()
    assert "Second?" in shown
    assert "on another branch" not in shown
    assert texts(conversation)[-1] == "Two."
    for named in ("nonsense", str(uuid.uuid4()), ""):
        assert page.get(at("conversation_detail", conversation.pk), {"message": named}).status_code == 200


@pytest.mark.django_db
def test_a_tab_is_told_what_another_branch_has_and_it_lacks(
    alice: User, conversation: Conversation, model: Model
) -> None:
    first = conversation.branch()[0]
    shown = news.messages_after(alice, conversation.pk, 4)
    assert shown
    assert shown.html == ""
    conversation.ask("Other words?", message_id=uuid.uuid4(), model=model, instead_of=first)
    other = news.messages_after(alice, conversation.pk, shown.after, shown.marks)
    assert other
    assert "Other words?" in other.html
    assert "First?" not in other.html

    conversation.show(first)
    back = news.messages_after(alice, conversation.pk, other.after, other.marks)
    assert back
    assert "First?" in back.html
    assert "Two." in back.html


# ---------------------------------------------------------------- long conversations


@pytest.fixture
def long(alice: User, model: Model) -> Conversation:
    """Two thousand messages."""
    conversation = Conversation.objects.create(owner=alice, title="Long", model=model)
    rows = [Prediction(model=model, input={}, status="succeeded", output=f"Answer {n}.") for n in range(1_000)]
    predictions = Prediction.objects.bulk_create(rows)
    parent, messages = None, []
    for number, prediction in enumerate(predictions):
        question = Message(conversation=conversation, parent=parent, ordinal=2 * number + 1, role="user")
        question.text = f"Question {number}?"
        parent = Message(conversation=conversation, parent=question, ordinal=2 * number + 2, role="assistant")
        parent.prediction = prediction
        messages += [question, parent]
    Message.objects.bulk_create(messages)
    return conversation


@pytest.mark.django_db
def test_a_long_conversation_comes_by_page(
    page: Client, long: Conversation, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        html = page.get(at("conversation_detail", long.pk)).content.decode()
    assert html.count('class="message ') == MESSAGES_SHOWN
    assert "Answer 999." in html

    oldest = long.branch(last=MESSAGES_SHOWN)[0]
    with django_assert_max_num_queries(12):
        earlier = page.get(at("earlier_messages", oldest.pk)).content.decode()
    assert earlier.count('class="message ') == MESSAGES_SHOWN
    assert "Question 960?" in earlier
    assert "Question 980?" not in earlier
    far = page.get(at("conversation_detail", long.pk), {"message": str(long.branch()[1_900].pk)}).content.decode()
    assert "Question 950?" in far


# ---------------------------------------------------------------- in a browser


def test_people_edit_ask_again_and_walk_between_branches(open_page: Open, host: FakeReplicate) -> None:
    page = open_page(reduced_motion="reduce")
    gate = Gate()
    host.script(Script(chunks=["One."]), Script(chunks=["Other."]), Script(steps=["Ano", gate, "ther."]))
    answers, questions = page.locator(".message--assistant"), page.locator(".message__question")
    send(page, "First?")
    expect(answers.filter(has_text="One.")).to_be_visible()
    expect(page.get_by_role("button", name="More actions")).to_be_visible()

    page.get_by_role("link", name="Edit this question").click()
    box = page.get_by_role("textbox", name="Question in other words")
    expect(box).to_be_focused()
    box.press("Escape")
    expect(page.get_by_role("link", name="Edit this question")).to_be_focused()
    page.get_by_role("link", name="Edit this question").click()
    box.fill("In other words?")
    box.press("Enter")
    expect(questions).to_have_text(["In other words?"])
    expect(answers.filter(has_text="Other.")).to_be_visible()
    wordings = page.get_by_role("group", name="Wordings of this question")
    expect(wordings).to_contain_text("2/2")
    assert violations(page) == []

    page.get_by_role("button", name="Try again").click()
    expect(answers.filter(has_text="Ano")).to_be_visible()
    gate.open()
    expect(page.locator("streaming-answer")).to_have_count(0)  # what comes with its end replaces what is pressed below
    expect(page.get_by_role("group", name="Answers to this question")).to_contain_text("2/2")
    page.get_by_role("group", name="Answers to this question").get_by_role("button", name="Before").click()
    expect(answers.filter(has_text="Other.")).to_be_visible()
    expect(answers).to_have_count(1)
    wordings.get_by_role("button", name="Before").click()
    expect(questions).to_have_text(["First?"])
    expect(answers.filter(has_text="One.")).to_be_visible()
    page.reload()
    expect(questions).to_have_text(["First?"])
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
