"""What a model's schema does not say has a field each on its page, and what the fields cannot say stays as it was."""

import json
from typing import Any

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.models import User
from predictions.admin.adding import Card
from predictions.admin.icons import is_icon
from predictions.models import Model, Provider
from predictions.pins import choose
from predictions.prompts import Turn
from tests.conftest import make_model
from tests.fake_replicate import CHAT_SCHEMA

pytestmark = pytest.mark.django_db

BASE_MODEL = "meta/meta-llama-3-8b"
SCHEMA = {
    "components": {
        "schemas": {
            "Input": {
                "properties": {
                    "text": {"type": "string", "x-order": 0},
                    "draft": {"type": "string", "x-order": 1},
                    "tokens": {"type": "integer", "x-order": 2},
                    "picture": {"type": "string", "format": "uri", "x-order": 3},
                }
            }
        }
    }
}


@pytest.fixture
def base_model(db: None) -> Model:
    """A model of a known family, whose schema names its inputs as no other does."""
    provider = Provider.objects.create(slug="replicate", name="Replicate", kind="replicate", base_url="http://h.test")
    model = make_model(provider, BASE_MODEL)
    model.versions.update(openapi_schema=SCHEMA)
    return model


@pytest.fixture
def alice_client(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("alice", password="correct horse"))
    return client


def address(model: Model) -> str:
    return f"/admin/predictions/model/{model.pk}/change/"


def form_of(client: Client, model: Model) -> Any:
    return client.get(address(model)).context["adminform"].form


def shown(client: Client, model: Model) -> dict[str, str]:
    """Return what the form of the model would send as it is."""
    form = form_of(client, model)
    values = {name: form[name].value() for name in form.fields}
    return {name: str(value or "") for name, value in values.items() if value not in ([], False)}


def save(client: Client, model: Model, **fields: str) -> Any:
    """Save the form as it is, but for `fields`; return the form that came back, or None if it was saved."""
    answer = client.post(address(model), {**shown(client, model), **fields})
    model.refresh_from_db()
    return answer.context["adminform"].form if answer.status_code == 200 else None


def offered(form: Any, field: str) -> dict[str, str]:
    return dict(form.fields[field].choices)


def test_lists_offer_the_inputs_that_fit_and_say_what_is_known(alice_client: Client, base_model: Model) -> None:
    form = form_of(alice_client, base_model)

    assert offered(form, "override_prompt") == {
        "": "Known: text",
        "none": "None, it has no such input",
        "input:text": "text",
        "input:draft": "draft",
    }
    assert "input:tokens" in offered(form, "override_max_tokens")
    assert offered(form, "override_seed")[""] == "Known: none"
    assert list(offered(form, "override_images")) == ["", "none", "input:picture"]
    assert offered(form, "override_layout")[""] == "Known: plain"
    assert "Known: 8,192" in str(form["override_context_length"])


def test_what_is_said_in_the_fields_decides_what_is_sent(alice_client: Client, base_model: Model) -> None:
    fields = {
        "override_prompt": "input:draft",
        "override_images": "none",
        "override_layout": "Mistral",
        "override_context_length": "2048",
        "override_per_second": "0.000225",
        "override_per_million_output_tokens": "$2.75",
    }
    assert save(alice_client, base_model, **fields) is None

    assert base_model.override == {
        "prompt": "draft",
        "images": "",
        "prompt_template": "[INST] {system_prompt}\n\n{prompt} [/INST]",
        "context_length": 2048,
        "price": {"per_second": "0.000225", "per_million_output_tokens": "2.75"},
    }
    assert base_model.family_of(base_model.versions.get()).prompt == "draft"
    again = shown(alice_client, base_model)
    assert {name: again[name] for name in fields} == {**fields, "override_per_million_output_tokens": "2.75"}


def test_saving_without_a_change_changes_no_override(alice_client: Client, base_model: Model) -> None:
    override = {
        "name": "Ours",
        "prompt": "draft",
        "audio": "sound",
        "seed": "",
        "max_tokens": "draft",
        "prompt_template": "Q: {prompt}\nA:",
        "context_length": 100,
        "price": {"per_run": "0"},
    }
    Model.objects.update(override=override)

    assert save(alice_client, base_model, name="Another name") is None
    assert base_model.name == "Another name"
    assert base_model.override == override
    form = form_of(alice_client, base_model)
    assert json.loads(form["override"].value()) == {"name": "Ours"}
    assert offered(form, "override_audio")["input:sound"] == "sound (not an input of this version)"
    assert offered(form, "override_max_tokens")["input:draft"] == "draft (of another kind)"


def test_what_is_taken_out_of_its_field_is_known_from_the_family_again(alice_client: Client, base_model: Model) -> None:
    Model.objects.update(override={"prompt": "draft", "context_length": 100, "price": {"per_run": "1"}})
    save(alice_client, base_model, override_prompt="", override_context_length="", override_per_run="")

    assert base_model.override == {}
    assert base_model.family_of(base_model.versions.get()).context_length == 8_192


