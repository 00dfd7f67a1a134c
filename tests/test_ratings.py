"""What people think of answers: good, bad, or nothing."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from chat.models import Conversation, Message, User
from predictions.figures import figures_of
from predictions.models import Model, Prediction
from tests.browser import Open, send, violations
from tests.fake_replicate import FakeReplicate, Gate, Script

AS_JSON = {"accept": "application/json"}


def ask(owner: User, model: Model) -> Message:
    """Have `owner` ask in a new conversation; nobody answers."""
    return Conversation.begin(owner, "Name three rivers.", message_id=uuid.uuid4(), model=model).branch()[-1]


@pytest.fixture
def answer(alice: User, model: Model) -> Message:
    """An answer that alice got."""
    answer = ask(alice, model)
    ended = {"status": "succeeded", "output": "The Rhine.", "completed_at": timezone.now()}
    Prediction.objects.filter(pk=answer.prediction_id).update(**ended)
    return answer


def rate(client: Client, answer: Message, rating: Any, **options: Any) -> Any:
    return client.post(reverse("chat:message_rate", args=[answer.pk]), {"rating": rating}, **options)


def rating_of(answer: Message) -> int | None:
    return Prediction.objects.values_list("rating", flat=True).get(pk=answer.prediction_id)


def test_a_thumb_is_noted_changed_and_taken_back(page: Client, answer: Message) -> None:
    noted = []
    for rating in ("1", "-1", "-1", "0"):
        response = rate(page, answer, rating)
        noted.append(rating_of(answer))

    conversation = reverse("chat:conversation_detail", args=[answer.conversation_id])
    assert noted == [1, -1, -1, None]
    assert response["Location"] == f"{conversation}#message-{answer.pk}"
    assert rate(page, answer, "1", headers=AS_JSON).json()["conversation"] == str(answer.conversation_id)


def test_thumbs_are_counted_for_the_version_that_answered(page: Client, answer: Message, model: Model) -> None:
    version = model.versions.get()
    rate(page, answer, "1")
    assert (figures_of([version])[version.pk].liked, figures_of([version])[version.pk].disliked) == (1, 0)

    rate(page, answer, "-1")
    assert (figures_of([version])[version.pk].liked, figures_of([version])[version.pk].disliked) == (0, 1)


@pytest.mark.parametrize("rating", ["", "2", "1.0", "+1", " 1", "True", "1\x00", "9" * 10_000])
def test_anything_else_is_refused_in_words_and_changes_nothing(rating: str, page: Client, answer: Message) -> None:
    rate(page, answer, "1")
    shown, told = rate(page, answer, rating), rate(page, answer, rating, headers=AS_JSON)

    assert (shown.status_code, told.status_code) == (422, 422)
    assert "Nothing was noted" in shown.content.decode()
    assert "Nothing was noted" in told.json()["detail"]
    assert rating_of(answer) == 1


def test_an_answer_that_is_being_written_is_not_rated(page: Client, alice: User, model: Model) -> None:
    answer = ask(alice, model)
    response = rate(page, answer, "1", headers=AS_JSON)

    assert (response.status_code, rating_of(answer)) == (409, None)
    assert "still being written" in response.json()["detail"]


def test_only_whoever_asked_rates_an_answer(client: Client, charlie: User, answer: Message) -> None:
    assert rate(client, answer, "1").status_code == 302  # to the login page
    client.force_login(charlie)
    assert rate(client, answer, "1").status_code == 404
    assert rating_of(answer) is None


def test_a_rating_is_posted(page: Client, answer: Message) -> None:
    address = reverse("chat:message_rate", args=[answer.pk])

    assert page.get(address, {"rating": "1"}).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = page.cookies
    assert strict.post(address, {"rating": "1"}).status_code == 403
    assert rating_of(answer) is None


# ---------------------------------------------------------------- why


def why(client: Client, answer: Message, rating: str, reason: str = "", note: str = "", **options: Any) -> Any:
    said = {"rating": rating, "reason": reason, "note": note}
    return client.post(reverse("chat:message_rate", args=[answer.pk]), said, **options)


def said_of(answer: Message) -> Any:
    return Prediction.objects.values_list("rating", "rating_reason", "rating_note").get(pk=answer.prediction_id)


def test_a_reason_and_a_note_are_kept_with_the_thumb_and_go_with_it(page: Client, answer: Message) -> None:
    why(page, answer, "-1", "wrong", " It is the Danube. ")
    assert said_of(answer) == (-1, "wrong", "It is the Danube.")
    form = page.get(reverse("chat:message_reason", args=[answer.pk])).content.decode()
    assert 'value="wrong" checked' in form
    assert "It is the Danube." in form

    rate(page, answer, "1")
    assert said_of(answer) == (1, "", "")
    why(page, answer, "1", "clear")
    assert said_of(answer) == (1, "clear", "")
    why(page, answer, "0", "", "gone")
    assert said_of(answer) == (None, "", "")


@pytest.mark.parametrize(
    ("rating", "reason", "note"),
    [("1", "wrong", ""), ("-1", "clear", ""), ("0", "wrong", ""), ("-1", "WRONG", ""), ("-1", "", "x" * 501),
     ("-1", "", "\x00"), ("-1", "x" * 10_000, "")],
)  # fmt: skip
def test_what_is_no_reason_or_too_long_is_refused_in_words(
    rating: str, reason: str, note: str, page: Client, answer: Message
) -> None:
    rate(page, answer, "-1")
    response = why(page, answer, rating, reason, note, headers=AS_JSON)

    assert response.status_code == 422
    assert "Nothing was noted" in response.json()["detail"]
    assert said_of(answer) == (-1, "", "")


def test_nobody_is_asked_why_of_anothers_answer_or_of_one_that_is_not_rated(
    client: Client, alice: User, charlie: User, answer: Message
) -> None:
    address = reverse("chat:message_reason", args=[answer.pk])
    client.force_login(alice)
    assert client.get(address).status_code == 302
    rate(client, answer, "1")
    assert "What is good about it?" in client.get(address, headers=AS_JSON).json()["html"]
    client.force_login(charlie)
    assert client.get(address).status_code == 404


def test_admins_see_why_answers_are_thought_good_or_bad(
    page: Client, answer: Message, admin_client: Client, model: Model
) -> None:
    why(page, answer, "-1", "ignored", "I asked for three.")
    assert figures_of([model.versions.get()])[model.versions.get().pk].complaints == (("ignored", 1),)

    listed = admin_client.get(reverse("admin:predictions_prediction_changelist"), {"rating_reason": "ignored"})
    assert "Did not follow what I asked" in listed.content.decode()
    shown = admin_client.get(reverse("admin:predictions_prediction_change", args=[answer.prediction_id]))
    assert "I asked for three." in shown.content.decode()


# ---------------------------------------------------------------- in a browser


def thumb(page: Page, name: str) -> Any:
    return page.get_by_role("group", name="What you think of this answer").get_by_role("button", name=name)


def expect_pressed(page: Page, *, good: bool, bad: bool) -> None:
    expect(thumb(page, "Good answer")).to_have_attribute("aria-pressed", str(good).lower())
    expect(thumb(page, "Bad answer")).to_have_attribute("aria-pressed", str(bad).lower())


def test_thumbs_are_pressed_in_place_and_taken_back(open_page: Open, host: FakeReplicate) -> None:
    gate = Gate()
    host.script(Script(steps=["The Rhine flows", gate, " north."]))
    page = open_page()
    send(page, "Where does the Rhine flow?")
    expect(page.locator(".message--assistant")).to_contain_text("The Rhine flows")
    expect(thumb(page, "Good answer")).to_have_count(0)
    gate.open()
    expect_pressed(page, good=False, bad=False)
    page.evaluate("window.isTheSame = true")

    thumb(page, "Good answer").focus()
    page.keyboard.press("Enter")
    expect_pressed(page, good=True, bad=False)
    expect(thumb(page, "Good answer")).to_be_focused()
    found = violations(page)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += violations(page)
    thumb(page, "Bad answer").click()
    expect_pressed(page, good=False, bad=True)
    assert page.evaluate("window.isTheSame")
    assert found == []

    page.reload()
    expect_pressed(page, good=False, bad=True)
    thumb(page, "Bad answer").click()
    expect_pressed(page, good=False, bad=False)
    page.reload()
    expect_pressed(page, good=False, bad=False)


def test_thumbs_work_without_scripts(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=["The Danube."]))
    scripted = open_page()
    send(scripted, "Which river ends in the Black Sea?")
    expect(thumb(scripted, "Good answer")).to_be_visible()

    page = open_page(scripted.url, java_script_enabled=False)
    thumb(page, "Bad answer").click()
    expect_pressed(page, good=False, bad=True)
    thumb(page, "Good answer").click()
    expect_pressed(page, good=True, bad=False)
    thumb(page, "Good answer").click()
    expect_pressed(page, good=False, bad=False)


def test_a_stopped_answer_is_rated_on_a_phone(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(steps=["The Oder flows", Gate()]))
    page = open_page(viewport={"width": 390, "height": 800})
    send(page, "Which river flows through Frankfurt?")
    expect(page.locator(".message--assistant")).to_contain_text("The Oder flows")
    page.get_by_role("button", name="Stop").click()
    thumb(page, "Good answer").click()

    expect_pressed(page, good=True, bad=False)
    time = page.locator(".message__actions local-time").bounding_box()
    assert time["x"] + time["width"] <= 390  # type: ignore[index]


def test_a_thumb_that_does_not_arrive_says_so_and_is_not_pressed(open_page: Open, host: FakeReplicate) -> None:
    host.script(Script(chunks=["The Elbe."]))
    page = open_page()
    send(page, "Which river flows through Hamburg?")
    expect(thumb(page, "Good answer")).to_be_visible()
    page.route("**/rate/", lambda route: route.fulfill(status=200, content_type="text/html", body="<p>?</p>"))
    thumb(page, "Good answer").click()

    expect(page.get_by_text("Something went wrong on the server.")).to_be_visible()
    expect_pressed(page, good=False, bad=False)
    page.unroute("**/rate/")
    thumb(page, "Good answer").click()
    expect_pressed(page, good=True, bad=False)
    expect(page.get_by_text("Something went wrong on the server.")).to_have_count(0)
