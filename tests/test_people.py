"""Coming in, and what is signed in where."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIRequest
from django.db import connection, connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import SetupToken, User
from chat.people import tries
from chat.people.backend import having_address
from chat.people.browsers import address_of
from chat.people.forms import NameForm, PasswordForm
from chat.people.models import SignIn, Tries
from config.forwarded import OURS_AND_PRIVATE, behind, networks
from tests.people import signed_in, with_rights

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
PASSWORD = "correct horse"
NEW = "a long enough phrase"
CHOSEN = {"new_password1": NEW, "new_password2": NEW}
HOME = reverse("chat:home")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(client: Client, name: str = "alice", password: str = PASSWORD, **fields: Any) -> Any:
    sent = {"username": name, "password": password, **fields.pop("sent", {})}
    return client.post(LOGIN, sent, **fields)


def is_in(client: Client) -> bool:
    return client.get(HOME).status_code == 200


# ---------------------------------------------------------------- signing in


def test_people_sign_in_by_username_or_address_and_go_where_they_wanted(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="Alice@example.org")
    for name in ("alice", "ALICE", "alice@example.org"):
        client = Client()
        answer = sign_in(client, name, sent={"next": "/search/?q=tides"})

        assert (answer.status_code, answer["Location"]) == (302, "/search/?q=tides")
        assert is_in(client)
    User.objects.create_user("José", password=PASSWORD)
    assert sign_in(Client(), "Jose\u0301").status_code == 302, "some keyboards write é in two signs"
    assert sign_in(Client(), sent={"next": "https://evil.example/"})["Location"] == "/"
    assert 'name="next" value="/search/"' in Client().get(f"{LOGIN}?next=/search/").content.decode()


@pytest.mark.parametrize("address", ["mıke@example.org", "mike@gıthub.example", "ſam@example.org"])
def test_a_letter_that_is_large_the_same_is_another_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL compares what is large, and so finds these, too."""
    owner = User.objects.create_user("owner", email=address.replace("ı", "i").replace("ſ", "s"))
    monkeypatch.setattr(User.objects, "filter", lambda **_: [owner])

    assert having_address(address) == []
    assert having_address(owner.email.upper()) == [owner]


def test_a_session_that_somebody_planted_is_worth_nothing_after_the_sign_in(alice: User) -> None:
    client = Client()
    client.get(LOGIN)
    planted = client.session
    planted["planted"] = "yes"
    planted.save()
    client.cookies[configured.SESSION_COOKIE_NAME] = planted.session_key

    sign_in(client)

    assert client.cookies[configured.SESSION_COOKIE_NAME].value != planted.session_key
    assert not Session.objects.filter(pk=planted.session_key).exists()


def test_nobody_is_told_who_exists(alice: User, charlie: User, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    hashes: list[str] = []
    slow = "django.contrib.auth.hashers.MD5PasswordHasher.encode"
    encode = lambda self, password, salt: hashes.append(password) or f"md5${salt}${password}"  # noqa: E731
    monkeypatch.setattr(slow, encode)
    told = {}
    for who, (name, password) in {
        "nobody": ("nobody", "guess"),
        "nobody's address": ("nobody@example.org", "guess"),
        "a wrong password": ("alice", "guess"),
        "a disabled account": ("charlie", "battery staple"),
    }.items():
        hashes.clear()
        answer = sign_in(Client(), name, password)
        words = re.sub(r'value="[^"]*"', "", answer.content.decode())
        told[who] = (answer.status_code, words, len(hashes), sorted(answer.headers), sorted(answer.cookies))

    first = told["nobody"]
    assert all(each == first for each in told.values()), told
    assert first[2] == 1
    assert "is not right" in first[1]


def test_two_accounts_with_one_address_are_both_safe_from_it(alice: User, charlie: User) -> None:
    User.objects.update(email="team@example.org")

    assert sign_in(Client(), "team@example.org").status_code == 200


def test_the_way_into_the_admin_is_the_same(alice: User) -> None:
    index = reverse("admin:index")
    client = Client()
    assert client.get(index)["Location"] == f"{reverse('admin:login')}?next={index}"
    assert client.get(f"{reverse('admin:login')}?next={index}")["Location"] == f"{LOGIN}?next={index}"
    assert client.post(reverse("admin:login"), {"username": "alice", "password": PASSWORD}).status_code == 302
    assert not is_in(client)

    sign_in(client)
    assert client.get(index, follow=True).status_code == 403
    with_rights(alice)
    assert client.get(index).status_code == 200


# ---------------------------------------------------------------- guessing


@pytest.mark.usefixtures("one_moment")
def test_guesses_at_an_account_wait_longer_and_longer_wherever_they_come_from(alice: User) -> None:
    answers = [sign_in(Client(), password="guess", REMOTE_ADDR=f"192.0.2.{n}") for n in range(12)]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 5 + [429] * 7
    assert "too many attempts" in answers[-1].content.decode()
    assert int(answers[-1]["Retry-After"]) >= 1
    assert sign_in(Client()).status_code == 429, "whoever guesses right now must wait, too"
    waits = [tries.ACCOUNT.after(failures) for failures in range(40)]
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=15)


