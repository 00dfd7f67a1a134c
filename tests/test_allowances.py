"""How much may be asked: of each person and of everybody, at once, in a minute and in a day; and the switch."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from chat.housekeeping import delete_discarded
from chat.models import Conversation, User
from chat.titles import note_end
from predictions import clock, comparisons, metrics
from predictions.models import Allowance, Comparison, Limits, Model, Prediction, Trial, Version
from predictions.models.limits import STOPPED
from predictions.pins import NothingAnswers
from tests.browser import Open, send, violations, visiting
from tests.conftest import make_model
from tests.people import signed_in as client_of
from tests.people import staff
from tests.site import Site
from tests.test_access import ways_of_asking

JSON = {"Accept": "application/json"}
ENDED = {"status": "canceled", "output": "An answer"}


def ask(user: User, model: Model) -> Conversation:
    return Conversation.begin(user, "Hi", message_id=uuid.uuid4(), model=model)


def refusal(user: User, model: Model) -> str:
    """Why `user` may not ask now."""
    with pytest.raises(NothingAnswers) as refused:
        ask(user, model)
    return str(refused.value)


@pytest.fixture
def conversation(alice: User, model: Model) -> Conversation:
    begun = ask(alice, model)
    Prediction.objects.update(**ENDED)
    return begun


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Have it be noon, and then later than that."""
    noon = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)

    def go(later: timedelta) -> None:
        monkeypatch.setattr(clock, "now", lambda: noon + later)

    go(timedelta())
    return go


# ---------------------------------------------------------------- the switch


@pytest.mark.django_db
def test_people_are_told_that_new_answers_are_stopped_before_they_write(
    page: Client, conversation: Conversation
) -> None:
    pages = [reverse("chat:home"), reverse("chat:conversation_detail", args=[conversation.pk])]
    Limits.objects.create(is_stopped=True, stop_words="Back at <b>noon</b>.")

    assert all("Back at &lt;b&gt;noon&lt;/b&gt;." in page.get(address).content.decode() for address in pages)
    Limits.objects.update(is_stopped=False)
    assert not any("Back at" in page.get(address).content.decode() for address in pages)


@pytest.mark.django_db
def test_who_may_see_the_limits_reads_on_the_overview_that_answers_are_stopped() -> None:
    keeper = staff("view_limits")

    def is_told(client: Client) -> bool:
        return "New answers are stopped." in client.get(reverse("admin:index")).content.decode()

    assert not is_told(keeper)
    Limits.objects.create(is_stopped=True)
    assert is_told(keeper)
    keeper.get(reverse("admin:index")).context["user"].user_permissions.clear()
    assert not is_told(keeper)


def every_way(client: Client, conversation: Conversation, model: Model) -> dict[str, Any]:
    question, answer = conversation.branch()
    edit, go_on = reverse("chat:message_edit", args=[question.pk]), reverse("chat:message_continue", args=[answer.pk])
    asked = ways_of_asking(client, conversation, model)
    for name, address, fields in (("edit", edit, {"text": "Or?"}), ("continue", go_on, {})):
        sent = {**fields, "model": model.slug, "id": str(uuid.uuid4())}
        asked[f"{name} by form"] = client.post(address, sent)
        asked[f"{name} by script"] = client.post(address, sent, headers=JSON)
    return asked


@pytest.mark.django_db
def test_the_switch_refuses_every_way_of_asking_in_words_and_writes_nothing(
    alice: User, model: Model, conversation: Conversation
) -> None:
    Limits.objects.create(is_stopped=True, stop_words="The budget is spent. It goes on in December.")

    told = every_way(client_of(alice), conversation, model)

    assert len(told) == 12
    for name, response in told.items():
        assert response.status_code in {409, 422}, name
        assert "The budget is spent. It goes on in December." in response.content.decode(), name
    for name in ("begin by form", "go on by form"):
        assert re.search(r"<textarea[^>]*>\s*And\?</textarea>", told[name].content.decode()), name
    assert (Prediction.objects.count(), Conversation.objects.count()) == (1, 1)


@pytest.mark.django_db
def test_what_was_asked_before_the_switch_goes_on_and_all_goes_on_after_it(alice: User, model: Model) -> None:
    running = ask(alice, model)
    limits = Limits.objects.create(is_stopped=True)
    assert refusal(alice, model) == STOPPED
    assert running.branch()[-1].is_running

    limits.is_stopped = False
    limits.save()
    ask(alice, model)


