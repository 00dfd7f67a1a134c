"""A model is tried from its page, by settings that are not saved: by those who may, and without scripts, too."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import expect

from chat.models import User
from predictions.models import Model, Pin, Prediction, Trial
from tests.browser import chromium, set_up, violations, visiting
from tests.conftest import WorkerThread, ended, make_model
from tests.fake_replicate import VERSIONED_MODEL, FakeReplicate, Gate, Script
from tests.people import signed_in, staff
from tests.site import Site

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Accept": "application/json"}
RIGHTS = ("view_model", "change_model", "view_comparison")


@pytest.fixture
def admin_page(transactional_db: None) -> Client:
    return signed_in(User.objects.create_superuser("alice", password="correct horse"))


def page_of(model: Model, rest: str = "change/") -> str:
    return f"/admin/predictions/model/{model.pk}/{rest}"


def typed(client: Client, model: Model, **fields: str) -> dict[str, str]:
    """Return what the model's form sends with `fields` typed into it; parameters go by the names of their inputs."""
    form = client.get(page_of(model)).context["adminform"].form
    names = {asked.name: field for field, asked in form.asked.items()}
    values = {name: form[name].value() for name in form.fields}
    sent = {name: str(value or "") for name, value in values.items() if value not in ([], False)}
    return {**sent, "try_prompt": "Hello", **{names.get(name, name): text for name, text in fields.items()}}


def tried(client: Client, model: Model, **fields: str) -> Any:
    return client.post(page_of(model, "try/"), typed(client, model, **fields), headers=JSON)


# ---------------------------------------------------------------- what is asked


def test_the_form_as_it_stands_is_tried_and_nothing_of_it_is_saved(admin_page: Client, model: Model) -> None:
    saved = Model.objects.values().get()
    fields = {
        "name": "Another name",
        "system_prompt": "Be brief.",
        "temperature": "0.25",
        "default_input": '{"top_k": 40}',
        "override_prompt": "input:prompt",
        "override_per_run": "0.01",
    }
    answer = tried(admin_page, model, **fields, try_prompt="Why is the sky blue?")

    assert answer.status_code == 200
    prediction = Prediction.objects.get()
    assert prediction.input == {
        "prompt": "Why is the sky blue?",
        "system_prompt": "Be brief.",
        "temperature": 0.25,
        "top_k": 40,
    }
    assert prediction.price == {"per_run": "0.01"}
    assert (prediction.user.username, prediction.version) == ("alice", model.versions.get())
    assert f'prediction="{prediction.pk}"' in answer.json()["html"]
    assert "Why is the sky blue?" in answer.json()["html"]
    assert Model.objects.values().get() == saved


def test_the_version_that_answers_here_is_the_one_that_is_tried(admin_page: Client, model: Model) -> None:
    pinned = model.versions.create(identifier="a" * 64, openapi_schema=model.versions.get().openapi_schema)
    Pin.objects.create(model=model, environment="production", version=pinned)
    tried(admin_page, model)

    assert Prediction.objects.get().version == pinned


def test_a_context_length_that_is_not_saved_counts(admin_page: Client, model: Model) -> None:
    refused = tried(admin_page, model, override_context_length="none")

    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == ["override_context_length"]
    assert tried(admin_page, model, override_context_length="50").status_code == 200


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"temperature": "warm"}, "temperature", "Must be a number."),
        ({"override_per_run": "five"}, "override_per_run", "Write dollars in plain digits"),
        ({"try_prompt": "  "}, "try_prompt", "Write what is to be asked first."),
        ({"try_prompt": "\x00"}, "try_prompt", "Null characters are not allowed."),
        ({"name": ""}, "name", "This field is required."),
    ],
)
def test_a_fault_comes_back_with_its_field_and_nothing_is_asked(
    fields: dict[str, str], field: str, sentence: str, admin_page: Client, model: Model
) -> None:
    form = admin_page.get(page_of(model)).context["adminform"].form
    names = {asked.name: name for name, asked in form.asked.items()}
    answer = tried(admin_page, model, **fields)

    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert list(errors) == [names.get(field, field)]
    assert sentence in " ".join(errors[names.get(field, field)])
    assert not Prediction.objects.exists()


