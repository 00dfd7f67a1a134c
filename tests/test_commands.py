"""`manage.py ask` and `doctor`, the catalogue's sync, and the signs of life."""

import asyncio
import os
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from chat.management.commands import serve
from predictions import catalogue, checks, pins, providers
from predictions.models import Model, Prediction, Provider, Version, WebhookDelivery, Worker
from tests.conftest import WorkerThread, ended
from tests.fake_replicate import FakeReplicate, Script, recorded_errors
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def run(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out, no_color=True)
    return out.getvalue()


# ---------------------------------------------------------------- ask


def test_ask_prints_the_answer_on_the_path_of_the_page(
    model: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    fake.script(Script(chunks=["The capital of France", " is", " Paris."]))

    assert run("ask", "What is the capital of France?") == "The capital of France is Paris.\n"
    prediction = Prediction.objects.get()
    assert (prediction.status, prediction.user, prediction.output) == (
        "succeeded",
        None,
        "The capital of France is Paris.",
    )
    assert fake.ledger.created[0].body["input"]["prompt"] == "What is the capital of France?"
    assert not Worker.objects.exists()  # the one it ran has gone


def test_ask_uses_the_worker_that_runs(model: Model, worker: WorkerThread) -> None:
    assert run("ask", "Hi", "--model", model.name) == "Hello, world.\n"
    assert Worker.objects.count() == 1


def test_ask_names_the_models_there_are(model: Model, no_look_at_versions: None) -> None:
    with pytest.raises(CommandError, match=f"no model 'gpt-9'.*There are: {model.slug}"):
        run("ask", "Hi", "--model", "gpt-9")


def test_ask_says_when_there_is_no_model_at_all(transactional_db: None) -> None:
    with pytest.raises(CommandError, match="doctor"):
        run("ask", "Hi")


def test_ask_tells_a_failure(model: Model, fake: FakeReplicate, no_look_at_versions: None) -> None:
    fake.script(Script(on_create=recorded_errors(402)[0]))

    with pytest.raises(CommandError, match="no credit"):
        run("ask", "Hi")


def test_ask_takes_other_inputs_and_files_and_saves_what_comes_out(
    painter: Model, fake: FakeReplicate, no_look_at_versions: None, tmp_path: Path
) -> None:
    (tmp_path / "given.png").write_bytes(b"\x89PNG\r\n\x1a\n given")
    fake.script(Script(output=[fake.output_file(b"\xff\xd8\xff made", name="made.jpg")], stream=False))
    told = run(
        *("ask", "A cat", "--model", "painter", "--input", "seed=7", "--input", "aspect_ratio=1:1"),
        *("--file", f"image={tmp_path / 'given.png'}", "--save", str(tmp_path / "out")),
    )

    sent = fake.ledger.created[0].body["input"]
    assert (sent["prompt"], sent["seed"], sent["aspect_ratio"]) == ("A cat", 7, "1:1")
    assert sent["image"].startswith("data:image/png;base64,")
    assert (tmp_path / "out/made.jpg").read_bytes() == b"\xff\xd8\xff made"
    assert "made.jpg" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--input", "colour=red"), "takes no 'colour'. It takes prompt, aspect_ratio"),
        (("--input", "seed"), "Write NAME=VALUE"),
        (("--file", "image=/no/such/file.png"), "No such file"),
    ],
)
def test_ask_says_what_it_cannot_take(
    arguments: tuple[str, str], words: str, painter: Model, fake: FakeReplicate, no_look_at_versions: None
) -> None:
    with pytest.raises(CommandError, match=words):
        run("ask", "A cat", "--model", "painter", *arguments)
    assert not Prediction.objects.exists()


# ---------------------------------------------------------------- doctor


def test_doctor_is_content_with_a_whole_installation(model: Model, worker: WorkerThread) -> None:
    report = run("doctor")

    assert "All is well." in report
    assert "✗" not in report
    bus = "Redis" if project_settings.REDIS_URL else "bus"
    for part in ("settings", "storage", "database", bus, "worker", "Replicate"):
        assert f"✓ {part}" in report


def test_doctor_says_what_to_do(model: Model, fake: FakeReplicate, settings: Any) -> None:
    settings.ENVIRONMENT = "testing"
    settings.REPLICATE_API_TOKEN = "wrong"
    out = StringIO()

    with pytest.raises(CommandError, match="3 things"):
        call_command("doctor", stdout=out)
    assert "production, staging, development" in out.getvalue()
    assert "runpredictions" in out.getvalue()
    assert "REPLICATE_API_TOKEN" in out.getvalue()
    assert "wrong" not in out.getvalue()


def test_doctor_says_whose_account_it_is(model: Model, fake: FakeReplicate, worker: WorkerThread) -> None:
    assert f"✓ Replicate: account {fake.account.username}" in run("doctor")


def test_doctor_notices_webhooks_that_never_arrive(model: Model, worker: WorkerThread, settings: Any) -> None:
    settings.PUBLIC_URL = "https://chat.example.org"
    predictions = [ended(Prediction.objects.create(model=model, input={"prompt": "Hi"})) for _ in range(3)]
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("doctor", "--url=", stdout=out)
    assert "None of today’s 3 webhooks arrived" in out.getvalue()
    WebhookDelivery.objects.create(delivery_id="msg_1", prediction=predictions[0])
    assert "✓ Replicate: webhooks" in run("doctor", "--url=")


def test_doctor_without_models_says_where_they_come_from(transactional_db: None) -> None:
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("doctor", stdout=out)
    assert "PARLEY_COG_SERVERS" in out.getvalue()


