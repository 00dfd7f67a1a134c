"""Who may do what: each role with each object, by each verb, over each transport.

The rows below are held against the addresses and the socket's commands that there are: a new one without a row fails.
"""

import ast
import asyncio
import inspect
import io
import json
import textwrap
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.auth.tokens import default_token_generator
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from chat import routing
from chat.leaving import NEWS
from chat.models import UPLOAD_GONE, Conversation, SetupToken, User, _digest
from chat.people import links
from chat.people.models import Invitation, SignIn
from chat.tab import Tab
from config.asgi import application
from predictions import comparisons, files, webhooks
from predictions.database import query
from predictions.models import File, Limits, Model, Pin, Prediction, Provider, SavedPrompt, Trial, Worker
from predictions.prompts import Turn
from tests.conftest import make_model
from tests.people import give_passkey, with_rights
from tests.test_socket import headers
from tests.waiting import WAIT_LIMIT

ROLES = ("nobody", "owner", "peer", "staff", "admin", "disabled")
JSON = "application/json"
PASSWORD = "correct horse"
PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"

OK, LOGIN, FORBIDDEN, MISSING = "ok", "to a login page", "403", "404"


def rule(**said: str) -> dict[str, str]:
    return dict(zip(ROLES, (said[role] for role in ROLES), strict=True))


SIGNED_OUT = {"nobody": LOGIN, "disabled": LOGIN}
OUTSIDE = {**SIGNED_OUT, "owner": LOGIN, "peer": LOGIN}

EVERYBODY = dict.fromkeys(ROLES, OK)
MEMBERS = rule(owner=OK, peer=OK, staff=OK, admin=OK, **SIGNED_OUT)
OWNER = rule(owner=OK, peer=MISSING, staff=MISSING, admin=MISSING, **SIGNED_OUT)
ADMIN = rule(staff=FORBIDDEN, admin=OK, **OUTSIDE)
STAFF = rule(staff=OK, admin=OK, **OUTSIDE)
DOOR = EVERYBODY | dict.fromkeys(("owner", "peer"), FORBIDDEN)
NO_ONE = rule(staff=FORBIDDEN, admin=FORBIDDEN, **OUTSIDE)
WATCHERS = rule(nobody=MISSING, owner=MISSING, peer=MISSING, staff=OK, admin=OK, disabled=MISSING)
NOTHING = dict.fromkeys(ROLES, MISSING)  # what is not switched on
GUESTS = dict.fromkeys(("nobody", "disabled"), OK)
IN = dict.fromkeys(("owner", "peer", "staff", "admin"), "302 /")  # whoever is signed in already
OTHERS = ("peer", "staff", "admin")
WITH_FACTOR = OWNER | dict.fromkeys(OTHERS, "302 /accounts/again/")
WITHOUT_APP = MEMBERS | {"owner": "302 /accounts/factors/app/remove/"}
ADDRESSEE = OWNER | dict.fromkeys(OTHERS, "410")
NEWCOMERS = dict.fromkeys(ROLES, "409") | GUESTS
KEEPERS = rule(owner=FORBIDDEN, peer=FORBIDDEN, staff=FORBIDDEN, admin=MISSING, **SIGNED_OUT)  # a right, and own words


@dataclass(frozen=True)
class Row:
    """Who may do one thing at one address; `named` are the objects in it, `status` is told to those who may."""

    route: str
    verb: str
    who: dict[str, str]
    status: int = 200
    sent: Any = ""
    named: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def reads(route: str, who: dict[str, str], status: int = 200, **named: str) -> Row:
    return Row(route, "GET", who, status, named=named)


def writes(route: str, who: dict[str, str], status: int = 302, sent: Any = "", **named: str) -> Row:
    return Row(route, "POST", who, status, sent, named)


