"""The list of conversations: its groups, its marks, and what people do with a conversation as a whole."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chat import sidebar
from chat.housekeeping import delete_discarded
from chat.models import Conversation, Message, User
from chat.sidebar import label_of, zone_named
from predictions.database import query
from predictions.models import File, Model, Prediction
from tests.test_pages import add_file, begin, finish, read
from tests.test_socket import a_tab

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(hours=2)


@pytest.fixture
def conversation(page: Client, model: Model) -> Conversation:
    """One that was begun and answered."""
    begun = begin(page, model, "What is a quince?")
    finish(begun, "A fruit.")
    return begun


def do(page: Client, name: str, conversation: Conversation, **fields: str) -> HttpResponse:
    return page.post(reverse(f"chat:conversation_{name}", args=[conversation.pk]), fields)  # type: ignore[return-value]


def listed(page: Client, **query: str) -> str:
    return page.get(reverse("chat:sidebar_part"), query).content.decode()


def make_many(owner: User, count: int) -> list[Conversation]:
    """Make conversations of which each is an hour older than the one before it."""
    now = timezone.now()
    rows = [
        Conversation(owner=owner, title=f"Talk {number}", updated_at=now - timedelta(hours=number))
        for number in range(count)
    ]
    return Conversation.objects.bulk_create(rows)


# ---------------------------------------------------------------- groups and pages


@pytest.mark.parametrize(
    ("day", "label"),
    [
        (date(2026, 3, 15), "Today"),
        (date(2026, 3, 16), "Today"),  # of a clock that is ahead
        (date(2026, 3, 14), "Yesterday"),
        (date(2026, 3, 8), "Last 7 days"),
        (date(2026, 3, 7), "Last 30 days"),
        (date(2026, 2, 13), "Last 30 days"),
        (date(2026, 2, 12), "February 2026"),
        (date(2025, 3, 15), "March 2025"),
    ],
)
def test_conversations_are_grouped_by_date(day: date, label: str) -> None:
    assert label_of(day, today=date(2026, 3, 15)) == label


def test_days_begin_where_the_reader_is(page: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    Conversation.objects.create(owner=alice, title="Late", updated_at=datetime(2026, 3, 14, 23, 30, tzinfo=UTC))
    monkeypatch.setattr("predictions.clock.now", lambda: datetime(2026, 3, 15, 9, tzinfo=UTC))

    in_utc = listed(page)
    page.cookies["zone"] = "Europe/Berlin"
    in_berlin = listed(page)

    assert ("Yesterday" in in_utc, "Today" in in_utc) == (True, False)
    assert ("Yesterday" in in_berlin, "Today" in in_berlin) == (False, True)


@given(name=st.one_of(st.text(max_size=40), st.sampled_from(["../../etc/passwd", "/etc", "Europe", "UTC/", "a/b/c/d"])))
def test_whatever_a_browser_calls_its_zone_there_is_one(name: str) -> None:
    assert datetime.now(zone_named(name)).tzinfo is not None


def test_the_list_comes_by_page_and_no_conversation_is_missing_or_twice(page: Client, alice: User) -> None:
    made = make_many(alice, 2 * sidebar.PAGE + 5)
    Conversation.objects.update(updated_at=made[0].updated_at)  # ties, too, have an order

    seen: list[Conversation] = []
    cursor = ""
    for _ in range(4):
        read_page = sidebar.next_page(alice, cursor)
        seen += read_page.others
        cursor = read_page.older
        if not cursor:
            break
    first, plain = listed(page), page.get(reverse("chat:conversation_older")).content.decode()

    assert len(seen) == len(made) == len(set(seen))
    assert first.count("data-conversation") == plain.partition("<main")[2].count("data-conversation") == sidebar.PAGE
    assert "Older conversations" in first


@given(cursor=st.text(max_size=80))
def test_an_odd_cursor_leaves_out_nothing(cursor: str) -> None:
    older = sidebar.older_than(Conversation.objects.all(), cursor)  # type: ignore[arg-type]

    assert not older.query.where


def test_the_list_takes_one_query_however_long_it_is(alice: User, django_assert_num_queries: Any) -> None:
    make_many(alice, 150)

    with django_assert_num_queries(1):
        shown = sidebar.first_page(alice)
        assert len(shown.groups(UTC)) >= 2
    assert len(shown.all) == sidebar.PAGE


# ---------------------------------------------------------------- pin, rename, archive


def test_a_pinned_conversation_stands_above_all_others(page: Client, conversation: Conversation, alice: User) -> None:
    make_many(alice, 2)
    do(page, "pin", conversation, pinned="1")
    pinned = listed(page)
    do(page, "pin", conversation, pinned="0")

    assert pinned.index("Pinned") < pinned.index("What is a quince?") < pinned.index("Talk 0")
    assert pinned.count(f'data-conversation="{conversation.pk}"') == 1
    assert "Pinned" not in listed(page)


def test_a_new_title_stays_whatever_is_asked_next(page: Client, conversation: Conversation, model: Model) -> None:
    answer = do(page, "rename", conversation, title="  Fruit <b> of\n autumn ")
    conversation.refresh_from_db()
    conversation.ask("And a medlar?", message_id=uuid.uuid4(), model=model)

    assert answer["Location"] == reverse("chat:conversation_detail", args=[conversation.pk])
    assert "Fruit &lt;b&gt; of autumn" in read(page, conversation)
    assert "What is a quince?</span>" not in listed(page)


@pytest.mark.parametrize("title", ["", "  ", "x" * 61])
def test_a_bad_title_is_refused_in_words(title: str, page: Client, conversation: Conversation) -> None:
    address = reverse("chat:conversation_rename", args=[conversation.pk])
    refused = page.post(address, {"title": title}, headers={"accept": "application/json"})
    plain = page.post(address, {"title": title})

    assert (refused.status_code, plain.status_code) == (422, 422)
    assert "title" in refused.json()["errors"]["title"][0]
    assert refused.json()["errors"]["title"][0] in plain.content.decode()


def test_an_archived_conversation_leaves_the_list_and_can_come_back(page: Client, conversation: Conversation) -> None:
    do(page, "archive", conversation, archived="1")
    gone, archive = listed(page), page.get(reverse("chat:conversation_archived")).content.decode()
    readable = read(page, conversation)
    do(page, "archive", conversation, archived="0")

    assert str(conversation.pk) not in gone
    assert f'data-conversation="{conversation.pk}"' in archive
    assert "Unarchive" in archive
    assert "A fruit." in readable
    assert str(conversation.pk) in listed(page)


def test_all_of_it_can_be_done_without_scripts(page: Client, conversation: Conversation) -> None:
    manage = page.get(reverse("chat:conversation_manage", args=[conversation.pk])).content.decode()

    for place in ("rename/", "pin/", "archive/", "delete/"):
        assert f"/conversations/{conversation.pk}/{place}" in manage
    assert f"/conversations/{conversation.pk}/manage/" in listed(page)


# ---------------------------------------------------------------- delete


def test_a_deleted_conversation_is_gone_from_everywhere_until_it_is_had_back(
    page: Client, conversation: Conversation, alice: User
) -> None:
    answer = conversation.branch()[-1]
    file = add_file(answer, content=ContentFile(b"a picture", name="x"), size=9)
    places = [
        reverse("chat:conversation_detail", args=[conversation.pk]),
        reverse("chat:conversation_manage", args=[conversation.pk]),
        reverse("chat:receipt_detail", args=[answer.pk]),
    ]
    content = reverse("file_detail", args=[file.pk])

    def statuses() -> list[int]:
        return [*(page.get(place).status_code for place in places), page.head(content).status_code]

    before = statuses()
    deleted = do(page, "delete", conversation)
    home = page.get(deleted["Location"]).content.decode()
    after = statuses()
    list_without, writing = listed(page), do(page, "pin", conversation).status_code
    back = page.post(reverse("chat:conversation_restore", args=[conversation.pk]))

    assert "Deleted." in home
    assert reverse("chat:conversation_restore", args=[conversation.pk]) in home
    assert (before, after) == ([200] * 4, [404] * 4)
    assert writing == 404
    assert str(conversation.pk) not in list_without
    assert back["Location"] == places[0]
    assert page.get(places[0]).status_code == 200
    assert str(conversation.pk) in listed(page)


def test_deleting_stops_an_answer_that_is_being_written(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    Prediction.objects.update(status="processing", asked_at=timezone.now(), leased_until=timezone.now())
    do(page, "delete", conversation)

    assert Prediction.objects.get().cancel_requested_at is not None


def test_a_sweep_deletes_for_good_what_was_deleted_an_hour_ago(
    page: Client, conversation: Conversation, model: Model
) -> None:
    kept = begin(page, model, "Keep me")
    recent = begin(page, model, "Deleted just now")
    file = add_file(conversation.branch()[-1])
    for each in (conversation, recent):
        do(page, "delete", each)
    Conversation.objects.filter(pk=conversation.pk).update(deleted_at=timezone.now() - LONG_AGO)
    delete_discarded()
    delete_discarded()

    assert set(Conversation.objects.all()) == {kept, recent}
    assert set(Message.objects.values_list("conversation", flat=True)) == {kept.pk, recent.pk}
    assert Prediction.objects.count() == 2
    assert not File.objects.filter(pk=file.pk).exists()
    assert do(page, "restore", conversation).status_code == 404


def test_a_sweep_stops_what_is_still_written_before_it_deletes(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    Prediction.objects.update(status="processing", asked_at=timezone.now())
    Conversation.objects.update(deleted_at=timezone.now() - LONG_AGO)
    delete_discarded()
    asked_to_stop = Prediction.objects.get().cancel_requested_at
    Prediction.objects.update(status="canceled")
    delete_discarded()

    assert asked_to_stop is not None
    assert not Conversation.objects.filter(pk=conversation.pk).exists()
    assert not Prediction.objects.exists()


def test_nobody_touches_anothers_conversation(
    page: Client, conversation: Conversation, charlie: User, client: Client
) -> None:
    do(page, "delete", conversation)
    client.force_login(charlie)
    back = do(client, "restore", conversation).status_code
    offered = client.get(f"/?deleted={conversation.pk}").content.decode()
    Conversation.objects.update(deleted_at=None)
    names = ("rename", "pin", "archive", "delete", "read")
    statuses = [do(client, name, conversation, title="Mine").status_code for name in names]
    managed = client.get(reverse("chat:conversation_manage", args=[conversation.pk])).status_code

    assert (back, managed) == (404, 404)
    assert statuses == [404] * len(names)
    assert reverse("chat:conversation_restore", args=[conversation.pk]) not in offered
    assert str(conversation.pk) not in listed(client)


# ---------------------------------------------------------------- marks


def test_a_mark_says_what_is_written_and_what_nobody_has_looked_at(page: Client, model: Model) -> None:
    conversation = begin(page, model)
    running = listed(page)
    do(page, "read", conversation)
    finish(conversation)
    unread = listed(page)
    do(page, "read", conversation)
    seen = listed(page)

    assert ("mark--running" in running, "mark--unread" in running) == (True, False)
    assert ("mark--running" in unread, "mark--unread" in unread) == (False, True)
    assert "mark--" not in seen


@pytest.mark.django_db(transaction=True)
async def test_every_page_is_told_what_happens_to_the_list(alice: User, charlie: User, model: Model) -> None:
    def ask() -> Conversation:
        return Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)

    async with a_tab(alice) as one, a_tab(alice) as two, a_tab(charlie) as other:
        for tab in (one, two, other):
            await tab.send(type="sidebar")
        empty = [await tab.next("sidebar") for tab in (one, two, other)]
        conversation = await query(ask)
        begun = [await tab.next("sidebar") for tab in (one, two)]
        await query(finish, conversation)
        await query(conversation.tell_owner)
        ended = [await tab.next("sidebar") for tab in (one, two)]
        await query(conversation.note_read)
        seen = [await tab.next("sidebar") for tab in (one, two)]
        await query(conversation.discard)
        gone = [await tab.next("sidebar") for tab in (one, two)]
        await other.send(type="sidebar")

        assert await other.next("sidebar") == empty[2]
    assert begun[0] == begun[1] != empty[0]
    assert [frame["unread"] for frame in (begun[0], ended[0], ended[1], seen[0])] == [
        [],
        [str(conversation.pk)],
        [str(conversation.pk)],
        [],
    ]
    assert gone[0] == empty[0]


async def test_the_end_of_an_answer_is_told(alice: User, model: Model, worker: Any, fake: Any) -> None:
    async with a_tab(alice) as tab:
        await tab.send(type="sidebar")
        await tab.next("sidebar")
        conversation = await query(Conversation.begin, alice, "Hi", message_id=uuid.uuid4(), model=model)
        frames = [await tab.next("sidebar"), await tab.next("sidebar")]

        assert [frame["unread"] for frame in frames] == [[], [str(conversation.pk)]]
