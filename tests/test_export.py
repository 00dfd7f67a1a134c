"""A conversation that is exported is all there, and nothing else with it."""

import json
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from chat import export
from chat.models import Conversation, User
from predictions.models import Model, OutputChunk, Prediction
from tests.test_pages import add_file, begin, finish

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(page: Client, model: Model) -> Conversation:
    """One with two answers to its question, of which the second is shown, with files."""
    begun = begin(page, model, "What is a “quince”?")
    first = finish(begun, "A fruit.")
    begun.answer_again(first)
    second = finish(begun, "A yellow **fruit**.\n\n```\ncode\n```")
    add_file(second, "given.png", role="input", sha256="ab" * 32)
    add_file(second, "tree.png", sha256="cd" * 32, provider_url="https://secret.example/x")
    Prediction.objects.filter(pk=second.prediction_id).update(
        rating=1, urls={"stream": "https://secret.example/y"}, cost="0.0000012", answered_version="e" * 64
    )
    return begun


def get(page: Client, conversation: Conversation, ending: str) -> str:
    address = reverse("chat:conversation_detail", args=[conversation.pk]) + f"export.{ending}"
    answer = page.get(address)
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment; filename")
    return answer.content.decode()


def test_json_has_the_whole_tree(page: Client, conversation: Conversation) -> None:
    written = get(page, conversation, "json")
    told = json.loads(written)

    question, first, second = told["messages"]
    assert (told["format"], told["version"], told["title"]) == ("parley-conversation", 1, "What is a “quince”?")
    assert [each["parent"] for each in told["messages"]] == [None, question["id"], question["id"]]
    assert [each["text"] for each in (question, first)] == ["What is a “quince”?", "A fruit."]
    assert told["shown"] == [question["id"], second["id"]]
    assert (second["model"], second["provider"]) == ("meta/meta-llama-3-8b-instruct", "replicate")
    assert (second["rating"], second["cost"], second["answered_version"]) == (1, "0.0000012000", "e" * 64)
    assert second["times"]["queued_at"]
    assert [(file["role"], file["name"], file["sha256"]) for file in second["files"]] == [
        ("input", "given.png", "ab" * 32),
        ("output", "tree.png", "cd" * 32),
    ]
    assert "secret.example" not in written


def test_markdown_has_the_branch_that_is_shown(page: Client, conversation: Conversation) -> None:
    written = get(page, conversation, "md")

    assert written.startswith("# What is a “quince”?\n\n*Exported from Parley on ")
    assert "## You\n\nWhat is a “quince”?" in written
    assert "- given.png (image/png, SHA-256 `abab" in written.partition("A yellow")[0]
    assert "A yellow **fruit**.\n\n```\ncode\n```\n\n- tree.png (image/png, SHA-256 `cdcd" in written
    assert "A fruit." not in written


def test_markdown_says_what_did_not_end_well(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    finish(conversation, "Par", "failed")
    Prediction.objects.update(error="Out of memory.")
    failed = get(page, conversation, "md")
    Prediction.objects.update(status="canceled")
    stopped = get(page, conversation, "md")
    Prediction.objects.update(status="processing", output="")
    OutputChunk.objects.create(prediction=Prediction.objects.get(), offset=0, text="So far")

    assert "Par\n\n*Failed: Out of memory.*" in failed
    assert "Par\n\n*Stopped.*" in stopped
    assert "So far\n\n*Still being written.*" in get(page, conversation, "md")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("../../etc/passwd", "etc passwd.md"),
        ("???", "conversation.md"),
        ('a"b\\c: d', "a b c d.md"),
        ("日本語", "日本語.md"),
    ],
)
def test_a_title_makes_a_harmless_file_name(title: str, name: str) -> None:
    assert export.file_name(Conversation(title=title), "md") == name


def test_nobody_exports_anothers_conversation(client: Client, conversation: Conversation, charlie: User) -> None:
    client.force_login(charlie)
    statuses = [
        client.get(reverse(f"chat:conversation_{kind}", args=[key])).status_code
        for kind in ("json", "md")
        for key in (conversation.pk, uuid.uuid4())
    ]

    assert statuses == [404] * 4