QUESTION = {"id": "new", "text": "And?", "model": "slug"}  # with an id and a model of the world’s
ROWS = [
    reads("chat:home", MEMBERS),
    writes("chat:conversation_create", MEMBERS, sent=QUESTION),
    reads("chat:conversation_detail", OWNER, conversation="conversation"),
    writes("chat:message_create", OWNER, sent=QUESTION, conversation="conversation"),
    writes("chat:conversation_move", OWNER, conversation="conversation"),
    writes("chat:message_stop", OWNER, message="answer"),
    reads("chat:earlier_messages", OWNER, message="answer"),
    reads("chat:message_edit", OWNER, message="question"),
    writes("chat:message_edit", OWNER, sent=QUESTION, message="question"),
    writes("chat:message_continue", OWNER, message="answer"),
    reads("chat:message_models", OWNER, message="answer"),
    writes("chat:message_retry", OWNER, message="answer"),
    writes("chat:message_delete", OWNER, message="answer"),
    writes("chat:message_restore", OWNER, message="deleted_message"),
    writes("chat:message_show", OWNER, message="question"),
    writes("chat:message_rate", OWNER, sent={"rating": "1"}, message="answer"),
    reads("chat:message_reason", OWNER, message="rated"),
    reads("chat:receipt_detail", OWNER, message="answer"),
    reads("chat:receipt_download", OWNER, message="answer"),
    writes("chat:receipt_again", OWNER, message="answer"),
    writes("chat:receipt_keep", KEEPERS, message="answer"),
    Row("chat:receipt_diff", "GET", OWNER, 200, {"with": "rated"}, {"message": "answer"}),
    Row("chat:message_search", "GET", MEMBERS, 200, {"q": "secret"}),
    reads("chat:sidebar_part", MEMBERS),
    reads("chat:conversation_older", MEMBERS),
    reads("chat:conversation_archived", MEMBERS),
    reads("chat:conversation_manage", OWNER, conversation="conversation"),
    writes("chat:conversation_rename", OWNER, sent={"title": "Other"}, conversation="conversation"),
    writes("chat:conversation_pin", OWNER, conversation="conversation"),
    writes("chat:conversation_archive", OWNER, conversation="conversation"),
    writes("chat:conversation_delete", OWNER, conversation="conversation"),
    writes("chat:conversation_restore", OWNER, conversation="deleted_conversation"),
    writes("chat:conversation_read", OWNER, 200, conversation="conversation"),
    reads("chat:conversation_json", OWNER, conversation="conversation"),
    reads("chat:conversation_md", OWNER, conversation="conversation"),
    reads("chat:file_detail", OWNER, file="file"),
    writes("chat:code_highlight", MEMBERS, 200, sent='{"blocks": []}'),
    reads("chat:diagram_frame", MEMBERS),
    reads("chat:model_parameters", MEMBERS, model="slug"),
    writes("chat:theme_choose", MEMBERS, sent={"theme": "dark"}),
    reads("chat:manifest", EVERYBODY),
    reads("chat:setup", EVERYBODY, 302, token="setup"),  # there is an admin
    writes("chat:setup", EVERYBODY, sent={"username": "x"}, token="setup"),
    reads("login", EVERYBODY | IN),
    writes("login", EVERYBODY | IN, 200),
    writes("logout", MEMBERS | GUESTS),
    reads("account_login", EVERYBODY | IN),
    writes("account_login", EVERYBODY | IN, 200),
    writes("account_logout", MEMBERS | GUESTS),
    reads("account_change_password", MEMBERS),
    writes("account_change_password", MEMBERS, 422, sent={"old_password": "guess"}),
    reads("account_reauthenticate", MEMBERS),
    writes("account_reauthenticate", MEMBERS, 200),
    reads("mfa_index", MEMBERS),
    reads("mfa_authenticate", MEMBERS, 302),
    writes("mfa_authenticate", MEMBERS),
    reads("mfa_reauthenticate", WITH_FACTOR),
    writes("mfa_reauthenticate", WITH_FACTOR, 200),
    reads("mfa_activate_totp", WITHOUT_APP),
    writes("mfa_activate_totp", WITHOUT_APP, 200),
    reads("mfa_deactivate_totp", OWNER),
    writes("mfa_deactivate_totp", OWNER),
    reads("mfa_view_recovery_codes", OWNER),
    reads("mfa_generate_recovery_codes", MEMBERS),
    writes("mfa_generate_recovery_codes", MEMBERS | dict.fromkeys(OTHERS, "200")),  # with nothing to recover
    reads("mfa_download_recovery_codes", OWNER),
    reads("mfa_list_webauthn", MEMBERS),
    reads("mfa_add_webauthn", MEMBERS),
    writes("mfa_add_webauthn", MEMBERS, 200),
    reads("mfa_reauthenticate_webauthn", WITH_FACTOR),
    writes("mfa_reauthenticate_webauthn", WITH_FACTOR | {"owner": LOGIN}, 200),  # from there, home
    reads("mfa_edit_webauthn", OWNER, pk="passkey"),
    writes("mfa_edit_webauthn", OWNER, sent={"name": "Other"}, pk="passkey"),
    reads("mfa_remove_webauthn", OWNER, pk="passkey"),
    writes("mfa_remove_webauthn", OWNER, pk="passkey"),
    reads("mfa_login_webauthn", MEMBERS, 302),
    writes("mfa_login_webauthn", MEMBERS),
    reads("people:account", MEMBERS),
    writes("people:account_name", MEMBERS, sent={"first_name": "A"}),
    reads("people:account_email", NOTHING | SIGNED_OUT),
    writes("people:account_email", NOTHING | SIGNED_OUT),
    reads("people:account_address", ADDRESSEE, token="new_address"),
    writes("people:account_address", ADDRESSEE, token="new_address"),
    writes("people:session_end", OWNER, sign_in="sign_in"),
    writes("people:sessions_end", MEMBERS),
    reads("people:invitation_accept", NEWCOMERS, token="invitation_token"),
    writes("people:invitation_accept", NEWCOMERS, 422, {"username": "x"}, token="invitation_token"),
    reads("people:sign_up", NOTHING),
    writes("people:sign_up", NOTHING),
    reads("people:sign_up_finish", EVERYBODY, 410, token="setup"),
    writes("people:sign_up_finish", EVERYBODY, 410, token="setup"),
    reads("people:password_reset", NOTHING),
    writes("people:password_reset", NOTHING),
    reads("people:password_choose", EVERYBODY, 302, uidb64="reset_person", token="reset"),
    writes("people:password_choose", EVERYBODY, uidb64="reset_person", token="reset"),
    reads("file_detail", OWNER, file="file"),
    writes("file_use", OWNER, 201, file="file"),
    reads("health_live", EVERYBODY),
    reads("health_ready", EVERYBODY),
    reads("health_stream", NOTHING),
    reads("metrics", WATCHERS),
    Row("upload_create", "POST", MEMBERS, 201, "some text", headers={"X-File-Name": "a.txt"}),
    writes("upload_remove", OWNER, 200, upload="upload"),
    writes("webhook", EVERYBODY, 401, sent="{}", prediction="prediction", token="webhook"),
    # ---------------------------------------------------------------- the admin
    reads("admin:index", STAFF),
    reads("admin:login", DOOR, 302),
    writes("admin:login", DOOR),
    writes("admin:logout", EVERYBODY),
    reads("admin:password_change", STAFF, 302),
    writes("admin:password_change", STAFF),
    reads("admin:password_change_done", STAFF),
    reads("admin:autocomplete", NO_ONE),  # no form uses it
    reads("admin:jsi18n", STAFF),
    reads(
        "admin:view_on_site", rule(staff=MISSING, admin=MISSING, **OUTSIDE), content_type_id="zero", object_id="zero"
    ),
    reads("admin:app_list", rule(staff=MISSING, admin=OK, **OUTSIDE), app_label="app"),
    reads("admin:auth_user_password_change", ADMIN, id="user"),
    writes("admin:auth_user_password_change", ADMIN, 200, id="user"),
    writes("admin:chat_user_reset", ADMIN, 200, key="user"),
    writes("admin:chat_user_drop", ADMIN, key="user"),
    writes("admin:chat_user_end", ADMIN, key="user"),
    writes("admin:predictions_model_look", ADMIN),
    writes("admin:predictions_model_try", ADMIN, 422, pk="model"),
    reads("admin:predictions_model_trial", ADMIN, pk="model", trial_pk="trial"),
    writes("admin:predictions_model_trial_stop", ADMIN, pk="model", trial_pk="trial"),
    writes("admin:predictions_comparison_judge", ADMIN, sent={"verdict": "better"}, pk="second_trial"),
    writes("admin:predictions_comparison_stop", ADMIN, pk="comparison"),
    writes("admin:predictions_comparison_again", ADMIN, pk="comparison"),
    reads("admin:predictions_pin_add", STAFF, 302),  # to the list, which asks for a right
    writes("admin:predictions_pin_add", STAFF),
    reads("admin:predictions_pin_change", ADMIN, 302, pk="pin"),
    writes("admin:predictions_pin_change", ADMIN, pk="pin"),
    writes("admin:predictions_pin_restore", ADMIN, pk="pin"),
    reads("admin:predictions_pin_model", ADMIN, model_id="model"),
    reads("admin:predictions_pin_diff", ADMIN, model_id="model"),
    reads("admin:predictions_pin_figures", ADMIN, model_id="model"),
    reads("admin:predictions_pin_decide", ADMIN, model_id="model", environment="production"),
    writes("admin:predictions_pin_decide", ADMIN, 200, model_id="model", environment="production"),
]
# What the admin can not do with rows that Parley alone writes, or that there is one of.
READ_ONLY = {
    "version": {"add", "change"},
    "prediction": {"add", "change", "delete"},
    "pin": {"delete"},
    "limits": {"delete"},
    "invitation": {"change"},
}


