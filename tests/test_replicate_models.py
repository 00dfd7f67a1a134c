"""Models of Replicate: named in every way, asked at the right door, described, listed, offered."""

import asyncio
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client

from predictions import catalogue, pins, providers
from predictions.models import Condition, Model, Pin, Prediction, Provider
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import (
    DEPLOYMENT,
    IMAGE_SCHEMA,
    OFFICIAL_MODEL,
    VERSIONED_MODEL,
    Answer,
    FakeReplicate,
    Script,
)
from tests.test_runs import ask, row
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


@pytest.fixture
def replicate(transactional_db: None, fake: FakeReplicate, settings: Any) -> Provider:
    settings.REPLICATE_API_TOKEN = fake.token
    settings.REPLICATE_BASE_URL = fake.url
    return Provider.objects.create(slug="replicate", name="Replicate", kind="replicate", base_url=fake.url)


def offer(replicate: Provider, text: str) -> Model:
    """Offer it as an admin does, and have its host asked about it."""
    catalogue_output = StringIO()
    call_command("models", "offer", text, stdout=catalogue_output)
    slug = catalogue_output.getvalue().rpartition(" as ")[2].strip(" .\n")
    return Model.objects.get(slug=slug)


def run(*command: str) -> str:
    out = StringIO()
    call_command("models", *command, stdout=out)
    return out.getvalue()


def look(replicate: Provider) -> None:
    """Do what the worker does each hour."""

    async def go() -> None:
        provider = providers.connect(replicate)
        await catalogue.look(lambda _: provider, Model.objects.all())
        await provider.close()

    asyncio.run(go())


# ---------------------------------------------------------------- asked at the right door


def test_an_official_model_is_asked_by_its_name(replicate: Provider, fake: FakeReplicate, worker: WorkerThread) -> None:
    prediction = ended(ask(offer(replicate, OFFICIAL_MODEL)))

    [call] = fake.ledger.to("create")
    assert call.path == f"/v1/models/{OFFICIAL_MODEL}/predictions"
    assert (prediction.asked_for, prediction.answered_model) == (OFFICIAL_MODEL, OFFICIAL_MODEL)
    assert prediction.answered_version == "hidden"


def test_a_community_model_is_asked_by_its_latest_version(
    replicate: Provider, fake: FakeReplicate, worker: WorkerThread
) -> None:
    """Without one Replicate answers 422: the first thing that people stumble over."""
    prediction = ended(ask(offer(replicate, VERSIONED_MODEL)))

    latest = fake.catalogue.models[VERSIONED_MODEL].versions[-1].id
    [call] = fake.ledger.to("create")
    assert (call.path, call.json()["version"]) == ("/v1/predictions", latest)
    assert prediction.asked_for == f"{VERSIONED_MODEL}:{latest}"
    assert (prediction.answered_model, prediction.answered_version) == (VERSIONED_MODEL, latest)


def test_a_version_that_is_named_answers(replicate: Provider, fake: FakeReplicate, worker: WorkerThread) -> None:
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    model = offer(replicate, f"https://replicate.com/{VERSIONED_MODEL}/versions/{old}")
    prediction = ended(ask_as_page(model))

    assert fake.ledger.to("create")[0].json()["version"] == old
    assert (model.ref, prediction.answered_version) == (VERSIONED_MODEL, old)


def test_a_bare_version_is_asked_and_later_described(replicate: Provider, fake: FakeReplicate) -> None:
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    model = offer(replicate, old)
    assert pins.version_for(model).inputs == {}  # nobody knows its model yet

    thread = WorkerThread()
    thread.start()
    prediction = ended(ask_as_page(model))
    thread.stop()
    look(replicate)

    assert (prediction.asked_for, prediction.answered_model) == (old, VERSIONED_MODEL)
    assert "prompt" in pins.version_for(Model.objects.get(pk=model.pk)).inputs


