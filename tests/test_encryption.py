"""API tokens that admins enter: encrypted at rest, shown to nobody, sent to the address they were entered for."""

import base64
import logging
import os
from io import StringIO
from typing import Any

import pytest
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from chat.models import User
from predictions import catalogue, checks, encryption
from predictions.models import Condition, Prediction, Provider
from predictions.providers import connect_to_replicate
from tests.conftest import WorkerThread, ended, make_model, move
from tests.fake_replicate import FakeReplicate
from tests.people import signed_in, staff
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "r8_CANARY0123456789abcdef"
ADD = "/admin/predictions/provider/add/"


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def admin_page() -> Client:
    return signed_in(User.objects.create_superuser("alice", password="correct horse"))


@pytest.fixture
def entered(fake: FakeReplicate, settings: Any) -> Provider:
    """A provider whose token was entered in the admin; the environment has none."""
    settings.REPLICATE_API_TOKEN = ""
    provider = Provider(slug="replicate", name="Replicate", kind="replicate", base_url=fake.url)
    provider.keep_token(fake.token)
    provider.save()
    return provider


def page_of(provider: Provider) -> str:
    return f"/admin/predictions/provider/{provider.pk}/change/"


def send(client: Client, page: str, provider: Provider, **fields: str) -> str:
    known = {"name": provider.name, "base_url": provider.base_url, "enabled": "on"}
    answer = client.post(page, known | fields, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def dump() -> str:
    """All that a backup of the database has in it."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        rows = []
        for table in tables:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows.append(str(cursor.fetchall()))
    return "\n".join(rows)


# ---------------------------------------------------------------- the admin


def test_a_token_is_entered_in_the_admin_and_answers_come(
    fake: FakeReplicate, admin_page: Client, settings: Any, worker: WorkerThread
) -> None:
    settings.REPLICATE_API_TOKEN = ""
    draft = Provider(name="Replicate", base_url=fake.url)
    wanted = send(admin_page, ADD, draft, slug="replicate", kind="replicate")
    assert "Enter the API token for this address." in wanted
    send(admin_page, ADD, draft, slug="replicate", kind="replicate", token=f" {fake.token}\n")
    model = make_model(Provider.objects.get(), "meta/meta-llama-3-8b-instruct", is_official=True)

    assert ended(Prediction.objects.create(model=model, input={"prompt": "Hi"})).output == "Hello, world."


def test_a_token_is_never_shown_and_says_only_that_it_is_set(
    admin_page: Client, entered: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = send(admin_page, page_of(entered), entered, token=CANARY)
    seen += send(admin_page, page_of(entered), entered, token=f"{CANARY} with a space")
    seen += send(admin_page, page_of(entered), entered, token=CANARY, base_url="not an address")
    for address in (
        page_of(entered),
        page_of(entered).replace("change", "history"),
        "/admin/",
        "/admin/predictions/provider/",
    ):
        seen += admin_page.get(address, follow=True).content.decode()

    entered.refresh_from_db()
    assert entered.own_token == CANARY
    assert "A token is set. It is never shown" in seen
    assert "Changed API token." in seen
    exported = serializers.serialize("json", Provider.objects.all())
    out = StringIO()
    call_command("pins", "export", stdout=out)
    told = (seen, repr(entered), str(vars(entered)), exported, out.getvalue(), caplog.text, dump())
    assert not [text for text in told if "CANARY" in text]


def test_a_token_is_replaced_by_another_and_removed_by_a_box(admin_page: Client, entered: Provider) -> None:
    send(admin_page, page_of(entered), entered, name="Ours")
    entered.refresh_from_db()
    assert (entered.name, bool(entered.own_token)) == ("Ours", True)

    send(admin_page, page_of(entered), entered, token="r8_other")
    entered.refresh_from_db()
    assert entered.own_token == "r8_other"


def test_who_may_not_change_a_provider_sees_nothing_of_its_token(entered: Provider) -> None:
    page = staff("view_provider").get(page_of(entered))

    assert page.status_code == 200
    assert "API token" not in page.content.decode()


def test_the_token_of_the_environment_wins_and_that_is_said(
    admin_page: Client, entered: Provider, settings: Any
) -> None:
    settings.REPLICATE_API_TOKEN = "r8_of_the_environment"
    move(entered, entered.base_url, settings)

    assert "REPLICATE_API_TOKEN is set where Parley runs, and is used instead" in (
        admin_page.get(page_of(entered)).content.decode()
    )
    assert entered.token == "r8_of_the_environment"
    send(admin_page, page_of(entered), entered, forgets_token="on")
    entered.refresh_from_db()
    assert entered.encrypted_token == ""


def test_a_provider_with_a_token_of_its_own_stays_when_the_environment_names_it_no_more(
    entered: Provider, settings: Any
) -> None:
    Provider.objects.update(from_environment=True)
    catalogue.sync_with_environment()

    entered.refresh_from_db()
    assert (entered.enabled, entered.from_environment) == (True, False)


# ---------------------------------------------------------------- the address


def test_another_address_takes_the_token_anew(admin_page: Client, entered: Provider) -> None:
    elsewhere = "https://replicate.example.org/v1"
    refused = send(admin_page, page_of(entered), entered, base_url=elsewhere)
    assert "Enter the token again." in refused
    entered.refresh_from_db()
    assert entered.base_url != elsewhere

    send(admin_page, page_of(entered), entered, base_url=elsewhere, token="r8_new")
    entered.refresh_from_db()
    assert (entered.base_url, entered.own_token) == (elsewhere, "r8_new")


def test_a_token_goes_out_over_https_alone(admin_page: Client, entered: Provider) -> None:
    refused = send(admin_page, page_of(entered), entered, base_url="http://replicate.example.org/v1", token="r8_new")

    assert "An API token goes out over https alone." in refused


def test_no_token_reaches_an_address_that_was_written_past_the_admin(
    entered: Provider, settings: Any, worker: WorkerThread
) -> None:
    """Whoever can write to the database, or restores another one, must not gain the token."""
    settings.REPLICATE_API_TOKEN = CANARY
    model = make_model(entered, "meta/meta-llama-3-8b-instruct", is_official=True)
    with FakeReplicate() as thief:
        Provider.objects.update(base_url=thief.url)
        Prediction.objects.create(model=model, input={"prompt": "Hi"})
        troubled = Condition.objects.filter(trouble__contains="entered for another address")
        wait_until(troubled.exists)

        assert not thief.ledger.calls


def test_a_token_of_another_address_goes_to_no_other_host(entered: Provider, settings: Any) -> None:
    there = "https://replicate.delivery/a/b.png"
    assert not connect_to_replicate(entered)._client.may_hold_files(there)

    move(entered, entered.base_url, settings)
    assert connect_to_replicate(entered)._client.may_hold_files(there)


# ---------------------------------------------------------------- the keys


def test_without_the_key_a_dump_tells_no_token_and_a_new_one_is_asked_for(
    admin_page: Client, entered: Provider, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = [a_key()]

    with pytest.raises(encryption.NotDecrypted, match="another key"):
        _ = entered.own_token
    page = admin_page.get(page_of(entered)).content.decode()
    assert "A token is set, but it cannot be read." in page
    assert "The API token for Replicate cannot be read" in str(checks.check_keys())


@pytest.mark.parametrize("keys", [[""], ["short"], ["x" * 44, "ü"]])
def test_a_key_that_is_none_is_told_and_nothing_breaks(
    keys: list[str], admin_page: Client, entered: Provider, settings: Any
) -> None:
    settings.ENCRYPTION_KEYS = keys

    assert "openssl rand -base64 32" in str(checks.check_keys())
    assert "openssl rand -base64 32" in send(admin_page, page_of(entered), entered, token="r8_new")


def test_keys_are_rotated_without_a_moment_in_which_a_token_cannot_be_read(entered: Provider, settings: Any) -> None:
    old, new = settings.ENCRYPTION_KEYS, a_key()
    token = entered.own_token
    settings.ENCRYPTION_KEYS = [new, *old]
    assert entered.own_token == token
    out = StringIO()
    call_command("rotate_keys", stdout=out)
    settings.ENCRYPTION_KEYS = [new]

    entered.refresh_from_db()
    assert entered.own_token == token
    assert "1 token encrypted with the first key." in out.getvalue()


def test_rotation_names_what_it_could_not_read_and_leaves_it(entered: Provider, settings: Any) -> None:
    old = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [a_key()]
    with pytest.raises(CommandError, match="enter those tokens again"):
        call_command("rotate_keys", stdout=StringIO())

    settings.ENCRYPTION_KEYS = old
    assert entered.own_token


def test_what_a_host_signs_with_is_encrypted_and_rotated_too(entered: Provider, settings: Any) -> None:
    Condition.note_secret(entered, "whsec_CANARY1")
    Condition.note_secret(entered, "whsec_CANARY2")
    old, new = settings.ENCRYPTION_KEYS, a_key()
    assert "CANARY" not in dump()
    settings.ENCRYPTION_KEYS = [new, *old]
    call_command("rotate_keys", stdout=StringIO())

    settings.ENCRYPTION_KEYS = [new]
    assert Condition.objects.of(entered).secrets == ["whsec_CANARY2", "whsec_CANARY1"]
    settings.ENCRYPTION_KEYS = ["no key"]
    assert Condition.objects.of(entered).secrets == []
    Condition.note_secret(entered, "whsec_CANARY3")
    assert Condition.objects.of(entered).webhook_secrets == []
    Condition.objects.update(webhook_secrets=["whsec_of_an_older_version"])
    assert Condition.objects.of(entered).secrets == ["whsec_of_an_older_version"]