@pytest.mark.django_db
def test_the_switch_holds_for_comparisons_tries_and_titles(
    alice: User, model: Model, conversation: Conversation
) -> None:
    other = Version.objects.create(model=model, identifier="other", openapi_schema=model.versions.get().openapi_schema)
    boss = User.objects.create_superuser("bob", password="battery staple")
    client = client_of(boss)
    before = comparisons.begin(
        [comparisons.Case(title="Hi", turns=[{"role": "user", "text": "Hi"}])], [other], user=boss
    )
    make_model(model.provider, "acme/titler", is_official=True, makes_titles=True)
    Limits.objects.create(is_stopped=True)
    count = Prediction.objects.count()

    again = client.post(reverse("admin:predictions_comparison_again", args=[before.pk]), follow=True)
    tried = client.post(
        reverse("admin:predictions_model_try", args=[model.pk]),
        {"try_prompt": "Hi", "name": "Llama", "order": "1"},
        headers=JSON,
    )
    note_end(conversation.branch()[-1].prediction_id)  # type: ignore[arg-type]

    assert f"Nothing was run. {STOPPED}" in again.content.decode()
    assert (tried.status_code, STOPPED in tried.content.decode()) == (422, True)
    assert (Prediction.objects.count(), Comparison.objects.count(), Trial.objects.count()) == (count, 1, 1)


# ---------------------------------------------------------------- at once, and in a minute


@pytest.mark.django_db
def test_a_person_has_so_many_answers_at_once(alice: User, charlie: User, model: Model, settings: Any) -> None:
    settings.ANSWERS_AT_ONCE = 2
    running = [ask(alice, model) for _ in range(2)]
    assert refusal(alice, model).startswith("2 of your answers are being written")
    ask(charlie, model)

    Prediction.objects.filter(message__conversation=running[0]).update(**ENDED)
    ask(alice, model)


@pytest.mark.django_db
def test_a_person_sends_so_many_messages_in_a_minute_and_is_told_when_to_go_on(
    alice: User, charlie: User, model: Model, settings: Any, at: Callable[[timedelta], None]
) -> None:
    settings.MESSAGES_PER_MINUTE = 3
    for _ in range(3):
        ask(alice, model)
    before = metrics.REFUSED.labels("pace")._value.get()
    assert refusal(alice, model) == "You have sent a lot within a minute. Send this again in 20 seconds."
    assert metrics.REFUSED.labels("pace")._value.get() == before + 1
    ask(charlie, model)

    at(timedelta(seconds=20))
    ask(alice, model)
    assert "in 20 seconds" in refusal(alice, model)


@pytest.mark.django_db
def test_a_message_that_is_sent_twice_counts_once(alice: User, model: Model) -> None:
    key = uuid.uuid4()
    for _ in range(3):
        Conversation.begin(alice, "Hi", message_id=key, model=model)

    assert Allowance.objects.get(user=alice).answers == 1