@dataclass
class World:
    """The people by their roles, and what the rows name: all that has an owner is the owner's."""

    people: dict[str, User]
    ids: dict[str, Any]

    def client(self, role: str, **options: Any) -> Client:
        client = Client(**options)
        if role in self.people:
            client.force_login(self.people[role])
            fresh = client.session  # as of somebody who has just shown who it is
            shown = {"method": "password", "reauthenticated": True, "at": time.time()}
            fresh["account_authentication_methods"] = [shown]
            fresh["account_authentication_methods_user"] = str(self.people[role].pk)
            fresh.save()
            User.objects.update(last_login=None)
            User.objects.filter(username="disabled").update(is_active=False)
        return client

    def address(self, row: Row) -> str:
        address = reverse(row.route, kwargs={name: self.ids[known] for name, known in row.named.items()})
        return f"{address}?{urlencode(self.fields(row))}" if row.verb == "GET" and row.sent else address

    def fields(self, row: Row) -> dict[str, Any]:
        return {name: self.ids.get(value, value) for name, value in row.sent.items()}

    def ask(self, client: Client, row: Row) -> HttpResponse:
        sent: dict[str, Any] = {"headers": row.headers}
        if row.verb == "POST" and isinstance(row.sent, str):
            sent |= {"data": row.sent, "content_type": JSON}
        elif row.verb == "POST":
            sent["data"] = self.fields(row)
        response: Any = getattr(client, row.verb.lower())(self.address(row), **sent)
        if response.streaming:
            for close in response._resource_closers:  # its own `close` would have the database closed, too
                close()
        return response  # type: ignore[no-any-return]


@pytest.fixture
def world(db: None) -> World:
    people = {role: User.objects.create_user(role, password=PASSWORD) for role in ROLES[1:]}
    with_rights(people["staff"])
    User.objects.filter(username="admin").update(is_staff=True, is_superuser=True)
    people = {role: User.objects.get(pk=person.pk) for role, person in people.items()}
    owner, boss = people["owner"], people["admin"]
    provider = Provider.objects.create(slug="cog", name="Cog", kind=Provider.Kind.COG, base_url="http://127.0.0.1:9")
    model = make_model(provider, "acme/model")
    version = model.versions.get()
    other = model.versions.create(identifier="other", openapi_schema=version.openapi_schema)

    conversation, deleted = (
        Conversation.begin(owner, "A secret", message_id=uuid.uuid4(), model=model) for _ in range(2)
    )
    answer = conversation.branch()[-1]
    Prediction.objects.update(status="canceled", output="A secret")
    rated = conversation.answer_again(answer)
    Prediction.objects.update(status="canceled", output="A secret")
    gone = conversation.ask("Gone", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="canceled", output="A secret")
    Prediction.objects.filter(message=rated).update(rating=1)
    conversation.discard_message(gone)
    deleted.discard()

    prompt = SavedPrompt.keep([Turn("user", "Hi")], user=boss)
    comparison = comparisons.begin([prompt], [version, other], user=boss)
    file = File(prediction=answer.prediction, role=File.Role.OUTPUT, position=0, name="a.png")
    files.store(file, io.BytesIO(PNG))
    Worker.objects.create(name="worker", seen_at=timezone.now() + timedelta(hours=1))  # however long this takes
    SetupToken.objects.create(pk=1, digest=_digest("token"))
    TOTP.activate(owner, generate_totp_secret())
    RecoveryCodes.activate(owner)
    Client().force_login(owner)
    User.objects.update(last_login=None)  # here and below: or the link for a new password would not be good any more
    owner.refresh_from_db()
    invitation = Invitation(expires_at=timezone.now() + timedelta(days=1), uses=9)
    invitation_token = invitation.issue_token()
    invitation.save()
    rows: dict[str, Any] = {
        "conversation": conversation,
        "deleted_conversation": deleted,
        "question": answer.parent,
        "answer": answer,
        "rated": rated,
        "deleted_message": gone,
        "file": file,
        "prediction": answer.prediction,
        "upload": files.take(owner, "a.txt", [b"some text"]),
        "trial": comparisons.try_out(model, version, "Hi", user=boss),
        "second_trial": Trial.objects.filter(case__comparison=comparison).last(),
        # By the names of their models, for the admin.
        "comparison": comparison,
        "savedprompt": prompt,
        "pin": Pin.objects.create(model=model, environment="production", version=version),
        "provider": provider,
        "version": version,
        "model": model,
        "user": owner,
        "limits": Limits.objects.create(),
        "group": Group.objects.create(name="team"),
        "invitation": invitation,
        "passkey": give_passkey(owner),
        "sign_in": SignIn.objects.get(),
    }
    ids = {name: row.pk for name, row in rows.items()}
    words = {
        "slug": model.slug,
        "setup": "token",
        "webhook": webhooks._token(ids["prediction"]),
        "new": uuid.uuid4(),
        "zero": 0,
        "app": "predictions",
        "production": "production",
        "invitation_token": invitation_token,
        "new_address": links.seal(links.ADDRESS, user=owner.pk, old="", new="owner@example.com"),
        "reset_person": urlsafe_base64_encode(force_bytes(owner.pk)),
        "reset": default_token_generator.make_token(owner),
    }
    return World(people, ids | words)


# ---------------------------------------------------------------- the addresses that there are


def routes() -> Iterator[str]:
    """The name of each address, that of the admin's redirects apart."""

    def walk(patterns: Any, spaces: tuple[str, ...]) -> Iterator[str]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, (*spaces, *filter(None, [pattern.namespace])))
            else:
                yield ":".join([*spaces, pattern.name or f"nameless {pattern.pattern}"])

    yield from walk(get_resolver().url_patterns, ())


REDIRECTS = {"admin:nameless <path:object_id>/", "admin:nameless (?P<url>.*)$"}  # to where the rows below begin


def admin_rows() -> Iterator[Row]:
    """The admin's own pages for each kind of row."""
    for kind in admin.site._registry:
        name = kind._meta.model_name or ""
        page = f"admin:{kind._meta.app_label}_{name}_"
        may = {each: NO_ONE if each in READ_ONLY.get(name, ()) else ADMIN for each in ("add", "change", "delete")}
        named = {"object_id": name}
        status = 302 if name == "limits" else 200  # to its only row, which takes an empty form
        yield reads(page + "changelist", ADMIN, status)
        yield writes(page + "changelist", ADMIN, status)
        yield Row(page + "history", "GET", ADMIN, 200, named=named)
        for verb in ("GET", "POST") if name != "pin" else ():
            yield Row(page + "add", verb, may["add"], status)
            of_change = status if verb == "POST" else 200
            yield Row(page + "change", verb, ADMIN if verb == "GET" else may["change"], of_change, named=named)
        for verb in ("GET", "POST"):
            yield Row(page + "delete", verb, may["delete"], named=named)