def test_a_deployment_is_asked_at_its_own_door(replicate: Provider, fake: FakeReplicate, worker: WorkerThread) -> None:
    model = offer(replicate, f"deployments/{DEPLOYMENT}")
    prediction = ended(ask_as_page(model))

    [call] = fake.ledger.to("create")
    assert call.path == f"/v1/deployments/{DEPLOYMENT}/predictions"
    assert prediction.asked_for == f"deployments/{DEPLOYMENT}"
    assert prediction.answered_version == fake.catalogue.models[VERSIONED_MODEL].versions[0].id


def test_a_deployment_that_goes_back_to_an_older_version_is_followed(replicate: Provider, fake: FakeReplicate) -> None:
    parrot = fake.catalogue.models[VERSIONED_MODEL]
    model = offer(replicate, f"deployments/{DEPLOYMENT}")
    old, new = parrot.versions[0], parrot.versions[1]
    for version in (new, old):
        fake.catalogue.add_deployment(DEPLOYMENT, parrot, version)
        look(replicate)
        assert pins.version_for(model).identifier == version.id


@pytest.mark.parametrize("text", [VERSIONED_MODEL, f"deployments/{DEPLOYMENT}"])
def test_a_version_that_is_described_later_does_not_become_the_latest(
    text: str, replicate: Provider, fake: FakeReplicate
) -> None:
    parrot = fake.catalogue.models[VERSIONED_MODEL]
    fake.catalogue.add_deployment(DEPLOYMENT, parrot, parrot.versions[1])
    model = offer(replicate, text)
    model.versions.create(identifier=parrot.versions[0].id, is_described=False)
    look(replicate)

    assert model.versions.filter(is_described=True).count() == 2
    assert pins.version_for(model).identifier == parrot.versions[1].id


def test_a_version_that_the_host_put_in_the_place_of_another_is_noted(
    replicate: Provider, fake: FakeReplicate, worker: WorkerThread
) -> None:
    fake.script(Script(version="7762fd07" * 8, model="replicate-internal/parrot"))
    prediction = ended(ask(offer(replicate, VERSIONED_MODEL)))

    assert prediction.asked_for.endswith(prediction.version.identifier)
    assert prediction.answered_version == "7762fd07" * 8
    assert prediction.answered_model == "replicate-internal/parrot"


def test_a_version_that_vanished_is_told_in_words(
    replicate: Provider, fake: FakeReplicate, worker: WorkerThread
) -> None:
    model = offer(replicate, VERSIONED_MODEL)
    latest = fake.catalogue.models[VERSIONED_MODEL].versions[-1].id
    fake.catalogue.remove_version(VERSIONED_MODEL, latest)

    assert "An admin can choose another one" in ended(ask(model)).error


# ---------------------------------------------------------------- what becomes of versions


def test_new_versions_are_noticed_with_their_dates(replicate: Provider, fake: FakeReplicate) -> None:
    model = offer(replicate, VERSIONED_MODEL)
    look(replicate)
    parrot = fake.catalogue.models[VERSIONED_MODEL]
    known = model.versions.count()
    new = [parrot.add_version().id for _ in range(3)]
    look(replicate)

    assert known == 2
    assert [version.identifier for version in model.versions.newest_first()[:3]] == new[::-1]
    dates = [version.released_at for version in model.versions.newest_first()]
    assert None not in dates
    assert dates == sorted(dates, reverse=True)
    assert pins.version_for(model).identifier == new[-1]


def test_a_look_that_finds_nothing_new_asks_for_no_list(replicate: Provider, fake: FakeReplicate) -> None:
    offer(replicate, VERSIONED_MODEL)
    look(replicate)
    asked = len(fake.ledger.calls)
    look(replicate)

    assert [call.path for call in fake.ledger.calls[asked:]] == [f"/v1/models/{VERSIONED_MODEL}"]


def test_a_pinned_version_that_vanishes_is_noticed_and_comes_back(replicate: Provider, fake: FakeReplicate) -> None:
    parrot = fake.catalogue.models[VERSIONED_MODEL]
    model = offer(replicate, VERSIONED_MODEL)
    look(replicate)
    old, new = (model.versions.get(identifier=version.id) for version in parrot.versions)
    model.pins.create(environment="production", version=old, fallback=new)
    kept, parrot.versions = parrot.versions, parrot.versions[1:]
    look(replicate)

    old.refresh_from_db()
    assert old.gone_at is not None
    assert "does not know" in old.gone_because
    assert (pins.choose(model).version, pins.choose(model).chosen) == (new, "fallback")

    parrot.versions = kept
    look(replicate)
    assert (pins.choose(model).version, pins.choose(model).chosen) == (old, "pinned")