@pytest.mark.django_db
def test_a_message_is_as_long_as_it_may_be_and_not_longer(alice: User, model: Model, settings: Any) -> None:
    client, most = client_of(alice), settings.MESSAGE_LIMIT

    def post(text: str) -> Any:
        sent = {"id": str(uuid.uuid4()), "text": text, "model": model.slug}
        return client.post(reverse("chat:conversation_create"), sent, headers=JSON)

    assert post("x" * most).status_code == 201
    assert post("x\r\n" * (most // 2)).status_code == 201  # as browsers send line ends
    refused = post("x" * (most + 1))
    assert (refused.status_code, f"at most {most} characters" in refused.content.decode()) == (422, True)
    assert Prediction.objects.count() == 2


# ---------------------------------------------------------------- in a day


@pytest.mark.django_db
def test_a_person_has_so_many_answers_in_a_day(
    alice: User, charlie: User, model: Model, at: Callable[[timedelta], None]
) -> None:
    Limits.objects.create(person_answers=2)
    ask(alice, model)
    ask(alice, model)
    assert refusal(alice, model) == (
        "You have had as many answers today as one person may have. You can go on at 00:00 UTC, in 12 hours."
    )
    ask(charlie, model)

    at(timedelta(hours=12))
    ask(alice, model)
    assert Allowance.objects.get(user=alice).answers == 1


@pytest.mark.django_db
def test_everybody_together_has_so_many_answers_in_a_day_titles_among_them(
    alice: User, charlie: User, model: Model, conversation: Conversation
) -> None:
    make_model(model.provider, "acme/titler", is_official=True, makes_titles=True)
    note_end(conversation.branch()[-1].prediction_id)  # type: ignore[arg-type]
    assert Prediction.objects.filter(is_background=True).count() == 1
    assert Allowance.objects.get(user=alice).answers == 1
    Limits.objects.create(site_answers=3)

    ask(charlie, model)
    assert refusal(charlie, model).startswith("This site has given as many answers today as it may.")
    assert refusal(alice, model).startswith("This site has given as many answers today as it may.")


@pytest.mark.django_db
def test_a_comparison_that_is_too_much_for_the_day_asks_nothing(alice: User, model: Model) -> None:
    Limits.objects.create(person_answers=1)
    schema = model.versions.get().openapi_schema
    versions = [Version.objects.create(model=model, identifier=name, openapi_schema=schema) for name in ("a", "b")]
    case = comparisons.Case(title="Hi", turns=[{"role": "user", "text": "Hi"}])

    with pytest.raises(NothingAnswers):
        comparisons.begin([case], versions, user=alice)
    assert (Prediction.objects.count(), Comparison.objects.count(), Allowance.objects.count()) == (0, 0, 0)


@pytest.mark.django_db
def test_what_answers_have_cost_counts_and_to_delete_them_gives_nothing_back(
    alice: User, charlie: User, model: Model, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Limits.objects.create(person_cost="0.10", site_cost="0.30")
    Prediction.objects.update(cost=Decimal("0.09"))
    second = ask(alice, model)
    Prediction.objects.filter(message__conversation=second).update(**ENDED, cost=Decimal("0.02"))
    assert refusal(alice, model).startswith("You have had as many answers today")

    Conversation.objects.update(deleted_at=clock.now() - timedelta(hours=2))
    delete_discarded()
    assert Prediction.objects.count() == 0
    assert refusal(alice, model).startswith("You have had as many answers today")

    dear = ask(charlie, model)
    Limits.objects.update(person_cost=None)
    Prediction.objects.filter(message__conversation=dear).update(**ENDED, cost=Decimal("0.19"))
    assert refusal(charlie, model).startswith("This site has given as many answers today")


# ---------------------------------------------------------------- the admin's page


@pytest.mark.django_db
def test_there_is_one_page_of_limits_and_it_takes_a_right() -> None:
    client = staff("view_limits", "add_limits", "change_limits")
    page = reverse("admin:predictions_limits_changelist")
    begun = client.post(client.get(page)["Location"], {"person_answers": "20"})
    assert begun.status_code == 302

    change = client.get(page)["Location"]
    assert client.post(change, {"person_answers": "", "is_stopped": "on"}).status_code == 302
    assert client.get(reverse("admin:predictions_limits_add"))["Location"] == change
    limits = Limits.objects.get()
    assert (limits.is_stopped, limits.person_answers) == (True, None)

    User.objects.get(username="bob").user_permissions.clear()
    assert client.get(page).status_code == 403


@pytest.mark.django_db
def test_two_who_set_limits_for_the_first_time_at_once_leave_one_row() -> None:
    Limits(person_answers=20).save()
    Limits(is_stopped=True).save()

    assert Limits.objects.get().is_stopped


@pytest.fixture
def open_page(browser: Browser, site: Site, signed_in: Any) -> Iterator[Open]:
    with visiting(browser, site.url, signed_in, harmless=("422",)) as open_page:  # a refusal, which it speaks of
        yield open_page


def test_an_admin_stops_all_new_answers_and_the_text_stays_in_the_box(open_page: Open) -> None:
    chat, admin = open_page("/"), open_page("/admin/predictions/limits/add/")
    admin.get_by_label("stop all new answers").check()
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin).to_have_url(re.compile("/admin/$"))

    told = open_page("/")
    expect(told.get_by_text("New answers are stopped for now.")).to_be_visible()
    assert violations(told) == []
    send(chat, "Will you?")
    expect(chat.get_by_text("New answers are stopped for now.")).to_be_visible()
    assert box(chat) == "Will you?"

    admin.goto("/admin/predictions/limits/")
    admin.get_by_label("stop all new answers").uncheck()
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin).to_have_url(re.compile("/admin/$"))
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator("answer-text")).to_be_visible()


def box(page: Page) -> str:
    return page.get_by_role("textbox", name="Message").input_value()
