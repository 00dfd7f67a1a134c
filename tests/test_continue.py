"""An answer that was cut off goes on, asked for below it; nothing that was there is lost."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import GO_ON, Conversation, Message, User
from predictions.models import Model, Prediction
from tests.conftest import make_model
from tests.fake_replicate import IMAGE_SCHEMA

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


@pytest.fixture
def conversation(alice: User, model: Model) -> Conversation:
    return Conversation.begin(
        alice, "Count.", message_id=uuid.uuid4(), model=model, parameters={"max_tokens": "100", "temperature": "0.2"}
    )


def end(status: str, output: str, **fields: Any) -> None:
    """Have the answer that is being written end."""
    ended = {"status": status, "output": output, "completed_at": timezone.now(), **fields}
    Prediction.objects.active().update(**ended)


def go_on(page: Client, conversation: Conversation, **options: Any) -> Any:
    answer = Conversation.objects.get(pk=conversation.pk).branch()[-1]
    return page.post(reverse("chat:message_continue", args=[answer.pk]), **options)


def is_offered(page: Client, conversation: Conversation) -> bool:
    html = page.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()
    return "message__continue" in html


def shown(conversation: Conversation) -> list[Message]:
    return Conversation.objects.get(pk=conversation.pk).branch()


def test_a_stopped_answer_goes_on_below_with_what_it_was_asked_with(page: Client, conversation: Conversation) -> None:
    end("canceled", "One, two,")
    assert is_offered(page, conversation)
    response = go_on(page, conversation)

    assert response.status_code == 302
    assert [message.text_so_far for message in shown(conversation)] == ["Count.", "One, two,", GO_ON, ""]
    asked = Prediction.objects.latest("created_at")
    assert asked.input["prompt"].endswith(f"User: Count.\n\nAssistant: One, two,\n\nUser: {GO_ON}\n\nAssistant:")
    assert (asked.input["max_tokens"], asked.input["temperature"]) == (100, 0.2)
    end("succeeded", "three.")
    assert not any(message.can_go_on for message in shown(conversation)[2:])


def test_pressed_twice_it_goes_on_once(page: Client, conversation: Conversation) -> None:
    end("canceled", "One, two,")
    answer = shown(conversation)[-1]
    address = reverse("chat:message_continue", args=[answer.pk])
    first, second = page.post(address, headers=JSON), page.post(address, headers=JSON)

    assert (first.status_code, second.status_code) == (200, 409)
    assert "still being written" in second.json()["detail"]
    assert Prediction.objects.count() == 2


@pytest.mark.parametrize(
    ("ended", "offered"),
    [
        (("succeeded", "All of it.", {}), False),
        (("succeeded", "All of it.", {"output_token_count": 99}), False),
        (("succeeded", "Not all of", {"output_token_count": 100}), True),
        (("succeeded", "All of it.", {"output_token_count": "100"}), False),
        (("failed", "Not all of", {}), True),
        (("aborted", "", {}), False),
        (("canceled", "", {}), False),
        (("canceled", "<think>It may be", {}), False),
        (("canceled", "<think>It may be</think>\n\nNot all", {}), True),
    ],
)
def test_only_what_was_cut_off_is_gone_on_with(
    ended: tuple[str, str, dict[str, Any]], offered: bool, page: Client, conversation: Conversation
) -> None:
    status, output, metrics = ended
    end(status, output, metrics=metrics)

    assert is_offered(page, conversation) == offered
    assert go_on(page, conversation, headers=JSON).status_code == (200 if offered else 409)


@pytest.mark.parametrize("given", [{}, {"max_tokens": True}, {"max_tokens": 10**30}])
def test_a_limit_that_is_the_versions_own_or_makes_no_sense_breaks_nothing(
    given: dict[str, Any], alice: User, model: Model
) -> None:
    model.default_input = given
    model.save(update_fields=["default_input"])
    model.versions.update(openapi_schema=_without_limits(model))
    begun = Conversation.begin(alice, "Count.", message_id=uuid.uuid4(), model=model)

    prediction = begun.branch()[-1].prediction
    assert prediction is not None
    assert prediction.length_limit == (512 if given == {} else None)


def test_a_model_that_is_told_one_question_only_says_that_it_cannot_go_on(
    page: Client, alice: User, model: Model
) -> None:
    painter = make_model(model.provider, "acme/painter")
    painter.versions.update(openapi_schema=IMAGE_SCHEMA)
    conversation = Conversation.begin(alice, "A bridge", message_id=uuid.uuid4(), model=painter)
    end("canceled", "A few words")
    response = go_on(page, conversation, headers=JSON)

    assert response.status_code == 409
    assert "cannot go on" in response.json()["detail"]
    assert len(shown(conversation)) == 2


def test_only_whoever_asked_has_an_answer_go_on(client: Client, charlie: User, conversation: Conversation) -> None:
    end("canceled", "One, two,")
    assert go_on(client, conversation).status_code == 302  # to the login page
    client.force_login(charlie)
    assert go_on(client, conversation).status_code == 404
    assert len(shown(conversation)) == 2


def _without_limits(model: Model) -> Any:
    """Return the schema of a version that takes any number of tokens, or none."""
    schema = model.versions.get().openapi_schema
    asked = schema["components"]["schemas"]["Input"]["properties"]["max_tokens"]
    schema["components"]["schemas"]["Input"]["properties"]["max_tokens"] = {
        "title": asked["title"], "default": asked["default"], "x-order": asked["x-order"],
    }  # fmt: skip
    return schema