def test_storage_that_cannot_be_written_is_noticed(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "missing"

    assert "PARLEY_DATA_DIR" in str(checks.check_storage())


# ---------------------------------------------------------------- signs of life


def test_live_needs_nothing_and_nobody(client: Client) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}


def test_ready_says_what_is_missing(client: Client) -> None:
    Worker.objects.create(name="dead", seen_at=timezone.now() - timedelta(minutes=1))

    answer = client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "database": "ok", "bus": "ok", "worker": "failing"}


def test_ready_with_a_worker(client: Client, worker: WorkerThread) -> None:
    answer = client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"


@pytest.mark.parametrize(
    ("public", "host", "site"),
    [
        ("", "127.0.0.1", "http://127.0.0.1:8000"),
        ("", "::", "http://[::1]:8000"),
        ("https://chat.example.org", "0.0.0.0", "https://chat.example.org"),
    ],
)
def test_what_is_printed_is_where_browsers_go(public: str, host: str, site: str, settings: Any) -> None:
    settings.PUBLIC_URL = public

    assert re.fullmatch(rf"{re.escape(site)}/setup/[\w-]+/", serve.Command._address(host, 8000))


# ---------------------------------------------------------------- the catalogue


def test_what_the_environment_names_is_offered_and_what_it_drops_is_switched_off(settings: Any) -> None:
    settings.COG_SERVERS = {"smollm2": "http://127.0.0.1:5101/", "other": "http://127.0.0.1:5102"}
    settings.REPLICATE_API_TOKEN = "r8_x"
    settings.REPLICATE_MODELS = ["acme/parrot"]
    catalogue.sync_with_environment()
    catalogue.sync_with_environment()

    assert set(Provider.objects.values_list("slug", "base_url", "concurrency")) == {
        ("cog-smollm2", "http://127.0.0.1:5101", 1),
        ("cog-other", "http://127.0.0.1:5102", 1),
        ("replicate", "https://api.replicate.com/v1", None),
    }
    assert [model.name for model in Model.objects.all()] == ["SmolLM2", "other", "parrot"]

    settings.COG_SERVERS = {"smollm2": "http://127.0.0.1:5201"}
    settings.REPLICATE_API_TOKEN = ""
    catalogue.sync_with_environment()

    enabled = Provider.objects.filter(enabled=True)
    assert [(provider.slug, provider.base_url) for provider in enabled] == [("cog-smollm2", "http://127.0.0.1:5201")]


def test_what_an_admin_has_changed_stays(settings: Any) -> None:
    settings.COG_SERVERS = {"smollm2": "http://127.0.0.1:5101"}
    catalogue.sync_with_environment()
    Provider.objects.update(concurrency=4, name="Our server")
    Model.objects.update(name="Small one", order=1)
    Provider.objects.create(slug="mine", name="Mine", kind="cog", base_url="http://10.0.0.1:5000")
    catalogue.sync_with_environment()

    assert Provider.objects.get(slug="cog-smollm2").concurrency == 4
    assert Model.objects.get().name == "Small one"
    assert Provider.objects.get(slug="mine").enabled


async def look() -> None:
    async with AsyncExitStack() as stack:

        def connect(row: Provider) -> providers.Provider:
            provider = providers.connect(row)
            stack.push_async_callback(provider.close)
            return provider

        await catalogue.look(connect, Model.objects.all())


def test_a_hosts_description_becomes_a_version(model: Model, fake: FakeReplicate) -> None:
    Version.objects.all().delete()
    assert not Model.objects.available().exists()

    asyncio.run(look())

    version = pins.version_for(model)
    assert version is not None
    assert "prompt" in version.inputs
    assert list(Model.objects.available()) == [model]


def test_a_host_that_is_away_leaves_what_is_known(model: Model, fake: FakeReplicate) -> None:
    Provider.objects.update(base_url="http://127.0.0.1:1")

    asyncio.run(look())

    assert model.versions.count() == 1


def test_a_model_that_is_added_while_it_runs_is_described_soon(
    model: Model, fake: FakeReplicate, transactional_db: None
) -> None:
    thread = WorkerThread()
    thread.start()
    wait_until(lambda: fake.ledger.to("model"))
    added = Model.objects.create(provider=model.provider, ref="acme/parrot", slug="parrot", name="Parrot")

    wait_until(added.versions.exists)
    thread.stop()


def test_pins_decide_which_version_answers(model: Model, settings: Any) -> None:
    old = model.versions.get()
    new = model.versions.create(identifier="new")
    assert pins.version_for(model) == new

    model.pins.create(environment="production", version=old)
    assert pins.version_for(model) == old
    settings.ENVIRONMENT = "staging"
    assert pins.version_for(model) == new
    settings.ENVIRONMENT = "production"
    model.pins.create(environment="production", version=None)
    assert pins.version_for(model) == new


# ---------------------------------------------------------------- the documentation


def test_the_tests_that_the_page_on_replicate_names_exist() -> None:
    root = project_settings.BASE_DIR
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (root / "docs/replicate.md").read_text())

    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in (root / file).read_text(), f"{file}::{name}"


def test_the_migrations_are_those_of_the_models() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    ("address", "words"),
    [("nonsense", "DATABASE_URL is no address"), ("sqlite:////nowhere/at/all/x", "The database cannot be reached")],
)
def test_a_wrong_database_is_told_in_words(address: str, words: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": address, "PARLEY_DATA_DIR": str(tmp_path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "manage.py", "prepare"]

    run = subprocess.run(
        command, cwd=project_settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr
