"""Making accounts by invitation and by address, forgotten passwords, and what groups may do."""

import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Conversation, User
from chat.people import departures, links
from chat.people.forms import AccountForm
from chat.people.mail import _post
from chat.people.models import EVERYBODY, Invitation, SignIn
from predictions.models import Model, Prediction, Upload
from tests.people import signed_in, with_rights
from tests.waiting import WAIT_LIMIT, wait_until

pytestmark = pytest.mark.django_db

NEW = "a long enough phrase"
WEEK = timedelta(days=7)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("bob", password="battery staple")


@pytest.fixture
def with_mail(settings: Any) -> Iterator[Any]:
    settings.EMAIL_URL = "smtp://mail.example.org"
    settings.SIGNUP_DOMAINS = ["example.org"]
    mail.outbox.clear()
    yield settings
    _post.submit(int).result(WAIT_LIMIT)  # what is under way comes in no later test


def made(username: str = "newcomer", password: str = NEW) -> dict[str, str]:
    return {"username": username, "password1": password, "password2": password}


def invite(**fields: Any) -> tuple[Invitation, str]:
    invitation = Invitation(expires_at=timezone.now() + WEEK, **fields)
    token = invitation.issue_token()
    invitation.save()
    return invitation, reverse("people:invitation_accept", args=[token])


def link_in(client: Client, number: int = 0) -> str:
    """Wait for a message and return the path of the link in it."""
    wait_until(lambda: len(mail.outbox) > number)
    found = re.search(r"https?://[^/]+(/\S+)", str(mail.outbox[number].body))
    assert found
    return found[1]


# ---------------------------------------------------------------- invitations


def test_an_admin_makes_an_invitation_and_whoever_holds_the_link_an_account(root: User) -> None:
    team = Group.objects.create(name="team")
    admin = signed_in(root)
    until = timezone.now() + WEEK
    sent = {"note": "New people", "uses": "2", "groups": [team.pk]}
    sent |= {"expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": "12:00:00"}

    page = admin.post(reverse("admin:people_invitation_add"), sent).content.decode()
    found = re.search(r'value="http://testserver(/accounts/invitation/[^"]+)"', page)
    assert found, page
    address = found[1]
    token = address.split("/")[-2]
    assert token not in admin.get(reverse("admin:people_invitation_changelist")).content.decode()
    assert not Invitation.objects.filter(digest=token).exists()
    guest = Client()
    assert "Make your account" in guest.get(address).content.decode()
    assert guest.post(address, made("newcomer", "123")).status_code == 422
    assert guest.post(address, made()).status_code == 302

    newcomer = User.objects.get(username="newcomer")
    assert guest.get(reverse("chat:home")).status_code == 200
    assert {group.name for group in newcomer.groups.all()} == {EVERYBODY, "team"}
    assert (newcomer.is_staff, newcomer.is_superuser) == (False, False)
    assert Invitation.objects.get().used == 1


def test_what_else_is_sent_with_a_new_account_counts_for_nothing() -> None:
    _, address = invite()
    Client().post(address, {**made(), "is_superuser": "on", "is_staff": "on", "email": "a@example.org", "groups": "1"})

    newcomer = User.objects.get(username="newcomer")
    assert (newcomer.is_staff, newcomer.is_superuser, newcomer.email) == (False, False, "")


@pytest.mark.parametrize(
    "fields",
    [{"uses": 1, "used": 1}, {"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(minutes=1)}],
)
def test_an_invitation_that_is_not_open_makes_nobody(fields: dict[str, Any]) -> None:
    invitation, address = invite()
    Invitation.objects.filter(pk=invitation.pk).update(**fields)

    assert Client().get(address).status_code == 410
    assert Client().post(address, made()).status_code == 410
    assert not User.objects.exists()


def test_an_invitation_for_an_address_gives_this_address_and_only_once() -> None:
    _, address = invite(email="newcomer@example.org")
    _, again = invite(email="Newcomer@example.org")
    Client().post(address, made())

    assert User.objects.get(username="newcomer").email == "newcomer@example.org"
    assert Client().post(again, made("another")).status_code == 410


@pytest.mark.django_db(transaction=True)
def test_of_twenty_who_use_the_last_place_at_once_one_gets_in() -> None:
    _, address = invite(uses=1)

    def accept(n: int) -> None:
        try:
            Client().post(address, made(f"newcomer{n}"))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(accept, range(20)))

    assert User.objects.count() == Invitation.objects.get().used == 1


def test_an_invitation_is_revoked_by_whoever_may(root: User, alice: User) -> None:
    invitation, address = invite()
    action = {"action": "revoke", "_selected_action": [invitation.pk]}
    changelist = reverse("admin:people_invitation_changelist")
    Client().post(changelist, action)
    staff_without = signed_in(with_rights(alice, "view_invitation"))
    staff_without.post(changelist, action)
    assert Client().get(address).status_code == 200

    signed_in(root).post(changelist, action)
    assert Client().get(address).status_code == 410


def test_an_invitation_is_worth_nothing_once_its_maker_is_switched_off_or_deleted(root: User, alice: User) -> None:
    _, address = invite(created_by=alice)
    departures.switch_off(alice)
    assert Client().post(address, made()).status_code == 410

    alice.is_active = True
    alice.save()
    departures.delete(alice)
    assert Client().post(address, made()).status_code == 410
    assert Invitation.objects.get().standing == "Revoked"


def test_a_name_that_somebody_else_has_just_taken_is_told_and_the_place_stays_free(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    invitation, address = invite()
    monkeypatch.setattr(AccountForm, "clean_username", lambda form: form.cleaned_data["username"])
    monkeypatch.setattr(AccountForm, "validate_unique", lambda _: None)  # the other one came after it

    page = Client().post(address, made("alice"))

    assert (page.status_code, "just taken this name" in page.content.decode()) == (422, True)
    invitation.refresh_from_db()
    assert invitation.used == 0


def test_whoever_may_invite_lets_nobody_into_a_group_that_they_are_not_in(alice: User) -> None:
    theirs, other = Group.objects.create(name="theirs"), Group.objects.create(name="other")
    alice.groups.add(theirs)
    client = signed_in(with_rights(alice, "add_invitation"))
    until = timezone.now() + WEEK
    sent = {"uses": "1", "expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": "12:00:00"}

    client.post(reverse("admin:people_invitation_add"), {**sent, "groups": [other.pk]})
    assert not Invitation.objects.exists()
    client.post(reverse("admin:people_invitation_add"), {**sent, "groups": [theirs.pk]})
    assert list(Invitation.objects.get().groups.all()) == [theirs]


def test_only_an_admin_says_whose_an_address_is(root: User, alice: User) -> None:
    until = timezone.now() + WEEK
    sent = {"uses": "1", "expires_at_0": f"{until:%Y-%m-%d}", "expires_at_1": "12:00:00", "email": "bob@example.org"}
    for person in (with_rights(alice, "add_invitation"), root):
        signed_in(person).post(reverse("admin:people_invitation_add"), sent)

    assert [invitation.email for invitation in Invitation.objects.order_by("pk")] == ["", "bob@example.org"]


# ---------------------------------------------------------------- by address


def test_whoever_has_an_address_at_the_domain_makes_an_account_with_it(with_mail: Any) -> None:
    guest = Client()
    assert "Make an account" in (Client().get("/accounts/signup/").content.decode())
    page = guest.post(reverse("people:sign_up"), {"email": "newcomer@example.org"}).content.decode()
    assert "Look into your mailbox" in page
    assert not User.objects.exists()

    assert guest.post(link_in(guest), made()).status_code == 302
    newcomer = User.objects.get()
    assert (newcomer.username, newcomer.email) == ("newcomer", "newcomer@example.org")
    assert Client().post(link_in(guest), made("another")).status_code == 410
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "email",
    [
        "newcomer@sub.example.org",
        "newcomer@example.org.evil.example",
        "newcomer@evil-example.org",
        "newcomer@exаmple.org",  # a Cyrillic letter
        "ıris@example.org",  # which is large an I
        "newcomer@example.com",
        '"newcomer@example.org"@evil.example',
        '"evil@evil.example "@example.org',
        "newcomer@example.org@evil.example",
        "evil.example!newcomer@example.org",
        "newcomer%evil.example@example.org",
        "newcomer@example.org\n",
        "newcomer@[127.0.0.1]",
        "newcomer@",
        "m\u0131ke@example.org",  # a letter that some databases take for an i
    ],
)
def test_addresses_that_only_look_as_if_they_were_there_are_refused(email: str, with_mail: Any) -> None:
    assert not links.may_sign_up(email)
    if email.strip() == email:
        assert Client().post(reverse("people:sign_up"), {"email": email}).status_code == 422
    assert not mail.outbox


def test_nobody_is_told_who_has_an_account(with_mail: Any, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    for page in ("people:sign_up", "people:password_reset"):
        known, unknown = (
            Client().post(reverse(page), {"email": email}).content.decode().replace(email, "…")
            for email in ("alice@example.org", "nobody@example.org")
        )
        assert known == unknown


def test_mail_goes_out_beside_the_request(with_mail: Any, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the page takes would tell who has an account."""
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    is_answered, sent = threading.Event(), []
    monkeypatch.setattr("chat.people.mail.send_mail", lambda *_: sent.append(is_answered.wait(5)))

    Client().post(reverse("people:password_reset"), {"email": "alice@example.org"})
    is_answered.set()
    wait_until(lambda: sent)
    assert sent == [True]


def test_without_the_setting_nobody_signs_up(settings: Any, with_mail: Any) -> None:
    settings.SIGNUP_DOMAINS = []
    token = links.seal(links.SIGN_UP, email="newcomer@example.org")

    assert Client().get(reverse("people:sign_up")).status_code == 404
    assert Client().post(reverse("people:sign_up"), {"email": "newcomer@example.org"}).status_code == 404
    assert Client().post(reverse("people:sign_up_finish", args=[token]), made()).status_code == 410


@pytest.mark.usefixtures("one_moment")
def test_a_mailbox_is_not_flooded(with_mail: Any) -> None:
    statuses = [
        Client().post(reverse("people:sign_up"), {"email": "newcomer@example.org"}).status_code for _ in range(5)
    ]

    assert statuses == [200, 200, 200, 429, 429]


def test_what_was_sealed_for_one_thing_is_worth_nothing_for_another(with_mail: Any, alice: User) -> None:
    said = {"email": "newcomer@example.org", "user": alice.pk, "old": "", "new": "newcomer@example.org"}
    for salt, page in ((links.SIGN_UP, "people:account_address"), (links.ADDRESS, "people:sign_up_finish")):
        assert signed_in(alice).post(reverse(page, args=[links.seal(salt, **said)]), made()).status_code == 410


# ---------------------------------------------------------------- passwords and addresses


def test_a_forgotten_password_is_chosen_anew_by_mail(with_mail: Any, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    elsewhere = signed_in(alice)
    User.objects.filter(pk=alice.pk).update(last_login=None)
    guest = Client()
    guest.post(reverse("people:password_reset"), {"email": "Alice@example.org"})
    address = link_in(guest)

    form = guest.get(address, follow=True)
    chosen = {"new_password1": NEW, "new_password2": NEW}
    assert guest.post(form.request["PATH_INFO"], chosen).status_code == 302
    assert elsewhere.get(reverse("chat:home")).status_code == 302
    sent = {"username": "alice", "password": NEW}
    assert Client().post(reverse("login"), sent)["Location"] == "/"
    assert "not good any more" in Client().get(address, follow=True).content.decode()


def test_a_disabled_account_and_one_without_a_password_get_no_link(with_mail: Any, alice: User, charlie: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org", is_active=False)
    User.objects.filter(pk=charlie.pk).update(email="charlie@example.org")
    User.objects.create_user("bob", email="bob@example.org")  # who comes in by single sign-on
    for email in ("alice@example.org", "bob@example.org", "charlie@example.org"):
        Client().post(reverse("people:password_reset"), {"email": email})

    wait_until(lambda: mail.outbox)
    assert [message.to for message in mail.outbox] == [["charlie@example.org"]]


def test_without_mail_an_admin_makes_the_link(root: User, alice: User) -> None:
    assert Client().get(reverse("people:password_reset")).status_code == 404
    address = reverse("admin:chat_user_reset", args=[alice.pk])
    assert signed_in(root).get(address).status_code == 405
    assert signed_in(alice).post(address).status_code == 302
    page = signed_in(root).post(address).content.decode()
    found = re.search(r'value="http://testserver(/accounts/password/reset/[^"]+)"', page)
    assert found

    guest = Client()
    form = guest.get(found[1], follow=True)
    guest.post(form.request["PATH_INFO"], {"new_password1": NEW, "new_password2": NEW})
    assert User.objects.get(pk=alice.pk).check_password(NEW)


def test_an_address_is_theirs_who_opened_the_link_that_was_sent_there(
    with_mail: Any, alice: User, charlie: User
) -> None:
    client = signed_in(alice)
    asks = client.post(reverse("people:account_email"), {"email": "alice@example.com"})
    assert (asks.status_code, mail.outbox) == (302, []), "whoever finds an open browser is asked who they are"
    again = client.post(asks["Location"], {"password": "correct horse"})
    assert "on its way to <bdi>alice@example.com" in again.content.decode()
    assert client.post(asks["Location"], {"password": "correct horse"}, follow=True).status_code == 200, "loaded again"
    address = link_in(client)

    assert signed_in(charlie).post(address).status_code == 410
    assert "Use alice@example.com?" in client.get(address).content.decode()
    assert User.objects.get(pk=alice.pk).email == ""
    assert client.post(address).status_code == 302
    assert User.objects.get(pk=alice.pk).email == "alice@example.com"
    assert client.post(address).status_code == 410


# ---------------------------------------------------------------- admins


def test_the_last_admin_stays(root: User, alice: User) -> None:
    client = signed_in(root)
    change = reverse("admin:chat_user_change", args=[root.pk])
    sent = {"username": "bob", "is_active": "on", "is_staff": "on"}
    sent |= {"date_joined_0": "2026-01-01", "date_joined_1": "12:00:00"}

    assert "the last admin" in client.post(change, sent).content.decode()
    assert client.post(reverse("admin:chat_user_delete", args=[root.pk]), {"post": "yes"}).status_code == 403
    client.post(
        reverse("admin:chat_user_changelist"),
        {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"},
    )
    assert User.objects.get(pk=root.pk).is_superuser
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    assert client.post(change, sent).status_code == 302


def test_whoever_looks_after_people_makes_nobody_an_admin(root: User, alice: User, charlie: User) -> None:
    client = signed_in(with_rights(charlie, "change_user", "view_user", "change_group", "add_group", "delete_user"))
    everything = Permission.objects.values_list("pk", flat=True)
    sent = {"username": "alice", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    sent |= {"date_joined_0": "2026-01-01", "date_joined_1": "12:00:00"}
    sent |= {"groups": [Group.objects.get().pk], "user_permissions": [*everything]}  # type: ignore[dict-item]

    assert client.post(reverse("admin:chat_user_change", args=[alice.pk]), sent).status_code == 302
    alice = User.objects.get(pk=alice.pk)
    assert (alice.is_staff, alice.is_superuser, alice.user_permissions.count()) == (False, False, 0)
    other = with_rights(User.objects.create_user("keeper", password="battery staple"), "change_provider")
    for admin in (root, other):
        assert client.post(reverse("admin:chat_user_change", args=[admin.pk]), sent).status_code == 403
    assert client.post(reverse("admin:auth_user_password_change", args=[root.pk]), {}).status_code == 403
    assert client.post(reverse("admin:chat_user_reset", args=[root.pk])).status_code == 403
    assert client.post(reverse("admin:chat_user_delete", args=[root.pk]), {"post": "yes"}).status_code == 403
    assert client.post(reverse("admin:auth_group_add"), {"name": "x", "permissions": [*everything]}).status_code == 403


def test_who_would_enter_the_admin_if_they_were_switched_on_is_an_admins_alone(root: User, alice: User) -> None:
    former = [
        User.objects.create_superuser("charlie"),
        User.objects.create_user("dora"),
        User.objects.create_user("ed"),
    ]
    former[1].user_permissions.add(Permission.objects.get(codename="enter_admin"))
    for person in former:
        departures.switch_off(person)
    client = signed_in(with_rights(alice, "change_user", "view_user"))

    statuses = [
        client.post(reverse("admin:auth_user_password_change", args=[person.pk]), {"password1": NEW, "password2": NEW})
        for person in former
    ]
    assert [status.status_code for status in statuses] == [403, 403, 302]


def test_without_passwords_nobody_is_offered_a_link_to_make_one(root: User, alice: User, settings: Any) -> None:
    settings.LOCAL_PASSWORDS = False
    client, person = signed_in(root), reverse("admin:chat_user_change", args=[alice.pk])
    assert "Sign out everywhere" in client.get(person).content.decode()
    assert "Make a link" not in client.get(person).content.decode()
    assert client.post(reverse("admin:chat_user_reset", args=[alice.pk])).status_code == 404
    assert client.get(reverse("admin:people_invitation_add")).status_code == 403


def test_a_group_opens_the_administration(alice: User) -> None:
    keepers = Group.objects.create(name="keepers")
    keepers.permissions.set(Permission.objects.filter(codename__in=("enter_admin", "view_user")))
    client = signed_in(alice)
    assert client.get(reverse("admin:index"), follow=True).status_code == 403
    assert "Administration" not in client.get(reverse("chat:home")).content.decode()

    alice.groups.add(keepers)
    assert client.get(reverse("admin:chat_user_changelist")).status_code == 200
    assert "Administration" in client.get(reverse("chat:home")).content.decode()


def test_admins_need_a_second_factor_where_the_setting_says_so(root: User, settings: Any) -> None:
    settings.SECOND_FACTOR = "admins"
    answer = signed_in(root).get(reverse("admin:index"), follow=True)

    assert answer.request["PATH_INFO"] == reverse("mfa_index")


def test_an_admin_helps_whoever_has_lost_their_second_factor(root: User, alice: User) -> None:
    Authenticator.objects.create(user=alice, type=Authenticator.Type.TOTP, data={})
    sent = {"username": "alice", "password": "correct horse"}
    assert Client().post(reverse("login"), sent)["Location"] == reverse("mfa_authenticate")
    admin = signed_in(root)
    change = reverse("admin:chat_user_change", args=[alice.pk])
    assert "Remove the second factors" in admin.get(change).content.decode()
    address = reverse("admin:chat_user_drop", args=[alice.pk])
    signed_in(with_rights(alice, "view_user")).post(address)
    assert Authenticator.objects.exists()

    admin.post(address)
    assert Client().post(reverse("login"), sent)["Location"] == "/"
    admin.post(reverse("admin:chat_user_end", args=[alice.pk]))
    assert not SignIn.objects.filter(user=alice).exists()


# ---------------------------------------------------------------- what groups may


def test_what_everybody_may_is_taken_from_everybody_and_given_to_a_group(alice: User, model: Model) -> None:
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="succeeded", output="Hello")
    exports = [reverse(f"chat:{name}", args=[conversation.pk]) for name in ("conversation_json", "conversation_md")]
    exports.append(reverse("chat:receipt_download", args=[conversation.branch()[-1].pk]))
    upload, home = reverse("upload_create"), reverse("chat:home")
    headers = {"X-File-Name": "notes.txt"}

    def doors() -> set[int]:
        client = signed_in(User.objects.get(pk=alice.pk))
        sent = client.post(upload, b"words", content_type="application/octet-stream", headers=headers)
        return {sent.status_code // 100, *(client.get(export).status_code // 100 for export in exports)}

    assert doors() == {2}
    kept = Upload.objects.get()
    everybody = Group.objects.get(name=EVERYBODY)
    rights = list(everybody.permissions.all())
    everybody.permissions.clear()
    assert doors() == {4}
    client = signed_in(alice)
    page = client.get(home).content.decode()
    assert " closed>" in page
    assert "Export as" not in page
    fields = {"id": str(uuid.uuid4()), "text": "And?", "model": model.slug, "uploads": str(kept.pk)}
    answer = client.post(reverse("chat:conversation_create"), fields, headers={"Accept": "application/json"})
    assert "may not add files" in answer.content.decode()

    writers = Group.objects.create(name="writers")
    writers.permissions.set(rights)
    alice.groups.add(writers)
    assert doors() == {2}
    assert "Export as" in signed_in(alice).get(home).content.decode()


def test_people_groups_and_invitations_stand_together_in_the_admin(root: User) -> None:
    client = signed_in(root)
    apps = client.get(reverse("admin:index")).context["app_list"]
    listed = {app["name"]: [str(model["name"]) for model in app["models"]] for app in apps}

    assert listed["People"] == ["Groups", "Invitations", "Users"]
    assert len(listed) == 2
    for label in ("people", "chat", "auth"):
        page = client.get(reverse("admin:app_list", args=[label])).content.decode()
        assert "Invitations" in page


def test_only_rights_that_change_something_are_offered(root: User) -> None:
    client = signed_in(root)
    for page in (reverse("admin:auth_group_add"), reverse("admin:chat_user_change", args=[root.pk])):
        offered = rights_on(client.get(page).content.decode())

        assert offered["In general"] == ["Add files to questions", "Enter the administration", "Export conversations"]
        assert offered["Invitations"] == ["See", "Add", "Delete"]  # who holds one was told what it is
        assert offered["Predictions"] == ["See"]
        assert "Log entries" not in offered

    invites = Permission.objects.get(codename="add_invitation")
    client.post(reverse("admin:auth_group_add"), {"name": "hosts", "permissions": [invites.pk]})
    assert [*Group.objects.get(name="hosts").permissions.all()] == [invites]


def rights_on(page: str) -> dict[str, list[str]]:
    """The rights that a page offers, by the kind of thing that they are for."""
    kinds = re.findall(r'class="rights__name"[^>]*>([^<]+)</span>(.*?)</div>', page, re.DOTALL)
    return {kind: re.findall(r"> ([^<]+)</label>", boxes) for kind, boxes in kinds}


def test_a_group_stays_as_long_as_a_model_is_for_it_alone(root: User, model: Model) -> None:
    few, others = Group.objects.create(name="few"), Group.objects.create(name="others")
    model.groups.set([few, others])
    client = signed_in(root)
    delete = [reverse("admin:auth_group_delete", args=[group.pk]) for group in (others, few)]

    assert client.post(delete[0], {"post": "yes"}).status_code == 302
    page = client.post(delete[1], {"post": "yes"}).content.decode()
    assert "cannot be deleted as long as" in page
    assert f"The model {model}" in page
    assert list(model.groups.all()) == [few]
    bulk = {"action": "delete_selected", "_selected_action": [few.pk], "post": "yes"}
    client.post(reverse("admin:auth_group_changelist"), bulk)
    assert list(model.groups.all()) == [few]


def test_everybody_cannot_be_deleted_or_renamed(root: User) -> None:
    everybody = Group.objects.get(name=EVERYBODY)
    client = signed_in(root)
    client.post(reverse("admin:auth_group_change", args=[everybody.pk]), {"name": "nobody", "permissions": []})
    client.post(reverse("admin:auth_group_delete", args=[everybody.pk]), {"post": "yes"})

    everybody.refresh_from_db()
    assert (everybody.name, everybody.permissions.count()) == (EVERYBODY, 0)