def test_a_token_that_fails_loses_no_version(replicate: Provider, fake: FakeReplicate) -> None:
    model = offer(replicate, VERSIONED_MODEL)
    model.pins.create(environment="production", version=model.versions.last())
    for door in ("model", "version", "versions"):
        fake.fail(door, *[Answer(401, "{}")] * 5)
    look(replicate)

    assert not model.versions.exclude(gone_at=None).exists()


def ask_as_page(model: Model) -> Prediction:
    return Prediction.objects.create(model=model, version=pins.version_for(model), input={"prompt": "Hi"})


# ---------------------------------------------------------------- offered by the environment


def test_the_environment_names_models_in_every_way(replicate: Provider, fake: FakeReplicate, settings: Any) -> None:
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    settings.REPLICATE_BASE_URL = fake.url
    settings.REPLICATE_MODELS = [
        OFFICIAL_MODEL,
        f"{VERSIONED_MODEL}:{old}",
        f"https://replicate.com/deployments/{DEPLOYMENT}",
    ]
    for _ in range(2):
        catalogue.sync_with_environment()
        look(replicate)

    refs = {model.ref: pins.version_for(model).identifier for model in Model.objects.available()}
    assert refs[VERSIONED_MODEL] == refs[f"deployments/{DEPLOYMENT}"] == old
    assert OFFICIAL_MODEL in refs
    assert Pin.objects.count() == 1


def test_a_version_that_was_named_waits_until_it_is_described(
    replicate: Provider, fake: FakeReplicate, settings: Any
) -> None:
    settings.REPLICATE_BASE_URL = fake.url
    settings.REPLICATE_MODELS = [f"{VERSIONED_MODEL}:{'0' * 64}"]
    catalogue.sync_with_environment()
    look(replicate)
    model = Model.objects.get()

    assert pins.version_for(model) is None  # the host does not know it, and nothing else answers in its place


def test_what_an_admin_pins_later_stays(replicate: Provider, fake: FakeReplicate, settings: Any) -> None:
    old, new = (version.id for version in fake.catalogue.models[VERSIONED_MODEL].versions)
    settings.REPLICATE_BASE_URL = fake.url
    settings.REPLICATE_MODELS = [f"{VERSIONED_MODEL}:{old}"]
    catalogue.sync_with_environment()
    look(replicate)
    model = Model.objects.get()
    model.pins.create(environment="production", version=None, reason="We want the newest.")
    catalogue.sync_with_environment()

    assert pins.version_for(model).identifier == new


def test_a_name_that_is_not_understood_stops_the_start_in_words(settings: Any) -> None:
    settings.REPLICATE_API_TOKEN = "r8_x"
    settings.REPLICATE_MODELS = ["meta/llama:latest"]

    with pytest.raises(ImproperlyConfigured, match="PARLEY_REPLICATE_MODELS: 'meta/llama:latest' is not understood"):
        catalogue.sync_with_environment()


def test_models_whose_slugs_would_be_the_same(replicate: Provider, fake: FakeReplicate, settings: Any) -> None:
    settings.REPLICATE_BASE_URL = fake.url
    settings.REPLICATE_MODELS = ["acme/chat-large", "acme-chat/large"]
    catalogue.sync_with_environment()
    catalogue.sync_with_environment()

    assert len(set(Model.objects.values_list("slug", flat=True))) == 2


# ---------------------------------------------------------------- looked up


def test_models_are_searched(replicate: Provider, fake: FakeReplicate) -> None:
    fake.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA, description="Paints what you say")

    assert "acme/painter" in run("search", "painter")
    assert "none" in run("search", "no such thing")
    run("search", "a & b", "--limit", "99")
    assert fake.ledger.to("search")[-1].query == "query=a%20%26%20b&limit=50"


def test_collections_are_listed(replicate: Provider, fake: FakeReplicate) -> None:
    listed = run("collections")
    slug = listed.split()[0]

    assert run("collections", slug)
    with pytest.raises(CommandError, match="does not know"):
        run("collections", "no-such-collection")


def test_deployments_are_listed(replicate: Provider, fake: FakeReplicate) -> None:
    assert f"deployments/{DEPLOYMENT}" in run("deployments")


def test_a_models_page_is_told(replicate: Provider, fake: FakeReplicate) -> None:
    fake.catalogue.add_model(
        "acme/painter", schema=IMAGE_SCHEMA, description="Paints what you say", run_count=7, license_url="https://l"
    )
    told = run("show", "acme/painter")

    for words in ("Paints what you say", "run count: 7", "license url: https://l", "puts out: files"):
        assert words in told
    assert "aspect_ratio: choice, default '1:1', one of" in told
    assert "prompt: text, required. What to paint" in told
    assert fake.catalogue.models["acme/painter"].versions[0].id[:12] in told


def test_an_official_model_that_tells_no_versions_is_described(replicate: Provider, fake: FakeReplicate) -> None:
    told = run("show", OFFICIAL_MODEL)

    assert "official: asked by its name alone" in told
    model = offer(replicate, OFFICIAL_MODEL)
    assert (model.is_official, model.facts["visibility"]) == (True, "public")


def test_long_lists_are_read_to_their_end(replicate: Provider, fake: FakeReplicate) -> None:
    parrot = fake.catalogue.add_model("acme/many", versions=250)

    assert parrot.versions[0].id[:12] in run("show", "acme/many")


def test_a_list_that_leads_elsewhere_is_not_followed(replicate: Provider, fake: FakeReplicate) -> None:
    with FakeReplicate() as elsewhere:
        page = {"next": f"{elsewhere.url}/collections", "previous": None, "results": []}
        fake.fail("collections", Answer(200, page))

        with pytest.raises(CommandError, match="not allowed here"):
            run("collections")
        assert elsewhere.ledger.calls == []


def test_what_is_not_a_reference_is_told_in_words(replicate: Provider) -> None:
    with pytest.raises(CommandError, match="owner"):
        run("offer", "llama")


def test_a_model_that_does_not_exist_is_not_offered(replicate: Provider) -> None:
    with pytest.raises(CommandError, match="does not know"):
        run("offer", "acme/nothing")
    assert not Model.objects.exists()


def test_the_models_that_are_offered_are_listed_with_what_answers(replicate: Provider, fake: FakeReplicate) -> None:
    model = offer(replicate, VERSIONED_MODEL)

    assert fake.catalogue.models[VERSIONED_MODEL].versions[-1].id[:12] in run("list")
    assert model.slug in run("list")


def test_without_an_account_the_command_says_what_to_set(transactional_db: None) -> None:
    with pytest.raises(CommandError, match="REPLICATE_API_TOKEN"):
        run("search", "x")


def test_a_model_added_while_the_worker_runs_is_described_soon(
    replicate: Provider, fake: FakeReplicate, transactional_db: None
) -> None:
    thread = WorkerThread()
    thread.start()
    old = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
    model = Model.objects.create(provider=replicate, ref=VERSIONED_MODEL, slug="parrot", name="Parrot")
    version = model.versions.create(identifier=old, is_described=False)

    wait_until(lambda: model.versions.get(pk=version.pk).is_described)
    thread.stop()
    assert row(ask(model)).version is not None


# ---------------------------------------------------------------- the admin


def form(replicate: Provider, ref: str) -> dict[str, Any]:
    fields = {"provider": replicate.pk, "ref": ref, "slug": "new", "name": "New", "order": 100, "enabled": "on"}
    return {**fields, "default_input": "{}"}


def test_the_admin_sees_how_a_host_is(replicate: Provider, admin_client: Client) -> None:
    assert "well" in admin_client.get("/admin/predictions/provider/").content.decode()

    Condition.note_trouble(replicate, "The Replicate account has no credit left.")
    page = admin_client.get("/admin/predictions/provider/").content.decode()
    assert "no credit left. (since " in page
