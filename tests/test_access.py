"""Whose models, conversations and trials: the same answer on every way in."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from chat.models import Conversation, User
from predictions.models import Model, Prediction
from tests.people import signed_in

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}
NOT_OFFERED = "Choose another one"


@pytest.fixture
def team(model: Model) -> Group:
    """Whose model it is from now on."""
    team = Group.objects.create(name="team")
    model.groups.add(team)
    return team


@pytest.fixture
def conversation(alice: User, model: Model) -> Conversation:
    """One that alice began while everybody could ask the model, with an answer that has ended."""
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="succeeded", output="Hello")
    return conversation


def ways_of_asking(client: Client, conversation: Conversation, model: Model) -> dict[str, Any]:
    """Ask for an answer of `model` in every way there is, as a form and as the page's scripts do."""
    answer = conversation.branch()[-1]
    sent = {"id": str(uuid.uuid4()), "text": "And?", "model": model.slug}
    create = reverse("chat:conversation_create")
    go_on = reverse("chat:message_create", args=[conversation.pk])
    retry = reverse("chat:message_retry", args=[answer.pk])
    again = reverse("chat:receipt_again", args=[answer.pk])
    posts = {"begin": (create, sent), "go on": (go_on, sent), "try again": (retry, {}), "run again": (again, {})}
    return {
        f"{name} {kind}": client.post(address, fields, headers=headers)
        for name, (address, fields) in posts.items()
        for kind, headers in (("by form", {}), ("by script", JSON))
    }


def test_who_is_not_in_the_group_of_a_model_cannot_ask_it_in_any_way(
    alice: User, model: Model, conversation: Conversation, team: Group
) -> None:
    client = signed_in(alice)
    assert model.name not in client.get(reverse("chat:home")).content.decode()

    responses = ways_of_asking(client, conversation, model)

    assert {name: response.status_code // 100 for name, response in responses.items()} == dict.fromkeys(responses, 4)
    assert Prediction.objects.count() == 1
    for name in ("try again by script", "run again by script"):
        assert NOT_OFFERED in responses[name].json()["detail"]
    page = client.get(reverse("chat:conversation_detail", args=[conversation.pk])).content.decode()
    assert "Hello" in page  # what there is stays readable


def test_who_is_in_the_group_can_ask_it(alice: User, model: Model, conversation: Conversation, team: Group) -> None:
    alice.groups.add(team)
    client = signed_in(alice)
    assert model.name in client.get(reverse("chat:home")).content.decode()

    sent = {"id": str(uuid.uuid4()), "text": "And?", "model": model.slug}
    assert client.post(reverse("chat:conversation_create"), sent, headers=JSON).status_code == 201
    answer = conversation.branch()[-1]
    assert client.post(reverse("chat:message_retry", args=[answer.pk]), headers=JSON).status_code == 200


def test_a_model_and_its_settings_are_shown_to_its_group_alone(
    alice: User, model: Model, conversation: Conversation, team: Group
) -> None:
    choices = reverse("chat:message_models", args=[conversation.branch()[-1].pk])
    settings = reverse("chat:model_parameters", args=[model.slug])

    def shown() -> tuple[bool, int]:
        client = signed_in(alice)
        return f'value="{model.slug}"' in client.get(choices).content.decode(), client.get(settings).status_code

    assert shown() == (False, 404)
    alice.groups.add(team)
    assert shown() == (True, 200)


def test_nobody_asks_in_anothers_conversation(charlie: User, model: Model, conversation: Conversation) -> None:
    responses = ways_of_asking(signed_in(charlie), conversation, model)

    refused = {name: response.status_code for name, response in responses.items() if not name.startswith("begin")}
    assert refused == dict.fromkeys(refused, 404)
    assert Prediction.objects.filter(message__conversation=conversation).count() == 1
