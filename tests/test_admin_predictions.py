"""How predictions went, in the admin; and answers of another version than was asked for."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.models import User
from predictions.models import Model, Prediction
from tests.people import signed_in, with_rights

pytestmark = pytest.mark.django_db

LIST = "/admin/predictions/prediction/"
SENTENCE = "of the last seven days came from another version than was asked for"


def answered(model: Model, **fields: Any) -> Prediction:
    version = {"answered_version": "b" * 64, "status": "succeeded"}
    return Prediction.objects.create(model=model, version=model.versions.first(), input={}, **{**version, **fields})


def test_an_answer_of_another_version_is_marked_in_the_list_and_can_be_filtered(alice: User, model: Model) -> None:
    answered(model, is_substituted=True)
    answered(model, answered_version="a" * 64)
    admin = signed_in(with_rights(alice, "view_prediction"))

    page = admin.get(LIST).content.decode()
    assert page.count("not the one asked for") == 1
    assert "bbbbbbbbbbbb" in page
    assert "aaaaaaaaaaaa" in page
    filtered = admin.get(LIST, {"is_substituted__exact": "1"}).content.decode()
    assert "aaaaaaaaaaaa" not in filtered
    assert "bbbbbbbbbbbb" in filtered


def test_the_front_page_tells_of_such_answers_while_they_are_new(alice: User, charlie: User, model: Model) -> None:
    admin = signed_in(with_rights(alice, "view_prediction", "view_pin"))
    answered(model, is_substituted=True, created_at=timezone.now() - timedelta(days=8))
    assert SENTENCE not in admin.get("/admin/").content.decode()

    answered(model, is_substituted=True)
    answered(model)
    assert f"1 answer {SENTENCE}" in admin.get("/admin/").content.decode()
    assert SENTENCE not in signed_in(with_rights(charlie, "view_pin")).get("/admin/").content.decode()
