"""The catalogue in the admin: models are found, added, described and set, by those who may."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from chat.models import User
from predictions.admin.catalogue import ModelAdmin
from predictions.models import Model, Pin, Provider, Version
from tests.browser import chromium, set_up, violations
from tests.cog import CogServer, start_cog_server
from tests.conftest import make_model, move
from tests.fake_replicate import CHAT_SCHEMA, DEPLOYMENT, OFFICIAL_MODEL, VERSIONED_MODEL, FakeReplicate
from tests.people import signed_in, staff
from tests.prepared import PROJECT
from tests.site import Site

pytestmark = pytest.mark.django_db(transaction=True)

ADD = "/admin/predictions/model/add/"
LIST = "/admin/predictions/model/"
LOOK = "/admin/predictions/model/look/"
MOST_QUERIES = 10


@pytest.fixture
def replicate(transactional_db: None, fake: FakeReplicate, settings: Any) -> Provider:
    settings.REPLICATE_API_TOKEN = fake.token
    settings.REPLICATE_BASE_URL = fake.url
    return Provider.objects.create(slug="replicate", name="Replicate", kind="replicate", base_url=fake.url)


@pytest.fixture
def admin_page(transactional_db: None) -> Client:
    return signed_in(User.objects.create_superuser("alice", password="correct horse"))


def words(client: Client, page: str, /, **fields: str) -> str:
    answer = client.post(page, fields, follow=True) if fields else client.get(page, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def page_of(model: Model, part: str = "") -> str:
    return f"{LIST}{model.pk}/change/" + (f"?part={part}" if part else "")


# ---------------------------------------------------------------- adding


@pytest.mark.parametrize(
    ("pasted", "ref"),
    [
        (VERSIONED_MODEL, VERSIONED_MODEL),
        (f"  https://replicate.com/{VERSIONED_MODEL}/api ", VERSIONED_MODEL),
        (OFFICIAL_MODEL, OFFICIAL_MODEL),
        (f"deployments/{DEPLOYMENT}", f"deployments/{DEPLOYMENT}"),
    ],
)
def test_what_is_pasted_is_looked_up_and_its_page_opens(
    pasted: str, ref: str, replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    answer = admin_page.post(ADD, {"reference": pasted})

    model = Model.objects.get(ref=ref)
    assert answer.headers["Location"] == page_of(model)
    assert model.description == "A model that answers by script"
    assert "prompt" in words(admin_page, page_of(model, "inputs"))


def test_facts_versions_and_the_example_come_along(
    replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    fake.catalogue.add_model(
        "acme/poet",
        versions=3,
        run_count=1_234_567,
        license_url="https://example.org/licence",
        default_example={"input": {"prompt": "A haiku"}, "output": ["An old ", "pond"]},
    )
    admin_page.post(ADD, {"reference": "acme/poet"})

    model = Model.objects.get(ref="acme/poet")
    assert model.versions.count() == 3
    facts = words(admin_page, page_of(model, "facts"))
    assert "1.2 million runs" in facts
    assert 'href="https://example.org/licence"' in facts
    assert "An old pond" in facts
    assert words(admin_page, page_of(model, "versions")).count("<time") >= 3


def test_a_version_that_is_named_is_pinned_and_is_not_the_latest(
    replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    old, new = fake.catalogue.models[VERSIONED_MODEL].versions
    page = words(admin_page, ADD, reference=f"{VERSIONED_MODEL}:{old.id}")

    model = Model.objects.get(ref=VERSIONED_MODEL)
    pin = Pin.objects.get(model=model)
    assert (pin.version.identifier, pin.created_by.username) == (old.id, "alice")
    assert model.versions.answering().first().identifier == new.id
    assert "1 newer version" in page


def test_a_version_by_its_id_alone_is_added(replicate: Provider, fake: FakeReplicate, admin_page: Client) -> None:
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    page = words(admin_page, ADD, reference=old)

    assert Model.objects.get().ref == old
    assert "is added" in page


def test_a_model_that_is_here_already_is_shown_and_keeps_its_pins(
    replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    words(admin_page, ADD, reference=VERSIONED_MODEL)
    Model.objects.update(name="Polly")
    page = words(admin_page, ADD, reference=f"{VERSIONED_MODEL}:{old}")

    assert "Polly was here already" in page
    assert (Model.objects.count(), Pin.objects.count()) == (1, 0)


@pytest.mark.parametrize(
    ("pasted", "sentence"),
    [
        ("acme/nobody", "Replicate knows no acme/nobody"),
        (f"{VERSIONED_MODEL}:{'0' * 64}", "Replicate knows no acme/parrot:0000"),
        ("acme/parrot:latest", "Replicate takes the latest version when none is named"),
        ("deadbeef", "all of its 64 hexadecimal digits"),
        ("https://example.org/acme/parrot", "Only addresses at replicate.com are understood"),
        ("a/b/c/d", "These are 4 parts where two are wanted"),
    ],
)
def test_what_cannot_be_added_is_explained_at_the_box(
    pasted: str, sentence: str, replicate: Provider, admin_page: Client
) -> None:
    page = words(admin_page, ADD, reference=pasted)

    assert sentence in page
    assert 'role="alert"' in page
    assert f'value="{pasted}"' in page
    assert (Model.objects.count(), Version.objects.count(), Pin.objects.count()) == (0, 0, 0)


def test_a_host_that_cannot_be_reached_leaves_nothing_behind(
    replicate: Provider, fake: FakeReplicate, admin_page: Client, settings: Any
) -> None:
    move(replicate, "http://127.0.0.1:9/v1", settings)

    assert "cannot be reached" in words(admin_page, ADD, reference=VERSIONED_MODEL)
    assert "cannot be reached" in words(admin_page, f"{ADD}?q=parrot")
    assert not Model.objects.exists()


def test_a_token_that_is_refused_is_named_as_the_reason(replicate: Provider, settings: Any, admin_page: Client) -> None:
    settings.REPLICATE_API_TOKEN = "another"

    assert "REPLICATE_API_TOKEN" in words(admin_page, ADD, reference=VERSIONED_MODEL)


def test_words_are_searched_for_and_a_find_is_added(
    replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    fake.catalogue.add_model("acme/poet", description="Writes <b>poems</b>", run_count=7)
    make_model(replicate, VERSIONED_MODEL)
    found = words(admin_page, ADD, reference="acme")
    poems = words(admin_page, ADD, reference="writes poems")
    nothing = words(admin_page, ADD, reference="no such thing")

    assert "Here already" not in poems
    assert 'name="reference" value="acme/poet"' in poems
    assert "Writes &lt;b&gt;poems&lt;/b&gt;" in poems
    assert "7 runs" in poems
    assert "Here already" in found
    assert "Nothing found for “no such thing”" in nothing
    assert "is added" in words(admin_page, ADD, reference="acme/poet")


def test_collections_and_deployments_are_a_beginning(replicate: Provider, admin_page: Client) -> None:
    assert "?collection=language-models" in words(admin_page, f"{ADD}?browse=collections")
    assert f'value="{VERSIONED_MODEL}"' in words(admin_page, f"{ADD}?collection=language-models")
    assert f'value="deployments/{DEPLOYMENT}"' in words(admin_page, f"{ADD}?browse=deployments")
    assert "Replicate has nothing of this name" in words(admin_page, f"{ADD}?collection=nonsense")


def test_no_other_host_is_asked_by_the_page_and_no_address_runs_a_script(
    replicate: Provider, fake: FakeReplicate, admin_page: Client
) -> None:
    fake.catalogue.add_model(
        "acme/poet",
        description="Poems",
        license_url="javascript:alert(1)",
        cover_image_url="https://example.org/cover.png",
    )
    found = words(admin_page, f"{ADD}?q=poems")
    facts = words(admin_page, ADD, reference="acme/poet") + words(
        admin_page, page_of(Model.objects.get(ref="acme/poet"), "facts")
    )

    assert "<img" not in found.split("content-main")[1]
    assert 'src="https:' not in found + facts
    assert "javascript:" not in found + facts


def test_without_an_account_the_page_says_what_is_missing(admin_page: Client) -> None:
    assert "REPLICATE_API_TOKEN" in words(admin_page, ADD)
    assert "REPLICATE_API_TOKEN" in words(admin_page, ADD, reference=VERSIONED_MODEL)


# ---------------------------------------------------------------- Cog servers


@pytest.fixture(scope="module")
def server() -> Iterator[CogServer]:
    with start_cog_server(str(PROJECT / "tests/models/painter")) as server:
        yield server


def test_a_cog_server_is_added_by_its_address(server: CogServer, admin_page: Client) -> None:
    page = words(admin_page, ADD, address=f" {server.url}/ ", name="Painter")

    model = Model.objects.select_related("provider").get()
    assert "Painter is added" in page
    assert (model.name, model.provider.name, model.provider.concurrency) == ("Painter", "Cog: Painter", 1)
    assert "prompt" in words(admin_page, page_of(model, "inputs"))


def test_a_cog_server_is_added_once(server: CogServer, admin_page: Client) -> None:
    words(admin_page, ADD, address=server.url, name="Painter")
    page = words(admin_page, ADD, address=server.url, name="Another")

    assert "Painter was here already" in page
    assert (Provider.objects.count(), Model.objects.count()) == (1, 1)


def test_a_cog_server_without_a_model_is_there_to_choose(server: CogServer, transactional_db: None) -> None:
    Provider.objects.create(slug="cog-painter", name="Cog: Painter", kind="cog", base_url=server.url)
    bob = staff("add_model", "view_model")

    assert f'name="address" value="{server.url}"' in words(bob, ADD)
    assert "Painter is added" in words(bob, ADD, address=server.url)
    assert "has no model yet" not in words(bob, ADD)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9 cannot be reached"),
        ("localhost:5000", "Give the address of the server"),
        ("http://[::1", "Give the address of the server"),
        ("http://host:port", "Give the address of the server"),
        ("ftp://127.0.0.1/", "Give the address of the server"),
        ("http://alice:secret@127.0.0.1/", "Give the address of the server"),
        ("http://a\x00b", "Give the address of the server"),
        ("http://..", "Give the address of the server"),
        ("http://a b/", "Give the address of the server"),
        ("http://xn--/ä", "Give the address of the server"),
        ("http://xn--zzzzzz:5000", "Give the address of the server"),
        (f"http://{'a' * 300}:5000", "cannot be reached"),
        (f"http://{'a.' * 200}a", "cannot be reached"),
        ("http://[::1]:9", "cannot be reached"),
        ("http://[::::]:9", "Give the address of the server"),
    ],
)
def test_a_server_that_cannot_be_added_is_explained_and_leaves_nothing_behind(
    address: str, sentence: str, admin_page: Client
) -> None:
    assert sentence in words(admin_page, ADD, address=address, name="Painter")
    assert not Provider.objects.exists()
    assert not Model.objects.exists()


def test_the_token_goes_to_no_address_that_is_written_into_the_admin(admin_page: Client) -> None:
    fields = {
        "name": "Mine",
        "slug": "mine",
        "kind": "replicate",
        "base_url": "https://example.org/v1",
        "enabled": "on",
    }
    refused = words(admin_page, "/admin/predictions/provider/add/", **fields)
    Provider.objects.create(slug="cog", name="Cog", kind="cog", base_url="http://cog:5000")
    server = Provider.objects.get()
    words(admin_page, f"/admin/predictions/provider/{server.pk}/change/", name="Ours", base_url="http://cog:5001/")

    assert "goes to PARLEY_REPLICATE_URL alone" in refused
    server.refresh_from_db()
    assert (server.name, server.kind, server.base_url) == ("Ours", "cog", "http://cog:5001")


def test_an_address_that_is_no_cog_server_leaves_nothing_behind(fake: FakeReplicate, admin_page: Client) -> None:
    assert "when asked for its schema" in words(admin_page, ADD, address=fake.url, name="Painter")
    assert not Provider.objects.exists()


def test_another_server_takes_the_right_to_add_providers(server: CogServer, transactional_db: None) -> None:
    bob = staff("add_model")

    assert 'id="address"' not in words(bob, ADD)
    assert "You may not add providers" in words(bob, ADD, address=server.url)
    assert not Provider.objects.exists()


# ---------------------------------------------------------------- who may


def test_adding_and_searching_take_the_right_to_add(replicate: Provider, fake: FakeReplicate) -> None:
    bob = staff("view_model", "change_model")

    for address in (ADD, f"{ADD}?q=parrot", f"{ADD}?browse=collections"):
        assert bob.get(address).status_code == 403
    assert bob.post(ADD, {"reference": VERSIONED_MODEL}).status_code == 403
    assert fake.ledger.calls == []
    assert not Model.objects.exists()


def test_people_who_are_no_staff_reach_no_page(replicate: Provider, fake: FakeReplicate, charlie: User) -> None:
    for client in (signed_in(charlie), Client()):
        for address in (ADD, f"{ADD}?q=parrot", LIST):
            assert client.get(address).status_code == 302
        assert client.post(LOOK).status_code == 302
    assert fake.ledger.calls == []


def test_with_the_right_to_add_a_model_can_be_added_but_no_version_pinned(
    replicate: Provider, fake: FakeReplicate
) -> None:
    bob = staff("add_model")
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id

    assert "You may not decide which version answers" in words(bob, ADD, reference=f"{VERSIONED_MODEL}:{old}")
    assert not Model.objects.exists()
    assert "is added" in words(bob, ADD, reference=VERSIONED_MODEL)


def test_looking_for_new_versions_takes_the_right_to_change(replicate: Provider, fake: FakeReplicate) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    bob = staff("view_model")

    assert bob.post(LOOK, {"model": model.pk}).status_code == 403
    assert "Look for new versions" not in words(bob, LIST) + words(bob, page_of(model))
    assert fake.ledger.calls == []


def test_who_may_only_look_sees_the_page_without_a_form(replicate: Provider) -> None:
    model = make_model(replicate, VERSIONED_MODEL, default_input={"temperature": 0.5})
    page = words(staff("view_model"), page_of(model))

    assert "temperature" in page
    assert 'name="_save"' not in page
    assert "parameter_0" not in page


# ---------------------------------------------------------------- the model's page


def saved(client: Client, model: Model, **fields: str) -> str:
    """Save its form with `fields` of the parameters, by the names of the inputs."""
    page = words(client, page_of(model))
    form = client.get(page_of(model)).context["adminform"].form
    assert "Default parameters" in page
    names = {asked.name: field for field, asked in form.asked.items()}
    sent = {"name": model.name, "order": "5", "enabled": "on", "default_input": ""}
    return words(client, page_of(model), **{**sent, **{names.get(name, name): text for name, text in fields.items()}})


def test_parameters_are_set_in_fields_of_the_schema(replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    saved(admin_page, model, temperature="0,25", max_tokens="1,000", default_input='{"unheard_of": [1]}')

    model.refresh_from_db()
    assert model.default_input == {"unheard_of": [1], "temperature": 0.25, "max_tokens": 1000}
    assert model.order == 5
    page = words(admin_page, page_of(model))
    assert 'value="0.25"' in page
    assert "&quot;unheard_of&quot;" in page


def test_a_parameter_that_nobody_knows_is_kept_with_a_warning(replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL)

    page = saved(admin_page, model, default_input='{"unheard_of": [1]}')
    assert "knows nothing of these parameters: unheard_of" in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"temperature": "warm"}, "Must be a number."),
        ({"max_tokens": "9,999"}, "Must be between 1 and 4096."),
        ({"max_tokens": "1.5"}, "Must be a whole number."),
        ({"default_input": "temperature: 1"}, "Must be written in JSON"),
        ({"default_input": '{"a": NaN}'}, "Must be written in JSON"),
        ({"default_input": "[" * 100_000}, "Parameters in JSON"),
        ({"default_input": '{"temperature": "warm"}'}, "“temperature”: Must be a number."),
        ({"default_input": '{"temperature": 1}', "temperature": "1"}, "“temperature” has a field of its own above"),
    ],
)
def test_what_a_version_would_refuse_is_said_at_the_field(
    fields: dict[str, str], sentence: str, replicate: Provider, admin_page: Client
) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    page = saved(admin_page, model, **fields).replace("&#x27;", "'").replace("&quot;", '"')

    assert sentence in page
    assert "errorlist" in page
    model.refresh_from_db()
    assert model.default_input == {}


def test_parameters_are_checked_against_the_version_that_answers(replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    schema = {
        "components": {"schemas": {"Input": {"properties": {"style": {"enum": ["plain", "ornate"], "type": "string"}}}}}
    }
    old = model.versions.create(identifier="a" * 64, openapi_schema=schema)
    Version.objects.exclude(pk=old.pk).update(latest_at=timezone.now())
    Pin.objects.create(model=model, environment="production", version=old)

    assert "Must be one of" in saved(admin_page, model, default_input='{"style": "loud"}')
    saved(admin_page, model, style="ornate")
    model.refresh_from_db()
    assert model.default_input == {"style": "ornate"}


def test_what_a_host_writes_is_shown_as_text(replicate: Provider, admin_page: Client) -> None:
    evil = "<script>alert(1)</script>"
    schema = {
        "components": {
            "schemas": {
                "Input": {
                    "properties": {
                        evil: {"type": "string", "description": evil, "default": evil, "title": evil},
                        "choice": {"enum": [evil], "type": "string", "description": evil},
                        "odd": {"type": "number", "default": {"a": [evil]}, "minimum": "x"},
                    }
                }
            }
        }
    }
    model = make_model(replicate, VERSIONED_MODEL, description=evil)
    model.versions.update(openapi_schema=schema, gone_because=evil)
    Model.objects.update(facts={"run_count": evil, "license_url": [evil], "default_example": {"output": {"a": evil}}})

    for part in ("", "inputs", "versions", "facts", "nonsense"):
        assert evil not in words(admin_page, page_of(model, part))


@pytest.mark.parametrize("facts", [[], "text", {"default_example": 5, "run_count": True, "visibility": {}}])
def test_odd_facts_are_no_trouble(facts: Any, replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL, facts=facts, default_input=[1])

    for part in ("", "inputs", "versions", "facts"):
        words(admin_page, page_of(model, part))


def test_the_newest_versions_are_shown_with_what_is_known_of_them(replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    model.versions.update(released_at="2023-01-01T00:00Z")
    now = timezone.now()
    for day in range(25):
        model.versions.create(identifier=f"{day:064}", released_at=now - timedelta(days=day))
    gone = model.versions.get(identifier=f"{2:064}")
    Pin.objects.create(model=model, environment="production", version=gone, falls_back_to_latest=True)
    gone.note_gone("Its author took it away.")
    page = words(admin_page, page_of(model, "versions"))

    assert "The newest 20 of 26 are shown" in page
    assert "Its author took it away." in page
    assert "The pinned version is gone at its host." in page
    assert page.count('badge--warning">Newer') == 2


# ---------------------------------------------------------------- the list


def test_new_versions_are_looked_for_at_once(replicate: Provider, fake: FakeReplicate, admin_page: Client) -> None:
    words(admin_page, ADD, reference=VERSIONED_MODEL)
    model = Model.objects.get()
    fake.catalogue.models[VERSIONED_MODEL].add_version()

    assert "One new version." in words(admin_page, LOOK, model=str(model.pk))
    assert "No new versions." in words(admin_page, LOOK, model="")
    assert "No new versions." in words(admin_page, LIST, action="look_now", _selected_action=str(model.pk))
    assert model.versions.count() == 3


def test_hosts_that_do_not_answer_a_look_are_named(replicate: Provider, admin_page: Client) -> None:
    make_model(replicate, "acme/nobody", enabled=True)

    assert "These could not be looked at just now: nobody" in words(admin_page, LOOK, model="")


def test_a_look_at_what_is_switched_off_says_so(replicate: Provider, fake: FakeReplicate, admin_page: Client) -> None:
    make_model(replicate, VERSIONED_MODEL, enabled=False)

    assert "Nothing was looked at" in words(admin_page, LOOK, model="")
    assert fake.ledger.calls == []


def test_a_look_begins_with_a_button_not_a_link(replicate: Provider, fake: FakeReplicate, admin_page: Client) -> None:
    assert admin_page.get(LOOK).status_code == 405
    assert fake.ledger.calls == []


def many_models(replicate: Provider) -> None:
    models = Model.objects.bulk_create(
        Model(provider=replicate, ref=f"acme/m{number}", slug=f"m{number}", name=f"M {number}") for number in range(200)
    )
    now = timezone.now()
    versions = Version.objects.bulk_create(
        Version(
            model=model,
            identifier=f"{number:064}",
            openapi_schema=CHAT_SCHEMA,
            released_at=now - timedelta(days=number),
            latest_at=now if number == 0 else None,
        )
        for model in models
        for number in range(25)
    )
    Pin.objects.bulk_create(
        Pin(model=model, environment="production", version=versions[25 * place + 3])
        for place, model in enumerate(models)
        if place % 2
    )


def test_every_list_takes_ten_queries_at_most(replicate: Provider, admin_page: Client) -> None:
    many_models(replicate)

    for address in (
        LIST,
        f"{LIST}?all=",
        f"{LIST}?q=acme&enabled__exact=1",
        f"{LIST}?p=2",
        "/admin/predictions/version/",
        "/admin/predictions/provider/",
    ):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page = words(admin_page, address)
        assert len(queries) <= MOST_QUERIES, [query["sql"][:150] for query in queries]
        assert "3 newer" in page or "model/" not in address


def test_the_list_says_what_answers(replicate: Provider, admin_page: Client) -> None:
    make_model(replicate, "acme/tracking")
    falling, silent = make_model(replicate, "acme/falling"), make_model(replicate, "acme/silent")
    silent.versions.all().delete()
    pinned = falling.versions.create(identifier="b" * 64)
    Pin.objects.create(model=falling, environment="production", version=pinned, fallback=falling.versions.last())
    pinned.note_gone("It is no more.")
    shown = admin_page.get(LIST).context["cl"].result_list

    words_by_name = {model.name: ModelAdmin(Model, admin.site).answering(model) for model in shown}
    assert ">latest<" in words_by_name["tracking"]
    assert ">fallback<" in words_by_name["falling"]
    assert ">nothing<" in words_by_name["silent"]
    assert "Nothing answers here." in words(admin_page, page_of(silent))
    assert ">nothing<" in words(admin_page, LIST)


def test_a_provider_of_the_environment_keeps_its_address(replicate: Provider, admin_page: Client) -> None:
    Provider.objects.update(from_environment=True)
    address = f"/admin/predictions/provider/{replicate.pk}/change/"
    words(admin_page, address, name="Ours", base_url="https://example.org", concurrency="3")

    assert Provider.objects.get().base_url == replicate.base_url
    assert Provider.objects.get().concurrency == 3
    assert replicate.base_url in words(staff("view_provider"), address)


def test_order_and_whether_they_are_offered_are_set_in_the_list(replicate: Provider, admin_page: Client) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    form = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(model.pk), "form-0-order": "3"}
    words(admin_page, LIST, **form, _save="Save")

    model.refresh_from_db()
    assert (model.order, model.enabled) == (3, False)


def test_a_page_of_a_model_takes_few_queries_however_many_versions_it_has(
    replicate: Provider, admin_page: Client
) -> None:
    model = make_model(replicate, VERSIONED_MODEL)
    Version.objects.bulk_create(Version(model=model, identifier=f"{number:064}") for number in range(100))

    with CaptureQueriesContext(connection) as queries:
        words(admin_page, reverse("admin:predictions_model_change", args=[model.pk]) + "?part=versions")
    assert len(queries) <= 25


# ---------------------------------------------------------------- in a browser

BOX = "Paste a reference, or search Replicate"


@pytest.mark.browser
def test_an_admin_adds_models_by_pasting_and_by_searching(fake: FakeReplicate, tmp_path: Path) -> None:
    fake.catalogue.add_model("acme/poet", versions=3, description="Writes poems", run_count=1_500)
    environment = {
        "REPLICATE_API_TOKEN": fake.token,
        "PARLEY_REPLICATE_URL": fake.url,
        "PARLEY_REPLICATE_MODELS": OFFICIAL_MODEL,
    }
    asked: list[str] = []
    complaints: list[str] = []
    with Site(tmp_path, environment) as site, chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        set_up(page, site.address)
        page.goto(site.url + ADD)
        found = {"empty": violations(page)}

        page.get_by_label(BOX).fill("acme/nobody")
        page.get_by_label(BOX).press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Replicate knows no acme/nobody")
        found["problem"] = violations(page)
        page.get_by_label(BOX).fill(f"https://replicate.com/{VERSIONED_MODEL}")
        page.get_by_role("button", name="Look it up").click()
        expect(page.get_by_text("parrot is added")).to_be_visible()
        found["page"] = violations(page)
        page.get_by_label("temperature:", exact=True).fill("warm")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Must be a number.")).to_be_visible()
        found["refused"] = violations(page)
        for part in ("Inputs", "Versions", "From its host"):
            tab = page.get_by_role("navigation", name="Parts of this model").get_by_role("link", name=part, exact=True)
            tab.click()
            expect(tab).to_have_attribute("aria-current", "page")
            found[part] = violations(page)

        page.goto(site.url + ADD)
        page.get_by_label(BOX).fill("poems")
        page.get_by_label(BOX).press("Enter")
        expect(page.get_by_role("heading", name="acme/poet")).to_be_visible()
        found["found"] = violations(page)
        page.get_by_role("button", name="Add acme/poet").click()
        expect(page.get_by_text("poet is added")).to_be_visible()
        page.goto(site.url + LIST)
        page.get_by_role("button", name="Look for new versions now").click()
        expect(page.get_by_text("No new versions.")).to_be_visible()
        expect(page.get_by_role("link", name="poet acme/poet")).to_be_visible()
        found["list"] = violations(page)

    assert {name: faults for name, faults in found.items() if faults} == {}
    assert complaints == []
    assert [url for url in asked if not url.startswith(site.url)] == []
