"""Pins in the admin, as an admin works: what answers, what would change, deciding, rolling back, and alarms."""

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect

from chat.models import User
from predictions.models import Model, Pin, Provider, Version
from predictions.pins import NothingAnswers, choose
from predictions.standing import answering, latest_of, standings
from tests.browser import chromium, in_both_themes, visiting
from tests.fake_replicate import CHAT_SCHEMA
from tests.people import signed_in, with_rights

pytestmark = pytest.mark.django_db

OVERVIEW = "/admin/predictions/pin/"
RELEASED = datetime(2026, 3, 1, tzinfo=UTC)


def changed_schema() -> dict[str, Any]:
    """What CHAT_SCHEMA describes, but without a temperature, and with another default."""
    schema = copy.deepcopy(dict(CHAT_SCHEMA))
    inputs = schema["components"]["schemas"]["Input"]["properties"]
    del inputs["temperature"]
    inputs["max_tokens"]["default"] = 1_024
    inputs["min_p"] = {"title": "Min P", "type": "number", "default": 0.05, "x-order": 4}
    return schema


@pytest.fixture
def old(model: Model) -> Version:
    model.versions.update(identifier="a" * 64, released_at=RELEASED, openapi_schema=CHAT_SCHEMA)
    Model.objects.filter(pk=model.pk).update(default_input={"temperature": 0.2})
    return model.versions.get()


@pytest.fixture
def new(model: Model, old: Version) -> Version:
    """The latest version, which breaks something."""
    return model.versions.create(
        identifier="f" * 64,
        openapi_schema=changed_schema(),
        released_at=RELEASED + timedelta(days=10),
        latest_at=timezone.now(),
    )


@pytest.fixture
def admin(alice: User) -> Client:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    return signed_in(alice)


@pytest.fixture
def onlooker(charlie: User) -> Client:
    """Somebody who may look at the pins and decide nothing."""
    return signed_in(with_rights(charlie, "view_pin"))


def lose(version: Version) -> None:
    Version.objects.filter(pk=version.pk).update(gone_at=timezone.now(), gone_because="It was deleted.")


def pin(model: Model, version: Version | None, environment: str = "production", **decision: Any) -> Pin:
    return model.pins.create(environment=environment, version=version, **decision)


def text_of(client: Client, address: str, **asked: Any) -> str:
    return words(client.get(address, asked))