EVERY_ROW = [*ROWS, *admin_rows()]


def test_each_address_has_a_row() -> None:
    known = {row.route for row in EVERY_ROW}

    assert set(routes()) - REDIRECTS == known
    assert Counter((row.route, row.verb) for row in EVERY_ROW).most_common(1)[0][1] == 1


# ---------------------------------------------------------------- each cell


def outcome(response: HttpResponse, row: Row) -> str:
    """Say in the words of the rows what became of a request."""
    place = response.headers.get("Location", "").partition("?")[0]
    is_login = place in {reverse("login"), reverse("admin:login")}
    if response.status_code == 302 and is_login and not row.route.endswith(("login", "logout", "setup")):
        return LOGIN
    if response.status_code in {403, 404}:
        return str(response.status_code)
    return OK if response.status_code == row.status else f"{response.status_code} {place}".strip()


def keeps_nothing(response: HttpResponse) -> bool:
    """Whether nobody else at the same browser sees an answer again."""
    said = response.headers.get("Cache-Control", "")
    return "private" in said and ("no-store" in said or "no-cache" in said)


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is written meanwhile."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_each_role_may_do_what_its_row_says(world: World) -> None:
    wrong, kept = {}, []
    for role in ROLES:
        client = world.client(role)
        session = client.cookies.get(settings.SESSION_COOKIE_NAME)
        for row in EVERY_ROW:
            with undone():
                if session:
                    client.cookies[settings.SESSION_COOKIE_NAME] = session.value
                world.ids["new"] = uuid.uuid4()
                response = world.ask(client, row)
            told = outcome(response, row)
            if told != row.who[role]:
                wrong[f"{role} {row.verb} {row.route}"] = told
            if role not in {"nobody", "disabled"} and not keeps_nothing(response):
                kept.append(f"{role} {row.verb} {row.route}: {response.headers.get('Cache-Control')}")

    assert wrong == {}
    assert kept == []


OTHER_VERBS = ("PUT", "PATCH", "DELETE", "TRACE", "GET", "POST")
PLAIN = [row for row in ROWS if not row.route.startswith("admin:")]


def test_no_address_knows_another_verb_than_its_rows_say(world: World) -> None:
    client = world.client("owner")
    rows = {row.route: row for row in PLAIN}
    known = {(row.route, row.verb) for row in PLAIN}
    told = {}
    for name, row in rows.items():
        for verb in OTHER_VERBS:
            if (name, verb) not in known:
                address = world.address(row)
                told[f"{verb} {name}"] = client.generic(verb, address, headers={"Accept": JSON}).status_code

    assert len(told) > 100
    assert {name: status for name, status in told.items() if status != 405} == {}


def test_no_form_is_taken_without_its_token(world: World) -> None:
    """The webhook's own signature stands in for it."""
    taken = []
    for role in ROLES:
        client = world.client(role, enforce_csrf_checks=True)
        for row in EVERY_ROW:
            if row.verb == "POST" and row.who[role] == OK and row.route != "webhook":
                with undone():
                    response = world.ask(client, row)
                if response.status_code != 403:
                    taken.append(f"{role} {row.route}: {response.status_code}")

    assert taken == []


# A session keeps what its page has asked to be signed, or the secret it showed; recovery codes, that they were seen.
NOTED = ('"django_session"', '"mfa_authenticator"')


def test_reading_writes_nothing(world: World) -> None:
    written: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")) and not any(table in sql for table in NOTED):
            written.append(f"{row.route}: {sql[:80]}")
        return execute(sql, *rest)

    clients = {role: world.client(role) for role in ("owner", "admin")}
    with connection.execute_wrapper(note):
        for row in EVERY_ROW:
            for client in (clients[role] for role in clients if row.verb == "GET" and row.who[role] == OK):
                for _ in range(2):
                    world.ask(client, row)

    assert written == []