def test_a_question_that_the_version_would_refuse_is_answered_with_why(admin_page: Client, model: Model) -> None:
    schema = {
        "components": {
            "schemas": {
                "Input": {
                    "required": ["prompt", "style"],
                    "properties": {"prompt": {"type": "string"}, "style": {"type": "string"}},
                }
            }
        }
    }
    model.versions.update(openapi_schema=schema)
    html = tried(admin_page, model).json()["html"]

    assert "The model would refuse this question. “style”: Must be given." in html
    assert "The input that was sent" not in html
    assert not Prediction.objects.exists()


def test_where_nothing_answers_there_is_nothing_to_try(admin_page: Client, model: Model) -> None:
    model.versions.all().delete()
    assert "try-out" not in admin_page.get(page_of(model)).content.decode()
    answer = tried(admin_page, model)

    assert answer.status_code == 422
    assert "Nothing answers here" in answer.json()["errors"]["try_prompt"][0]


@pytest.mark.parametrize(
    ("facts", "proposed"),
    [
        ({"default_example": {"input": {"prompt": "A haiku"}}}, "A haiku"),
        ({"default_example": {"input": {"prompt": "A haiku" * 100}}}, "Say hello in one sentence."),
        ({"default_example": {"input": {"prompt": ["A"]}}}, "Say hello in one sentence."),
        ([{"default_example": 5}], "Say hello in one sentence."),
    ],
)
def test_the_host_s_own_example_is_proposed_if_it_is_short(
    facts: Any, proposed: str, admin_page: Client, model: Model
) -> None:
    Model.objects.update(facts=facts)

    assert f">{proposed}</textarea>" in admin_page.get(page_of(model)).content.decode()


def test_what_is_to_be_asked_outlives_a_fault_in_saving(admin_page: Client, model: Model) -> None:
    page = admin_page.post(page_of(model), typed(admin_page, model, name="", try_prompt="A long question")).content

    assert b">A long question</textarea>" in page
    assert not Trial.objects.exists()


# ---------------------------------------------------------------- stopping


def test_a_try_is_stopped_and_only_by_those_who_may(admin_page: Client, model: Model) -> None:
    tried(admin_page, model)
    trial = Trial.objects.get()
    stop = page_of(model, f"try/{trial.pk}/stop/")
    bob = staff("view_model", "change_model")

    assert bob.post(stop).status_code == 403
    assert bob.get(page_of(model, f"try/{trial.pk}/")).status_code == 403
    assert admin_page.get(stop).status_code == 405
    assert admin_page.post(page_of(model, f"try/{trial.pk + 1}/stop/")).status_code == 404
    assert Prediction.objects.get().status == "starting"
    assert admin_page.post(stop, headers=JSON).json() == {}
    assert Prediction.objects.get().status == "canceled"
    assert "Stopped." in admin_page.post(stop, follow=True).content.decode()


def test_a_try_belongs_to_one_model(admin_page: Client, model: Model) -> None:
    other = make_model(model.provider, VERSIONED_MODEL)
    tried(admin_page, model)

    assert admin_page.get(page_of(other, f"try/{Trial.objects.get().pk}/")).status_code == 404


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("missing", ["change_model", "view_comparison"])
def test_trying_takes_both_rights(missing: str, model: Model) -> None:
    bob = staff(*(right for right in RIGHTS if right != missing))
    page = bob.get(page_of(model)).content.decode()

    assert "try_prompt" not in page
    assert ("takes the right to view comparisons" in page) == (missing == "view_comparison")
    assert bob.post(page_of(model, "try/"), {"try_prompt": "Hello"}, headers=JSON).status_code == 403
    assert not Trial.objects.exists()


def test_with_both_rights_somebody_tries_and_may_follow(model: Model) -> None:
    bob = staff(*RIGHTS)

    assert tried(bob, model).status_code == 200
    assert Prediction.objects.for_user(User.objects.get(username="bob")).count() == 1


def test_nobody_else_reaches_it(model: Model, charlie: User) -> None:
    for client in (signed_in(charlie), Client()):
        assert client.post(page_of(model, "try/"), {"try_prompt": "Hello"}).status_code == 302
    assert signed_in(User.objects.create_superuser("dora")).get(page_of(model, "try/")).status_code == 405
    assert not Trial.objects.exists()