@pytest.mark.usefixtures("one_moment")
def test_the_owner_still_comes_in_with_a_browser_that_is_known(alice: User) -> None:
    own = Client()
    sign_in(own)
    own.post(reverse("logout"))
    for n in range(30):
        sign_in(Client(), password="guess", REMOTE_ADDR=f"192.0.2.{n}")
    assert sign_in(Client()).status_code == 429

    assert sign_in(own).status_code == 302
    stolen = Client()
    stolen.cookies["browser"] = own.cookies["browser"].value
    guesses = [sign_in(stolen, password="guess").status_code for _ in range(8)]
    assert guesses == [200] * 5 + [429] * 3, "a cookie does not make guessing free"
    assert sign_in(stolen, "charlie", "guess").status_code == 200
    assert Tries.objects.count() < 40


@pytest.mark.usefixtures("one_moment")
def test_guesses_from_one_address_wait_whoever_is_guessed(alice: User) -> None:
    statuses = [sign_in(Client(), f"name-{n}", "guess", REMOTE_ADDR="2001:db8::1").status_code for n in range(34)]

    assert statuses == [200] * 30 + [429] * 4
    assert Tries.objects.count() == 31, "what is refused leaves nothing behind"
    assert sign_in(Client(), REMOTE_ADDR="2001:db8::ffff").status_code == 429  # of the same network
    assert sign_in(Client(), REMOTE_ADDR="192.0.2.1").status_code == 302


def test_who_types_the_right_password_at_last_begins_anew(alice: User) -> None:
    for _ in range(3):
        for _ in range(4):
            sign_in(Client(), password="guess")
        assert sign_in(Client()).status_code == 302


def test_old_failures_are_forgotten(alice: User) -> None:
    sign_in(Client(), password="guess")
    Tries.objects.update(free_at=timezone.now() - timedelta(days=1))

    Tries.forget_old()
    assert not Tries.objects.exists()


async def test_an_address_is_what_proxies_say_and_nobody_else() -> None:
    counted = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        counted.append(address_of(ASGIRequest(scope, BytesIO())))

    for peer in ("10.0.0.2", "203.0.113.9"):
        told = [(b"x-forwarded-for", b"198.51.100.7, 192.0.2.9")]
        scope = {"type": "http", "method": "POST", "path": LOGIN, "client": (peer, 1), "headers": told}
        await behind(networks(OURS_AND_PRIVATE), application)(scope, None, None)

    assert counted == ["192.0.2.9", "203.0.113.9"]


@pytest.mark.django_db(transaction=True)
def test_a_hundred_guesses_at_once_are_no_more_than_one_after_the_other(alice: User) -> None:
    def guess(_: int) -> int:
        try:
            status: int = sign_in(Client(), password="guess").status_code
            return status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(guess, range(24)))

    assert statuses.count(200) <= 6


def test_the_link_for_the_first_admin_makes_no_second_one() -> None:
    address = reverse("chat:setup", args=[SetupToken.issue()])
    guest = Client()
    assert guest.get(address).status_code == 200
    User.objects.create_superuser("alice")  # on the command line

    assert guest.get(address).status_code == 302
    assert SetupToken.redeem(address.split("/")[-2], "bob", NEW) is None
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_fifty_who_want_to_be_the_first_admin_at_once_one_is() -> None:
    address = reverse("chat:setup", args=[SetupToken.issue()])

    def begin(n: int) -> None:
        try:
            Client().post(address, {"username": f"somebody{n}", "password1": NEW, "password2": NEW})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50 if connection.vendor == "sqlite" else 15) as threads:
        list(threads.map(begin, range(50)))

    assert User.objects.filter(is_superuser=True).count() == User.objects.count() == 1


# ---------------------------------------------------------------- sessions


def test_a_person_sees_where_they_are_signed_in_and_signs_out_elsewhere(alice: User, charlie: User) -> None:
    here, there, everywhere = Client(headers={"user-agent": FIREFOX}), Client(), signed_in(alice)
    sign_in(here)
    sign_in(there)
    stranger = signed_in(charlie)
    page = here.get(reverse("people:account")).content.decode()
    assert "Firefox on Linux" in page
    assert page.count("This browser") == 1
    elsewhere = SignIn.objects.get(session=there.session.session_key)
    end = reverse("people:session_end", args=[elsewhere.pk])

    assert stranger.post(end).status_code == 404
    assert here.post(end).status_code == 302
    assert [is_in(client) for client in (here, there, everywhere, stranger)] == [True, False, True, True]
    here.post(reverse("people:sessions_end"))
    assert [is_in(client) for client in (here, everywhere, stranger)] == [True, False, True]