def test_a_layout_of_ones_own_begins_with_the_one_that_holds(alice_client: Client, base_model: Model) -> None:
    assert shown(alice_client, base_model)["override_template"] == "{system_prompt}\n\n{prompt}"
    save(alice_client, base_model, override_layout="own", override_template="Q: {prompt}\r\nA:")

    assert base_model.override == {"prompt_template": "Q: {prompt}\nA:"}
    assert shown(alice_client, base_model)["override_layout"] == "own"


@pytest.mark.parametrize(
    ("field", "written", "sentence"),
    [
        ("override_per_run", "five", "Write dollars in plain digits"),
        ("override_per_second", "99999", "nothing costs more than $10,000"),
        ("override_context_length", "0", "greater than or equal to 1"),
        ("override_template", "Q: A:", "Write {prompt} where the question belongs"),
        ("override_template", " ", "Write how a text is laid out"),
        ("override_template", "{prompt}\x00", "Null characters are not allowed."),
        ("override_prompt", "input:nothing-like-this", "Select a valid choice."),
        ("override", "prompt: text", "Must be written in JSON"),
        ("override", '{"colour": "red"}', "“colour” cannot be overridden."),
        ("override", '{"seed": 5}', "seed: write a text"),
        ("override", '{"prompt": "text"}', "“prompt” has a field of its own above."),
        ("icon", "abc", "up to two letters"),
        ("icon", "a\x07", "up to two letters"),
    ],
)
def test_a_fault_stands_at_its_field_and_what_was_written_stays(
    field: str, written: str, sentence: str, alice_client: Client, base_model: Model
) -> None:
    typed = {"override_layout": "own", "override_template": "{prompt}", "override_prompt": "input:draft"}
    form = save(alice_client, base_model, **{**typed, field: written})

    assert list(form.errors) == [field]
    assert sentence.lower() in " ".join(form.errors[field]).lower()
    assert len(form.errors[field]) == 1
    assert form[field].value() == written
    assert base_model.override == {}


@pytest.mark.parametrize("override", [["prompt"], "text", 5, {"prompt": 5}, {"price": []}, {"unheard": {"of": [1]}}])
def test_an_odd_override_is_shown_as_it_is_and_refused_in_words(
    override: Any, alice_client: Client, base_model: Model
) -> None:
    Model.objects.update(override=override)
    assert json.loads(shown(alice_client, base_model)["override"]) == override
    form = save(alice_client, base_model, name="Another name")

    assert list(form.errors) == ["override"]
    assert base_model.override == override


def test_a_model_that_nothing_answers_for_still_has_its_form(alice_client: Client, base_model: Model) -> None:
    base_model.versions.all().delete()
    save(alice_client, base_model, override_context_length="500", override='{"prompt": "words"}')

    assert base_model.override == {"context_length": 500, "prompt": "words"}
    assert offered(form_of(alice_client, base_model), "override_prompt")["input:words"].startswith("words (")


def test_what_a_price_says_is_kept_with_the_next_question(alice_client: Client, base_model: Model) -> None:
    save(alice_client, base_model, override_per_run="0.01", override_prompt="input:draft")
    choice = choose(base_model)
    prediction = choice.ask(choice.input_for([Turn("user", "Hello")]))
    assert prediction.price == {"per_run": "0.01"}
    assert prediction.input == {"draft": "Hello"}


def test_a_page_looks_only_once_for_the_version_that_answers(alice_client: Client, base_model: Model) -> None:
    base_model.versions.update(openapi_schema=CHAT_SCHEMA)
    with CaptureQueriesContext(connection) as queries:
        alice_client.get(address(base_model))

    documents = [query["sql"] for query in queries if '"openapi_schema"' in query["sql"].partition(" FROM ")[0]]
    assert len(documents) == 1


# ---------------------------------------------------------------- the icon


@pytest.mark.parametrize(
    "icon", ["🦜", "🏳️‍🌈", "👨‍👩‍👧‍👦", "🇳🇴", "🇳🇴🇸🇪", "👍🏽", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "Ab", "é", "e\u0301a", "7", "日本"]
)
def test_an_icon_is_an_emoji_or_two_letters(icon: str) -> None:
    assert is_icon(icon)


@pytest.mark.parametrize(
    "icon", ["", "abc", "🦜🦜🦜", "a b", "\u200d", "a\u200d", "\u0301", "\u202ea", "a\x00", "\ud83e"]
)
def test_other_texts_are_no_icons(icon: str) -> None:
    assert not is_icon(icon)


def test_an_icon_stands_before_the_name(alice_client: Client, base_model: Model) -> None:
    assert 'class="model-icon"' not in alice_client.get("/admin/predictions/model/").content.decode()
    assert save(alice_client, base_model, icon="🦜") is None

    card = Card(base_model.ref, "", model=base_model)
    assert "🦜" in render_to_string("admin/predictions/model/_card.html", {"card": card})
    listed = alice_client.get("/admin/predictions/model/").content.decode()
    assert '<span class="model-icon" aria-hidden="true">🦜</span> meta-llama-3-8b' in listed
