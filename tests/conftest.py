"""What many tests start from: people, a provider with a model, a worker that runs, and a browser before a site."""

import asyncio
import gc
import shutil
import threading
from asyncio import _set_running_loop
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connection, connections
from django.test import Client, TransactionTestCase
from django.utils import timezone
from playwright.sync_api import Browser

from chat.models import User
from chat.people.groups import make_everybody
from predictions import catalogue, database, runner
from predictions.bus import bus
from predictions.models import Condition, Model, Prediction, Provider, Version
from predictions.providers.replicate import ReplicateProvider
from predictions.worker import Worker
from tests.browser import Open, become_admin, chromium, dismiss, visiting
from tests.fake_replicate import CHAT_SCHEMA, IMAGE_SCHEMA, FakeReplicate
from tests.prepared import prepared
from tests.site import OFFERED, Site, add_painter
from tests.waiting import WAIT_LIMIT, wait_until

# The files that take longest are begun first: none of them is to run alone at the end.
LONG = (
    *("test_kills", "test_outages", "test_browser", "test_states", "test_start", "test_postgres_and_redis"),
    *("test_faults", "test_processes", "test_bundled_models", "test_teeth", "test_slow_readers", "test_library"),
)
LONGEST_ANSWER = 60.0  # seconds; a real model on a busy machine needs some of them


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--behind-nginx", action="store_true", help="run what has a browser, the sites behind nginx with TLS"
    )


def pytest_configure(config: pytest.Config) -> None:
    Site.behind_nginx = config.getoption("--behind-nginx")


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    """What is imported and collected stays: to look at all of it for garbage, again and again, costs a tenth."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    if Site.behind_nginx:
        others = [item for item in items if not _opens_a_site(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _opens_a_site(item)]


def _opens_a_site(item: pytest.Item) -> bool:
    """Whether it has a browser before a running Parley."""
    fixtures = set(getattr(item, "fixturenames", ()))
    return {"browser", "site"} <= fixtures or item.get_closest_marker("browser") is not None


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="correct horse")


@pytest.fixture
def page(client: Client, alice: User) -> Client:
    """A browser in which alice is signed in; tests that need a real one have one of their own."""
    client.force_login(alice)
    return client


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie", password="battery staple")


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no wait end during a test, however slow it is."""
    now = timezone.now() + timedelta(minutes=1)  # after what rows say by themselves
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate() as fake:
        yield fake


@pytest.fixture
def model(db: None, fake: FakeReplicate, settings: Any) -> Model:
    """A model of the fake Replicate, with its version known."""
    settings.REPLICATE_API_TOKEN = fake.token
    settings.REPLICATE_BASE_URL = fake.url
    provider = Provider.objects.create(
        slug="replicate", name="Replicate", kind=Provider.Kind.REPLICATE, base_url=fake.url
    )
    return make_model(provider, "meta/meta-llama-3-8b-instruct", is_official=True)


@pytest.fixture
def painter(model: Model, fake: FakeReplicate) -> Model:
    """A model that makes images, and cannot stream them."""
    made = fake.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA)
    painter = make_model(model.provider, "acme/painter")
    painter.versions.update(identifier=made.versions[-1].id, openapi_schema=IMAGE_SCHEMA)
    return painter


def move(provider: Provider, address: str, settings: Any) -> None:
    """Have the provider of the environment at another address, to which its token may go."""
    Provider.objects.filter(pk=provider.pk).update(base_url=address)
    provider.base_url = settings.REPLICATE_BASE_URL = address


def make_model(provider: Provider, ref: str, **fields: Any) -> Model:
    name = ref.rpartition("/")[2]
    model = Model.objects.create(provider=provider, ref=ref, slug=name, name=name, **fields)
    Version.objects.create(model=model, identifier="", openapi_schema=CHAT_SCHEMA)
    return model


def ended(prediction: Prediction) -> Prediction:
    """Wait until `prediction` has ended, and return it as the database has it then."""

    def fetch() -> Prediction | None:
        prediction.refresh_from_db()
        return prediction if prediction.is_terminal else None

    result: Prediction = wait_until(fetch, limit=LONGEST_ANSWER)
    return result