def words(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def model_page(model: Model) -> str:
    return reverse("admin:predictions_pin_model", args=[model.pk])


def diff_page(model: Model) -> str:
    return reverse("admin:predictions_pin_diff", args=[model.pk])


def decide_page(model: Model, version: Version | None, environment: str = "production") -> str:
    address = reverse("admin:predictions_pin_decide", args=[model.pk, environment])
    return f"{address}?version={version.pk if version else 'latest'}"


def decide(client: Client, model: Model, version: Version | None, seen: Pin | None = None, **fields: Any) -> Any:
    decision = {"seen": seen.pk if seen else "", "reason": "It is better.", **fields}
    return client.post(decide_page(model, version), decision, follow=True)


def roll_back(client: Client, to: Pin, seen: Pin | None, reason: str = "It rambles.") -> Any:
    address = reverse("admin:predictions_pin_restore", args=[to.pk])
    return client.post(address, {"seen": seen.pk if seen else "", "reason": reason}, follow=True)


# ---------------------------------------------------------------- what answers


def test_the_page_says_what_answers_in_each_environment(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    testers = Group.objects.create(name="testers")
    pin(model, old, candidate=new, candidate_share=10, candidate_group=testers)
    pin(model, None, "staging")
    text = text_of(admin, model_page(model))

    assert "Production This Parley Answers now aaaaaaaaaaaa Pinned" in text
    assert "ffffffffffff for the group testers 10 % of new conversations" in text
    assert "1 newer version" in text
    assert "Staging Answers now ffffffffffff Tracks latest" in text
    assert "Development Answers now ffffffffffff Latest" in text


def test_a_model_without_a_pin_in_production_is_warned_of(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    warning = "No version is pinned in production."
    assert warning in text_of(admin, model_page(model))
    pin(model, old)
    assert warning not in text_of(admin, model_page(model))


def test_a_fallback_in_use_and_a_gap_are_said(admin: Client, model: Model, old: Version, new: Version) -> None:
    pin(model, old, fallback=new)
    pin(model, old, "staging")
    lose(old)
    text = text_of(admin, model_page(model))

    assert "A fallback answers in production." in text
    assert "It was deleted." in text
    assert "Nothing answers in staging." in text


def test_the_overview_finds_models(admin: Client, model: Model, painter: Model) -> None:
    assert model.name in text_of(admin, OVERVIEW)
    text = text_of(admin, OVERVIEW, q="paint")
    assert painter.name in text
    assert model.name not in text
    assert "No model is called that" in text_of(admin, OVERVIEW, q="nothing like this")


@pytest.mark.parametrize("lost", [(), ("old",), ("new",), ("old", "new"), ("old", "other"), ("old", "new", "other")])
@pytest.mark.parametrize(
    "decision",
    [
        *(None, {}, {"version": "old"}, {"version": "old", "fallback": "other"}),
        {"version": "old", "falls_back_to_latest": True},
        {"version": "old", "fallback": "other", "falls_back_to_latest": True},
    ],
)
def test_the_pages_say_what_people_get(
    decision: dict[str, Any] | None, lost: tuple[str, ...], model: Model, old: Version, new: Version
) -> None:
    other = model.versions.create(identifier="e" * 64, released_at=RELEASED - timedelta(days=10))
    versions = {"old": old, "new": new, "other": other}
    if decision is not None:
        pin(model, **{"version": None} | {name: versions.get(value, value) for name, value in decision.items()})
    for name in lost:
        lose(versions[name])

    here = standings([model])[model.pk]["production"]
    try:
        choice = choose(model)
    except NothingAnswers:
        assert (here.version, here.chosen) == (None, None)
    else:
        assert (here.version, here.chosen) == (choice.version, choice.chosen)
    assert answering(here.pin, latest_of([model]).first) == (here.version, here.chosen)


# ---------------------------------------------------------------- what changes


def test_the_list_of_versions_marks_what_breaks(admin: Client, model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    text = text_of(admin, model_page(model))
    assert "ffffffffffff Newer" in text
    assert "3 changes in ffffffffffff 1 breaking hits 1 of your parameters" in text


def test_the_diff_of_two_versions_reads_in_words(admin: Client, model: Model, old: Version, new: Version) -> None:
    response = admin.get(diff_page(model), {"from": old.pk, "to": new.pk})
    text = words(response)
    assert "Breaking “temperature” is gone" in text
    assert "It is set to 0.2 today." in text
    assert "The default of “max_tokens” changes from 512 to 1024." in text
    assert "“min_p” is new" in text
    assert f"Pin {new.short} in staging" in text


def test_the_diff_takes_versions_of_this_model_alone(
    admin: Client, model: Model, painter: Model, old: Version, new: Version
) -> None:
    theirs = painter.versions.get()
    for odd in (theirs.pk, 10**30, "x", "²"):
        assert admin.get(diff_page(model), {"from": old.pk, "to": odd}).status_code == 404


def test_two_versions_that_are_asked_alike_are_said_to_be(admin: Client, model: Model, old: Version) -> None:
    twin = model.versions.create(identifier="b" * 64, openapi_schema=CHAT_SCHEMA)
    assert "Same inputs, same output" in text_of(admin, diff_page(model), **{"from": old.pk, "to": twin.pk})


# ---------------------------------------------------------------- deciding


def test_the_diff_is_shown_before_a_version_is_pinned(admin: Client, model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    text = text_of(admin, decide_page(model, new))
    assert "“temperature” is gone" in text
    assert "Pin ffffffffffff in production" in text
    assert model.pins.count() == 1


def test_who_pins_a_version_is_in_the_history_with_the_reason(
    admin: Client, alice: User, model: Model, old: Version, new: Version
) -> None:
    first = pin(model, old)
    response = decide(
        admin, model, new, first, fallback=old.pk, falls_back_to_latest="on", moves_conversations="on", reason="Cheaper"
    )

    newest = Pin.objects.newest(model, "production")
    assert newest is not None
    assert (newest.version, newest.fallback, newest.falls_back_to_latest) == (new, old, True)
    assert (newest.created_by, newest.reason, newest.replaces, newest.moves_conversations) == (
        *(alice, "Cheaper", first),
        True,
    )
    text = words(response)
    assert "aaaaaaaaaaaa → ffffffffffff Counts now alice" in text
    assert "Cheaper Fallback: none → aaaaaaaaaaaa" in text
    assert "Latest as the last resort: no → yes" in text
    assert "Open conversations moved along" in text


def test_the_first_pin_and_tracking_the_latest_are_decisions(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    decide(admin, model, old)
    first = Pin.objects.newest(model, "production")
    assert "aaaaaaaaaaaa → latest" in words(decide(admin, model, None, first))
    assert choose(model).version == new


def test_a_new_pin_takes_over_what_stands_beside_the_version(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    pin(model, old, fallback=new, falls_back_to_latest=True, candidate=new, candidate_share=10)
    same = admin.get(decide_page(model, old)).content.decode()
    assert f'<option value="{new.pk}" selected>' in same
    assert 'value="10"' in same
    for promoted in (new, None):
        page = admin.get(decide_page(model, promoted)).content.decode()
        assert f'<option value="{new.pk}" selected>' not in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"candidate_share": 10}, "Choose the version that is to be tried out."),
        ({"candidate": "new"}, "Say how many percent it answers"),
        ({"candidate": "new", "candidate_share": 101}, "less than or equal to 100"),
        ({"candidate": "old", "candidate_share": 10}, "This version answers everybody then"),
        ({"fallback": "old"}, "A version cannot stand in for itself."),
        ({"fallback": "foreign"}, "Select a valid choice"),
        ({"reason": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(
    fields: dict[str, Any], sentence: str, admin: Client, painter: Model, new: Version
) -> None:
    model, old = new.model, new.model.versions.exclude(pk=new.pk).get()
    keys = {"old": old.pk, "new": new.pk, "foreign": painter.versions.get().pk}
    response = decide(admin, model, old, **{name: keys.get(value, value) for name, value in fields.items()})
    assert sentence in words(response)
    assert not Pin.objects.exists()


def test_a_version_that_is_gone_needs_something_that_stands_in(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    lose(old)
    assert "nothing would answer" in words(decide(admin, model, old))
    assert not Pin.objects.exists()
    decide(admin, model, old, fallback=new.pk)
    assert choose(model).version == new


def test_who_decides_on_an_old_page_is_told_and_may_decide_again(
    admin: Client, model: Model, old: Version, new: Version, charlie: User
) -> None:
    seen = pin(model, old)
    other = model.versions.create(identifier="b" * 64, openapi_schema=CHAT_SCHEMA)
    newer = pin(model, other, created_by=charlie, reason="It was too slow.")
    response = decide(admin, model, new, seen, fallback=old.pk, reason="Mine")

    assert response.status_code == 409
    assert "Nothing has been pinned: somebody has decided in the meantime." in words(response)
    assert "charlie chose bbbbbbbbbbbb for production, because: “It was too slow.”" in words(response)
    assert Pin.objects.newest(model, "production") == newer
    page = response.content.decode()
    assert f'name="seen" value="{newer.pk}"' in page
    assert 'value="Mine"' in page
    assert f'<option value="{old.pk}" selected>' in page
    assert decide(admin, model, new, newer).status_code == 200
    assert Pin.objects.newest(model, "production").version == new  # type: ignore[union-attr]


def test_a_first_pin_on_an_old_page_is_refused_too(admin: Client, model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    assert decide(admin, model, new, seen=None).status_code == 409
    assert model.pins.count() == 1


def test_a_decision_between_the_look_and_the_save_is_noticed(
    admin: Client, model: Model, old: Version, new: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    from predictions.admin.pins import PinAdmin

    seen, decide_then = pin(model, old), PinAdmin._decide

    def be_overtaken(*arguments: Any, **options: Any) -> Pin:
        monkeypatch.setattr(PinAdmin, "_decide", decide_then)
        pin(model, None)
        return decide_then(*arguments, **options)

    monkeypatch.setattr(PinAdmin, "_decide", be_overtaken)
    assert decide(admin, model, new, seen).status_code == 409
    assert model.pins.count() == 2


# ---------------------------------------------------------------- rolling back


def test_rolling_back_is_one_click(admin: Client, alice: User, model: Model, old: Version, new: Version) -> None:
    first = pin(model, old, fallback=new)
    second = pin(model, new)
    response = roll_back(admin, first, second)

    newest = Pin.objects.newest(model, "production")
    assert newest is not None
    assert (newest.version, newest.fallback, newest.reason, newest.created_by) == (old, new, "It rambles.", alice)
    assert newest.moves_conversations
    assert "Rolled back to aaaaaaaaaaaa in production." in words(response)
    assert model.pins.count() == 3


def test_rolling_back_on_an_old_page_is_refused(admin: Client, model: Model, old: Version, new: Version) -> None:
    first, second = pin(model, old), pin(model, new)
    third = pin(model, None)
    text = words(roll_back(admin, first, second))
    assert "Nothing was rolled back: somebody has decided in the meantime." in text
    assert "ffffffffffff → latest Counts now" in text
    assert Pin.objects.newest(model, "production") == third


def test_nobody_rolls_back_to_what_does_not_answer_or_by_a_link(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    first, second = pin(model, old), pin(model, new)
    lose(old)
    assert "Roll back to this" not in text_of(admin, model_page(model))
    assert "is gone, and nothing would answer" in words(roll_back(admin, first, second))
    admin.get(reverse("admin:predictions_pin_restore", args=[first.pk]))
    assert model.pins.count() == 2


def test_pins_are_neither_changed_nor_deleted(admin: Client, model: Model, old: Version) -> None:
    first = pin(model, old)
    assert admin.post(f"{OVERVIEW}{first.pk}/delete/", {"post": "yes"}).status_code == 403
    response = admin.post(f"{OVERVIEW}{first.pk}/change/", {"reason": "Other"})
    assert response.url == f"{model_page(model)}?environment=production#pin-{first.pk}"
    assert Pin.objects.get() == first
    assert Pin.objects.get().reason == ""


def test_a_long_history_goes_on_on_another_page(admin: Client, model: Model, old: Version) -> None:
    for number in range(35):
        pin(model, old, reason=f"Decision {number}.")
    page = admin.get(model_page(model)).content.decode()
    older = re.search(r"before=(\d+)", page)
    assert older
    assert "Decision 34." in page
    assert "Decision 4." not in page
    assert "Decision 4." in text_of(admin, model_page(model), before=older[1])


# ---------------------------------------------------------------- rights


def test_staff_without_the_right_see_everything_and_decide_nothing(
    onlooker: Client, model: Model, old: Version, new: Version
) -> None:
    first, second = pin(model, old), pin(model, new)
    for address in (OVERVIEW, model_page(model), diff_page(model)):
        response = onlooker.get(address)
        assert response.status_code == 200
        assert model.name in words(response)
        assert 'method="post" action="/admin/predictions' not in response.content.decode()
        assert "/production/?version" not in response.content.decode()
    assert "aaaaaaaaaaaa → ffffffffffff" in text_of(onlooker, model_page(model))

    assert onlooker.get(decide_page(model, old)).status_code == 403
    assert decide(onlooker, model, old, second).status_code == 403
    assert roll_back(onlooker, first, second).status_code == 403
    assert model.pins.count() == 2


def test_staff_with_the_right_to_add_pins_may_decide(charlie: User, model: Model, old: Version) -> None:
    client = signed_in(with_rights(charlie, "add_pin"))
    assert decide(client, model, old).status_code == 200
    assert Pin.objects.get().created_by == charlie


def test_staff_without_any_right_and_people_see_nothing(charlie: User, model: Model, old: Version) -> None:
    first = pin(model, old)
    addresses = [OVERVIEW, model_page(model), diff_page(model), f"{OVERVIEW}{first.pk}/change/"]
    client = signed_in(with_rights(charlie))
    assert {client.get(address).status_code for address in addresses} == {403}
    User.objects.filter(pk=charlie.pk).update(is_staff=False)
    assert {client.get(address).status_code for address in addresses} == {302}


# ---------------------------------------------------------------- alarms


def alarms(user: User) -> str:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=user.pk)
    shown = Template("{% load pin_alarms %}{% pin_alarms %}").render(Context({"request": request}))
    return " ".join(strip_tags(shown).split())


@pytest.fixture
def keeper(charlie: User) -> User:
    return with_rights(charlie, "view_pin")


def test_a_pinned_version_that_is_gone_raises_an_alarm(keeper: User, model: Model, old: Version, new: Version) -> None:
    pin(model, old, fallback=new)
    assert "is gone" not in alarms(keeper)
    lose(old)
    text = alarms(keeper)
    assert f"{model.name}: the pinned version aaaaaaaaaaaa is gone since" in text
    assert "Version ffffffffffff answers in its place" in text
    pin(model, old)
    assert "Nothing answers in its place" in alarms(keeper)
    pin(model, new)
    assert "is gone" not in alarms(keeper)


def test_what_is_gone_elsewhere_alarms_nobody_here(keeper: User, model: Model, old: Version, new: Version) -> None:
    pin(model, old, "staging")
    pin(model, new)
    lose(old)
    assert alarms(keeper) == ""


def test_models_without_a_pin_and_with_newer_versions_are_counted(
    keeper: User, model: Model, painter: Model, old: Version, new: Version
) -> None:
    assert "2 models have no pin in production" in alarms(keeper)
    pin(model, old)
    text = alarms(keeper)
    assert "1 model has no pin in production" in text
    assert painter.name in text
    assert "1 model has newer versions." in text


def test_alarms_are_for_those_who_may_see_pins(alice: User, model: Model, old: Version) -> None:
    assert alarms(alice) == ""


# ---------------------------------------------------------------- many of everything


@pytest.fixture
def many(model: Model) -> list[Model]:
    """200 models with 5,000 versions; one model has 1,000 of them, pinned 100 times over."""
    provider = Provider.objects.get()
    rows = [Model(provider=provider, ref=f"acme/m{n}", slug=f"m{n}", name=f"M{n}") for n in range(199)]
    models = [model, *Model.objects.bulk_create(rows)]
    counts = [1_000, *[20] * 198, 39]
    Version.objects.bulk_create(
        Version(
            model=each,
            identifier=f"{number:064}",
            openapi_schema=CHAT_SCHEMA,
            released_at=RELEASED + timedelta(minutes=number),
        )
        for each, count in zip(models, counts, strict=True)
        for number in range(count)
    )
    assert (Model.objects.count(), Version.objects.count()) == (200, 5_000)
    for each in models:
        first, second = each.versions.all()[5:7]
        for environment in Pin.Environment.values:
            pin(each, first, environment, fallback=second, candidate=second, candidate_share=5)
    for _ in range(100):
        pin(model, first if model == each else model.versions.all()[9])
    return models


@pytest.mark.parametrize("page", ["overview", "model", "diff", "decide", "alarms"])
def test_no_list_takes_more_than_ten_queries(page: str, many: list[Model], alice: User) -> None:
    client = signed_in(with_rights(alice, "add_pin", "view_pin"))
    model = many[0]
    old, new = model.versions.all()[3:5]
    addresses = {
        "overview": f"{OVERVIEW}?page=2",
        "model": f"{model_page(model)}?page=3",
        "diff": f"{diff_page(model)}?from={old.pk}&to={new.pk}",
        "decide": decide_page(model, new),
    }
    with CaptureQueriesContext(connection) as queries:
        if page == "alarms":
            alarms(alice)
        else:
            assert client.get(addresses[page]).status_code == 200
    assert len(queries) <= 10, [re.sub(r"SELECT .* FROM", "SELECT FROM", query["sql"])[:90] for query in queries]
    if page in {"overview", "alarms"}:
        assert not any("openapi_schema" in query["sql"] for query in queries), "documents are long, and not shown here"


def test_newer_versions_are_counted_by_their_release(model: Model, old: Version, new: Version) -> None:
    for days in (-5, 3, 5):
        model.versions.create(identifier=f"{days}", released_at=RELEASED + timedelta(days=days))
    lose(model.versions.create(identifier="gone", released_at=RELEASED + timedelta(days=4)))
    pin(model, old)
    pin(model, new, "staging")
    found = standings([model])[model.pk]
    assert [found[name].newer for name in Pin.Environment.values] == [3, 0, 0]


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(transactional_db: None, live_server: Any, admin: Client, model: Model, new: Version) -> Iterator[Page]:
    """A browser in which alice is signed in."""
    cookie = {"name": "sessionid", "value": admin.cookies["sessionid"].value, "domain": "localhost", "path": "/"}
    with chromium() as browser, visiting(browser, live_server.url, {"cookies": [cookie]}) as open_page:
        yield open_page(OVERVIEW, reduced_motion="reduce")


@pytest.mark.django_db(transaction=True)
def test_an_admin_pins_reads_the_diff_and_rolls_back(page: Page, model: Model) -> None:
    name, found = model.name, {"the overview": in_both_themes(page)}
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_text("No version is pinned in production.")).to_be_visible()
    page.get_by_role("link", name="Pin aaaaaaaaaaaa in production", exact=True).click()
    page.get_by_role("button", name="Pin aaaaaaaaaaaa in production").click()
    expect(page.get_by_text(f"In production, {name} is pinned to aaaaaaaaaaaa now.")).to_be_visible()
    expect(page.get_by_text("1 newer version").first).to_be_visible()

    page.get_by_role("link", name="3 changes in ffffffffffff").click()
    expect(page.get_by_text("“temperature” is gone")).to_be_visible()
    expect(page.get_by_text("It is set to 0.2 today.")).to_be_visible()
    found["the diff"] = in_both_themes(page)
    page.get_by_role("link", name="Pin ffffffffffff in production").click()
    expect(page.get_by_text("“temperature” is gone")).to_be_visible()
    page.get_by_label("Fallback", exact=True).select_option(label="aaaaaaaaaaaa · 01 Mar 2026")
    page.get_by_label("Why").fill("It answers in whole sentences.")
    found["the form"] = in_both_themes(page)
    page.get_by_role("button", name="Pin ffffffffffff in production").click()
    expect(page.get_by_text("It answers in whole sentences.")).to_be_visible()

    earlier = page.get_by_role("listitem").filter(has=page.get_by_role("button", name="Roll back to this"))
    earlier.get_by_label("Why").fill("It rambles.")
    found["the page"] = in_both_themes(page)
    earlier.get_by_role("button", name="Roll back to this").click()
    expect(page.get_by_text("Rolled back to aaaaaaaaaaaa in production.")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Counts now")).to_contain_text("It rambles.")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found["the page on a phone"] = in_both_themes(page)
    assert {where: faults for where, faults in found.items() if faults} == {}