def test_a_session_that_nobody_uses_ends_and_so_does_one_that_is_old(alice: User, settings: Any) -> None:
    client = signed_in(alice)
    left = client.session.get_expiry_date() - timezone.now()
    assert abs(left - settings.SESSION_IDLE) < timedelta(minutes=1)
    old = client.session
    old["began"] = (timezone.now() - settings.SESSION_LIMIT + timedelta(hours=1)).timestamp()
    old["seen"] = (timezone.now() - timedelta(hours=1)).timestamp()
    old.save()

    assert is_in(client)
    assert client.session.get_expiry_date() - timezone.now() < timedelta(hours=1, minutes=1)
    old["began"] = (timezone.now() - settings.SESSION_LIMIT).timestamp()
    old.save()
    assert not is_in(client)
    assert not SignIn.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_another_password_signs_out_everywhere_else(alice: User) -> None:
    here, there = signed_in(alice), signed_in(alice)
    address = reverse("account_change_password")
    sent = {"old_password": "guess", **CHOSEN}
    assert here.post(address, sent).status_code == 422

    assert here.post(address, {**sent, "old_password": PASSWORD}).status_code == 302
    assert SignIn.objects.get().session_id == here.session.session_key
    assert (is_in(here), is_in(there)) == (True, False)
    assert sign_in(Client(), password=NEW).status_code == 302


def test_who_found_an_open_browser_cannot_guess_the_password_there(alice: User) -> None:
    here = signed_in(alice)
    sent = {"old_password": "guess", **CHOSEN}
    words = [here.post(reverse("account_change_password"), sent).content.decode() for _ in range(8)]

    assert "too many attempts" in words[-1]


def test_an_admin_who_sets_a_password_or_disables_somebody_ends_their_sessions(alice: User) -> None:
    for change in ({"password": make_password(NEW)}, {"is_active": False}):
        client = signed_in(User.objects.create_user(f"bob{len(change)}{next(iter(change))}", password=PASSWORD))
        bob = User.objects.get(pk=client.session["_auth_user_id"])
        for name, value in change.items():
            setattr(bob, name, value)
        bob.save()
        assert not is_in(client)


def test_a_disabled_account_has_no_sessions_left_when_it_is_switched_on_again(alice: User) -> None:
    client = signed_in(alice)
    for is_active in (False, True):
        alice.is_active = is_active
        alice.save()

    assert not is_in(client)


def test_a_name_can_be_changed_by_its_owner(alice: User) -> None:
    client, address = signed_in(alice), reverse("people:account_name")
    assert client.post(address, {"first_name": "Alice", "last_name": "Example"}).status_code == 302

    alice.refresh_from_db()
    assert alice.get_full_name() == "Alice Example"
    sent = {"first_name": "Alice", "is_staff": "on", "username": "root"}
    client.post(address, sent)
    alice.refresh_from_db()
    assert (alice.is_staff, alice.username) == (False, "alice")


@pytest.mark.parametrize(
    ("form", "route", "sent"),
    [
        (NameForm, "people:account_name", {"first_name": "Alice"}),
        (
            PasswordForm,
            "account_change_password",
            {"old_password": PASSWORD, **CHOSEN},
        ),
    ],
)
def test_who_is_switched_off_while_they_change_something_stays_so(
    form: Any, route: str, sent: dict[str, str], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, clean = signed_in(alice), form.clean

    def clean_slowly(form: Any) -> Any:
        User.objects.filter(pk=alice.pk).update(is_active=False)
        return clean(form)

    monkeypatch.setattr(form, "clean", clean_slowly)
    client.post(reverse(route), sent)

    changed = User.objects.get(pk=alice.pk)
    assert changed.first_name == "Alice" or changed.check_password(NEW)
    assert not changed.is_active


def test_what_strangers_leave_behind_is_swept_soon() -> None:
    client = Client(headers={"accept": "application/json"})
    client.get(reverse("mfa_login_webauthn"))

    assert Session.objects.get().expire_date - timezone.now() <= timedelta(hours=1)
    client.post(reverse("logout"))
    assert not Session.objects.exists()


def test_a_passkey_that_nobody_knows_is_refused_in_words(alice: User) -> None:
    client = Client()
    client.get(reverse("mfa_login_webauthn"), headers={"accept": "application/json"})
    for sent in ("", "{}", '{"response": {"userHandle": "MQ"}}', '{"id": 1}', "[]", '"x"'):
        answer = client.post(reverse("mfa_login_webauthn"), {"credential": sent}, follow=True)

        assert answer.request["PATH_INFO"] == LOGIN, sent
        assert not is_in(client)
    assert "This was not right." in answer.content.decode()
