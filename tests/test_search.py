"""What is found among messages, by whom, and in which order; and that nothing that is typed can be a mistake."""

import re
import unicodedata
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chat.models import Conversation, Message, SearchEntry, User
from chat.news import store_html
from chat.search import CANDIDATES, SHOWN, search, snippet
from chat.title_search import SHOWN as TITLES_SHOWN
from chat.title_search import search_titles
from chat.words import INDEXED, LONGEST_QUERY, MOST_PHRASES, Query, fold, words_of
from predictions.models import Model, Prediction

pytestmark = pytest.mark.django_db


def say(
    owner: User, model: Model, question: str, answer: str = "", conversation: Conversation | None = None
) -> Conversation:
    """Have a question answered, in a conversation of its own if need be."""
    sent: dict[str, Any] = {"message_id": uuid.uuid4(), "model": model}
    if conversation is None:
        conversation = Conversation.begin(owner, question, **sent)
    else:
        conversation.ask(question, **sent)
    prediction = conversation.branch()[-1].prediction
    assert prediction is not None
    Prediction.objects.filter(pk=prediction.pk).update(status="succeeded", output=answer)
    store_html(prediction.pk)
    return conversation


def found(user: User, text: str) -> list[str]:
    """The titles of the conversations of what is found."""
    return [hit.message.conversation.title for hit in search(user, text)]


# ---------------------------------------------------------------- what is found


def test_questions_and_answers_are_found_by_their_words(alice: User, model: Model) -> None:
    say(alice, model, "What is a quince?", "A yellow **fruit**, of the genus Cydonia.")

    hits = search(alice, "quince") + search(alice, "cydonia yellow")
    assert [(hit.message.role, hit.message.conversation.title) for hit in hits] == [
        ("user", "What is a quince?"),
        ("assistant", "What is a quince?"),
    ]
    assert [text for text, is_hit in hits[1].snippet if is_hit] == ["yellow", "Cydonia"]
    assert search(alice, "quince medlar") == []


def test_an_answer_is_found_once_it_has_ended(alice: User, model: Model) -> None:
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    prediction = conversation.branch()[-1].prediction
    assert prediction is not None
    before = found(alice, "persimmon")
    Prediction.objects.filter(pk=prediction.pk).update(status="succeeded", output="Persimmon.")
    store_html(prediction.pk)
    store_html(prediction.pk)

    assert (before, found(alice, "persimmon")) == ([], ["Hi"])


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The café in Orléans", "cafe orleans"),
        ("The cafe in Orleans", "CAFÉ"),
        ("Cafe\u0301 noir", "café"),
        ("ΑΘΗΝΑ by night", "αθηνα"),
        ("İstanbul", "istanbul"),
        ("call parse_all_rows(x)", "parse_all_rows"),
        ("call parse_all_rows(x)", "rows"),
        ("see https://example.org/a/quince.html", "quince"),
        ("see https://example.org/a/quince.html", "example.org"),
        ("me@example.org wrote", "me@example.org"),
        ("東京都に住んでいます", "京都"),
        ("東京タワー", '"東京" タワ'),
        ("Python 3.11 and C++", "3.11"),
        ("the internationalisation", "interna"),
        ("don't stop", "don't"),
        ("don’t stop", "don't"),
        ("NULL is not OR, NEAR or AND", "or near null and not"),
        ("x" * 200, "x" * 100),
    ],
)
def test_what_people_type_finds_what_they_mean(text: str, query: str, alice: User, model: Model) -> None:
    say(alice, model, text)

    [hit] = search(alice, query)
    assert any(is_hit for _, is_hit in hit.snippet)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The cart", "art"),  # no middle of a word
        ("Quinces", '"quince"'),  # in quotation marks no beginning of one
        ("red and green", '"green red"'),
        ("about", "ab"),  # too short to be a beginning
        ("A text", "owner_1"),
        ("A text", ""),
        ("A text", "  ?!  "),
    ],
)
def test_what_was_not_meant_is_not_found(text: str, query: str, alice: User, model: Model) -> None:
    say(alice, model, text)

    assert found(alice, query) == []


def test_the_best_come_first_then_the_newest(alice: User, model: Model) -> None:
    say(alice, model, "Green tea, old")
    say(alice, model, "Tea that is green")
    say(alice, model, "Green tea, new")
    say(alice, model, "Green tea, green tea and green tea")

    assert found(alice, "green tea") == [
        "Green tea, green tea and green tea",
        "Green tea, new",
        "Green tea, old",
        "Tea that is green",
    ]