# ---------------------------------------------------------------- what stands beside an address


def test_what_a_request_names_beside_its_address_is_looked_up_like_its_address(world: World) -> None:
    """The peer asks for the owner's by way of own things, the admin for a child by way of another parent."""
    peer, owner, model = world.people["peer"], world.people["owner"], Model.objects.get()
    own = Conversation.begin(peer, "Mine", message_id=uuid.uuid4(), model=model)
    Prediction.objects.filter(user=peer).update(status="canceled", output="Mine")
    answer = own.branch()[-1]
    client, ids = world.client("peer"), world.ids
    sent = {"id": str(uuid.uuid4()), "text": "And?", "model": model.slug}
    as_json = {"Accept": JSON}
    go_on = reverse("chat:message_create", args=[own.pk])

    taken_id = client.post(go_on, {**sent, "id": ids["question"]}, headers=as_json)
    upload = client.post(go_on, {**sent, "uploads": ids["upload"]}, headers=as_json)
    shown = client.get(reverse("chat:conversation_detail", args=[own.pk]), {"message": ids["question"]})
    diff = client.get(reverse("chat:receipt_diff", args=[answer.pk]), {"with": ids["rated"]})
    panel = client.get(reverse("chat:model_parameters", args=[model.slug]), {"conversation": ids["conversation"]})
    listed = client.get(reverse("chat:sidebar_part"), {"conversation": ids["conversation"]})
    found = client.get(reverse("chat:message_search"), {"q": "secret"})
    assert [taken_id.status_code, upload.status_code, diff.status_code] == [422, 422, 404]
    # The model takes no files either, but that is not why.
    assert [taken_id.json()["errors"].keys(), upload.json()["errors"]] == [{"id"}, {"model": [UPLOAD_GONE]}]
    for page in (shown, panel, listed, found):
        assert page.status_code == 200
        assert "A secret" not in page.content.decode()
        assert str(ids["conversation"]) not in page.content.decode()
    assert not Prediction.objects.filter(user=peer).exclude(message__conversation=own).exists()
    assert owner.uploads.filter(pk=ids["upload"]).exists()

    boss = world.client("admin")
    other = make_model(model.provider, "acme/other")
    trial = reverse("admin:predictions_model_trial", args=[other.pk, ids["trial"]])
    assert boss.get(trial).status_code == 404
    assert boss.post(f"{trial}stop/").status_code == 404
    decide = reverse("admin:predictions_pin_decide", args=[other.pk, "production"])
    assert boss.get(decide, {"version": ids["version"]}).status_code == 404
    hook = reverse("webhook", args=[answer.prediction_id, ids["webhook"]])
    assert Client().post(hook, "{}", content_type=JSON).status_code == 404


# ---------------------------------------------------------------- the socket's commands, over each transport


AT_ONCE = 12  # cells that are asked beside each other
TOLD, REFUSED, SIGNED_OFF = "told", "refused", "signed off"
OWNERS_NEWS = rule(nobody=SIGNED_OFF, owner=TOLD, peer=REFUSED, staff=REFUSED, admin=REFUSED, disabled=SIGNED_OFF)
NO_NEWS = OWNERS_NEWS | {"owner": REFUSED}
TRIALS_NEWS = OWNERS_NEWS | {"owner": REFUSED, "admin": TOLD}
OWN_NEWS = OWNERS_NEWS | dict.fromkeys(("peer", "staff", "admin"), TOLD)
COMMANDS = [  # what a page sends, with what it names; the kinds of frames that it is told; who is told
    ({"type": "open", "conversation": "conversation", "after": 0}, {"messages"}, OWNERS_NEWS),
    ({"type": "follow", "prediction": "prediction", "edition": 0, "after": 0}, {"ended"}, OWNERS_NEWS),
    ({"type": "follow", "prediction": "tried", "edition": 0, "after": 0}, {"ended"}, TRIALS_NEWS),
    ({"type": "follow", "prediction": "untold", "edition": 0, "after": 0}, {"ended"}, NO_NEWS),
    (
        {"type": "open", "conversation": "deleted_conversation", "after": 0},
        {"messages"},
        OWNERS_NEWS | {"owner": REFUSED},
    ),
    ({"type": "sidebar"}, {"sidebar"}, OWN_NEWS),
]


def commands() -> set[str]:
    """The kinds of frames that a tab understands, as its source has them."""
    patterns = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(Tab._do))))
    pairs = [
        pair
        for each in patterns
        if isinstance(each, ast.MatchMapping)
        for pair in zip(each.keys, each.patterns, strict=True)
    ]
    return {kind.value.value for key, kind in pairs if key.value == "type"}


def test_each_command_and_each_transport_has_a_row() -> None:
    assert commands() == {frame["type"] for frame, _, _ in COMMANDS}
    assert [str(each.pattern) for each in routing.websocket_urlpatterns] == ["socket/"]
    assert NEWS == "/news/"


@pytest.mark.django_db(transaction=True)
async def test_each_role_is_told_by_each_transport_what_its_row_says(world: World) -> None:
    tried = Prediction.objects.filter(trial=world.ids["trial"])
    await query(Prediction.objects.update, status="canceled")
    untold = Prediction.objects.filter(message__conversation=world.ids["deleted_conversation"])
    world.ids["tried"], world.ids["untold"] = await query(lambda: (tried.get().pk, untold.get().pk))
    sessions = {role: await query(session_in, world, role) for role in ROLES}
    cells = {
        f"{role} {way.__name__} {frame['type']} {number}": (way(sessions[role], named(frame, world), kinds), who[role])
        for number, (frame, kinds, who) in enumerate(COMMANDS)
        for role in ROLES
        for way in (over_socket, over_stream, over_poll)
    }

    few = asyncio.Semaphore(AT_ONCE)

    async def ask(asked: Awaitable[str]) -> str:
        async with few:
            return await asked

    told = dict(zip(cells, await asyncio.gather(*(ask(asked) for asked, _ in cells.values())), strict=True))
    assert {name: told[name] for name, (_, due) in cells.items() if told[name] != due} == {}


def session_in(world: World, role: str) -> str:
    cookie = world.client(role).cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie.value if cookie else ""


def named(frame: dict[str, Any], world: World) -> str:
    return json.dumps({name: str(world.ids[value]) if value in world.ids else value for name, value in frame.items()})


def said(frames: Iterable[str], kinds: set[str]) -> str | None:
    """Return in the words of the rows what came of a command; None while nothing did."""
    found = {json.loads(frame).get("type") for frame in frames}
    return TOLD if found & kinds else REFUSED if "refused" in found else None


async def over_socket(session: str, frame: str, kinds: set[str]) -> str:
    communicator = WebsocketCommunicator(application, "/socket/", headers(session))
    await communicator.connect()
    await communicator.send_to(text_data=frame)
    outcome = None
    while outcome is None:
        sent = await communicator.receive_output(WAIT_LIMIT)
        outcome = SIGNED_OFF if sent["type"] == "websocket.close" else said([sent["text"]], kinds)
    await communicator.disconnect()
    return outcome


async def over_stream(session: str, frame: str, kinds: set[str]) -> str:
    return await over_http(session, frame, kinds, "text/event-stream")


async def over_poll(session: str, frame: str, kinds: set[str]) -> str:
    return await over_http(session, frame, kinds, JSON)


async def over_http(session: str, frame: str, kinds: set[str], accept: str) -> str:
    scope = {
        "type": "http",
        "method": "GET",
        "path": NEWS,
        "query_string": urlencode({"frames": f"[{frame}]"}).encode(),
        "headers": [*headers(session), (b"accept", accept.encode())],
    }
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
    outcome = SIGNED_OFF if (await communicator.receive_output(WAIT_LIMIT))["status"] == 401 else None
    while outcome is None:
        body = (await communicator.receive_output(WAIT_LIMIT))["body"].decode()
        events = [event.removeprefix("data: ") for event in body.split("\n\n") if event]
        outcome = said(map(json.dumps, json.loads(body)["frames"]) if accept == JSON else events, kinds)
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(WAIT_LIMIT)
    return outcome