class WorkerThread(threading.Thread):
    """A worker in a loop of its own, as `serve` runs it."""

    def __init__(self) -> None:
        super().__init__(name="worker")
        self.loop = asyncio.new_event_loop()
        self.worker = Worker()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self.worker.run())
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        if self.is_alive():
            self.loop.call_soon_threadsafe(self.worker.stop)
        self.join(WAIT_LIMIT)
        assert not self.is_alive(), "the worker does not end"
        assert self.error is None, self.error


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules with shorter waits."""
    monkeypatch.setattr(ReplicateProvider, "poll_pauses", (0.02, 0.1))
    monkeypatch.setattr(runner, "CANCEL_PAUSES", (0.02, 0.02, 0.02, 0.02))
    monkeypatch.setattr(runner, "STOP_PATIENCE", 0.5)
    monkeypatch.setattr(runner, "FIND_AGES", (0.05, 0.2, 0.4))


@pytest.fixture
def secret(model: Model, fake: FakeReplicate) -> str:
    Condition.note_secret(model.provider, fake.webhook_secret)
    return fake.webhook_secret


@pytest.fixture
def running(model: Model) -> Prediction:
    return Prediction.objects.create(
        model=model, version=model.versions.first(), input={}, asked_at=timezone.now(), provider_id="p1"
    )


@pytest.fixture
def wanted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SECRET_CHECK", 0.02)
    monkeypatch.setattr(catalogue, "SECRET_PAUSE", timedelta())


@pytest.fixture
def heard(live_server: Any, fake: FakeReplicate, secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deliveries reach this site, and by itself the worker would look only much later."""
    monkeypatch.setattr(ReplicateProvider, "poll_pauses", (60.0, 60.0))
    fake.webhook_target = live_server.url
    yield
    fake.webhook_target = None


@pytest.fixture
def no_look_at_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the worker from asking hosts for their models' versions: tests set them."""

    async def nothing(connect: Any, models: Any) -> None:
        return

    monkeypatch.setattr(catalogue, "look", nothing)


@pytest.fixture
def worker(transactional_db: None, no_look_at_versions: None) -> Iterator[WorkerThread]:
    thread = WorkerThread()
    thread.start()
    wait_until(thread.worker.is_running.is_set)
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def host() -> Iterator[FakeReplicate]:
    """The host that `site` asks."""
    with FakeReplicate() as host:
        add_painter(host)
        yield host


@pytest.fixture(scope="module")
def offered() -> str:
    """The references of the models that `site` offers, with commas between them."""
    return OFFERED


@pytest.fixture(scope="module")
def site_environment(host: FakeReplicate, offered: str) -> dict[str, str]:
    """The settings of `site`."""
    return {
        "REPLICATE_API_TOKEN": host.token,
        "PARLEY_REPLICATE_URL": host.url,
        "PARLEY_REPLICATE_MODELS": offered,
    }


@pytest.fixture(scope="module")
def site(site_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), site_environment) as site:
        yield site


@pytest.fixture(scope="session")
def chromium_and_loop() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """A Chromium, and the event loop that Playwright suspends between two calls, but leaves running."""
    with chromium() as browser:
        loop = asyncio.get_running_loop()
        yield browser, loop
        _set_running_loop(loop)


@pytest.fixture(scope="module")
def browser(chromium_and_loop: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    """The worker’s Chromium: to start one for each file takes most of a second of CPU."""
    browser, loop = chromium_and_loop
    _set_running_loop(loop)
    yield browser
    dismiss(browser)
    _set_running_loop(None)  # or Django would refuse its database to what comes after


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site) -> Any:
    """What the browser of alice keeps, who is the first admin of `site`."""
    with browser.new_context(ignore_https_errors=Site.behind_nginx) as context:
        become_admin(context, site.address)
        return context.storage_state()


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Iterator[Open]:
    """Open pages of `site` for alice, each in a context of its own."""
    with visiting(browser, site.url, signed_in) as open_page:
        yield open_page


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """Whether the test database is a copy of one that is migrated already: worth it where several workers need one."""
    return hasattr(request.config, "workerinput") and connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, django_db_keepdb: bool) -> None:
    if django_db_keepdb:
        shutil.copy(prepared() / "db.sqlite3", connection.settings_dict["TEST"]["NAME"])


@pytest.fixture(autouse=True, scope="session")
def what_django_fills_is_kept(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """After tests that commit, empty the tables but those of rights, which Django would fill anew each time."""
    kept = {ContentType._meta.db_table, Permission._meta.db_table}
    with django_db_blocker.unblock():
        tables = [name for name in connection.introspection.django_table_names(only_existing=True) if name not in kept]

    def empty(_: TransactionTestCase) -> None:
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))
        make_everybody(connection.alias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.fixture(autouse=True, scope="session")
def certificates_are_read_once() -> Iterator[None]:
    """Have the clients of loopback share what each reads at its beginning: there are thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(autouse=True, scope="session")
def everything_is_let_go(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Close the connections of threads and pools before the test database is dropped."""
    yield
    bus.close()
    for _ in range(database.THREADS):
        database._threads.submit(connections.close_all)
    database._threads.shutdown(wait=True)
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            # A pool may be opening one more connection at this very moment.
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