# ---------------------------------------------------------------- without scripts


def test_without_scripts_the_page_comes_back_as_typed_with_the_answer(admin_page: Client, model: Model) -> None:
    sent = typed(admin_page, model, name="Another name", temperature="0.25")
    page = admin_page.post(page_of(model, "try/"), sent).content.decode()
    trial = Trial.objects.get()

    assert 'value="Another name"' in page
    assert 'value="0.25"' in page
    assert f'action="{page_of(model)}"' in page
    assert f'href="{page_of(model, f"try/{trial.pk}/")}"' in page
    assert "The input that was sent" in page
    assert Model.objects.get().name == model.name
    worker = WorkerThread()
    worker.start()
    ended(trial.prediction)
    worker.stop()
    assert trial.prediction.output in admin_page.get(page_of(model, f"try/{trial.pk}/")).content.decode()


def test_without_scripts_faults_stand_in_the_page(admin_page: Client, model: Model) -> None:
    sent = typed(admin_page, model, name="Another name", temperature="warm", try_prompt="")
    answer = admin_page.post(page_of(model, "try/"), sent)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Must be a number." in page
    assert "Write what is to be asked first." in page
    assert 'value="Another name"' in page
    assert not Trial.objects.exists()


# ---------------------------------------------------------------- in a browser


@pytest.mark.browser
def test_an_admin_tries_a_setting_before_saving_it(fake: FakeReplicate, tmp_path: Path) -> None:
    environment = {
        "REPLICATE_API_TOKEN": fake.token,
        "PARLEY_REPLICATE_URL": fake.url,
        "PARLEY_REPLICATE_MODELS": VERSIONED_MODEL,
    }
    with (
        Site(tmp_path, environment) as site,
        chromium() as browser,
        visiting(browser, site.url, None, harmless=("422",)) as open_page,
    ):
        page = open_page()
        set_up(page, site.address)
        expect(page.locator("#id_model option", has_text="parrot")).to_be_attached()
        page.goto(f"{site.url}/admin/predictions/model/")
        page.get_by_role("link", name=re.compile("parrot")).first.click()
        box = page.locator("try-out")
        temperature = page.get_by_label("temperature:", exact=True)
        expect(box.get_by_role("button", name="Try it")).to_be_visible()
        found = {"empty": violations(page)}

        temperature.fill("warm")
        box.get_by_role("button", name="Try it").click()
        expect(page.locator(".form-row.errors").get_by_text("Must be a number.")).to_be_visible()
        expect(temperature).to_be_focused()
        found["refused"] = violations(page)

        temperature.fill("0.25")
        page.get_by_label("What to ask").fill("Count to three")
        gate = Gate()
        fake.script(Script(steps=["One, two", gate, ", three."]))
        box.get_by_role("button", name="Try it").click()
        expect(box.locator("answer-text:has(+ streaming-answer)")).to_have_text("One, two")
        expect(box).to_have_attribute("aria-busy", "true")
        gate.open()
        expect(box.locator("answer-text")).to_have_text("One, two, three.")
        expect(box.get_by_text("In all")).to_be_visible()
        expect(page.get_by_text("Must be a number.")).to_have_count(0)
        expect(box).to_have_attribute("aria-busy", "false")
        expect(box.get_by_role("button", name="Stop")).to_have_count(0)
        box.get_by_text("The input that was sent").click()
        given = json.loads(box.locator("pre.example").inner_text())
        assert (given["prompt"], given["temperature"]) == ("Count to three", 0.25)
        found["answered"] = violations(page)

        fake.script(Script(steps=["Once upon a time", Gate(), " there was more."]))
        box.get_by_role("button", name="Try it").click()
        expect(box.locator("answer-text:has(+ streaming-answer)")).to_have_text("Once upon a time")
        box.get_by_role("button", name="Stop").click()
        expect(box.get_by_text("Stopped.")).to_be_visible()
        expect(box.locator("answer-text")).to_have_text("Once upon a time")
        page.reload()
        expect(temperature).to_have_value("")

    assert {name: faults for name, faults in found.items() if faults} == {}