def test_there_is_an_end_to_what_is_found_and_looked_at(
    alice: User, model: Model, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    conversation = say(alice, model, "tea")
    rows = [
        Message(conversation=conversation, role="user", text=f"tea {number}", ordinal=number + 10)
        for number in range(CANDIDATES + 20)
    ]
    for message in Message.objects.bulk_create(rows):
        SearchEntry.note(message)
    long = say(alice, model, "word " * 10 + "x " * INDEXED + "unreachable")

    with django_assert_max_num_queries(3):
        hits = search(alice, "tea")
    assert len(hits) == SHOWN
    assert hits[0].message.text == f"tea {CANDIDATES + 19}"
    assert found(alice, "unreachable") == []
    assert found(alice, "word") == [long.title]


# ---------------------------------------------------------------- by whom


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("quitten", True),
        ("herbst quitt", True),
        ('"im herbst"', True),
        ("STRASSE", False),
        ("straße", True),
        ("cafe", True),
        ("uitten", False),
        ('"herbst im"', False),
        ("quitten medlar", False),
        ("% _", False),
        ("", False),
    ],
)
def test_titles_are_found_as_messages_are(query: str, is_found: bool, alice: User, charlie: User) -> None:
    for owner, title in ((alice, "Apples"), (alice, "Quitten im Herbst, Café Straße"), (charlie, "Quitten im Herbst")):
        Conversation.objects.create(owner=owner, title=title)
    Conversation.objects.create(owner=alice, title="Quitten im Herbst", deleted_at=timezone.now())

    hits = search_titles(alice, query)
    assert [hit.conversation.title for hit in hits] == ["Quitten im Herbst, Café Straße"] * is_found
    assert all(any(is_hit for _, is_hit in hit.title) for hit in hits)


def test_a_title_among_very_many_is_found_in_two_queries(
    client: Client, alice: User, django_assert_num_queries: Any
) -> None:
    titles = [*(f"Talk {number}" for number in range(TITLES_SHOWN + 5)), "A quince\x1f\u2028\x85 <b>"]
    Conversation.objects.bulk_create(Conversation(owner=alice, title=title) for title in titles)
    with django_assert_num_queries(2):
        assert len(search_titles(alice, "talk")) == TITLES_SHOWN
    client.force_login(alice)
    page = client.get(reverse("chat:message_search"), {"q": "quince"}).content.decode()

    assert "1 title and 0 messages found." in page
    assert "A <mark>quince</mark>" in page
    assert "<b>" not in page


def test_nobody_finds_what_others_wrote(alice: User, charlie: User, model: Model) -> None:
    say(alice, model, "A secret quince")
    say(charlie, model, "A quince of charlie")

    assert found(charlie, "quince") == ["A quince of charlie"]
    assert found(charlie, "secret") == []


def test_what_is_deleted_is_not_found_and_what_is_archived_is_marked(client: Client, alice: User, model: Model) -> None:
    deleted, archived = say(alice, model, "Quince one"), say(alice, model, "Quince two")
    deleted.discard()
    archived.archive(archived=True)
    client.force_login(alice)
    html = client.get(reverse("chat:message_search"), {"q": "quince"}).content.decode().partition("<main")[2]

    assert ("Quince two" in html, "Archived ·" in html, "one" in html) == (True, True, False)
    deleted.restore()
    assert set(found(alice, "quince")) == {"Quince one", "Quince two"}
    deleted.delete()
    assert found(alice, "one") == []
    assert SearchEntry.objects.count() == 1
    if connection.vendor == "sqlite":  # PostgreSQL makes its index of the row itself
        with connection.cursor() as cursor:  # it raises an error if the index has other words than the table
            cursor.execute("INSERT INTO chat_search (chat_search, rank) VALUES ('integrity-check', 1)")


def test_whoever_has_nothing_finds_nothing(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "Nothing was found" in client.get("/search/", {"q": "quince"}).content.decode()


def test_a_hit_leads_to_its_message_and_is_never_markup(client: Client, alice: User, model: Model) -> None:
    conversation = say(alice, model, "Hi", "A <b onclick=x>quince</b> & <script>alert(1)</script>")
    answer = conversation.branch()[-1]
    client.force_login(alice)
    html = client.get(reverse("chat:message_search"), {"q": "quince<"}).content.decode()

    assert f"/conversations/{conversation.pk}/?message={answer.pk}#message-{answer.pk}" in html
    assert "&lt;b onclick=x&gt;<mark>quince</mark>&lt;/b&gt; &amp; &lt;script&gt;" in html
    assert 'value="quince&lt;"' in html


# ---------------------------------------------------------------- whatever is typed

ODD = st.text(st.one_of(st.characters(), st.sampled_from("\"'*():^-+&|!<>{}\\%_ \x00aAnd")), max_size=60)


@given(typed=st.one_of(ODD, st.sampled_from(["NEAR(a b", '"', "a AND", "* *", "owner_id : 1", "'x' & ", "a" * 500])))
def test_nothing_that_is_typed_is_a_mistake(typed: str) -> None:
    user, _ = User.objects.get_or_create(username="bob")
    Conversation.objects.get_or_create(owner=user, title="x")

    assert search(user, typed) == []


@given(typed=st.text(max_size=400))
def test_a_query_has_bounds(typed: str) -> None:
    query = Query.of(typed)

    assert len(query.phrases) <= MOST_PHRASES
    assert sum(len(word) for phrase in query.phrases for word in phrase) <= LONGEST_QUERY
    assert all(re.fullmatch(r"[^\W_]+", word) for phrase in query.phrases for word in phrase)


@given(text=st.text(max_size=300))
def test_folding_moves_no_character(text: str) -> None:
    assert len(fold(text)) == len(unicodedata.normalize("NFC", text))
    assert words_of(fold(text)) == words_of(text)


@given(text=st.text(max_size=300), typed=st.text(max_size=20))
def test_a_snippet_can_be_made_of_anything(text: str, typed: str) -> None:
    query = Query.of(typed)
    if query:
        pieces = list(snippet(text, query.pattern))
        assert sum(len(piece) for piece, _ in pieces) <= 300
