"""The page of the admin that shows how the versions of a model do, side by side."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect

from chat.models import User
from predictions import figures
from predictions.admin.version_figures import ENOUGH, MOST
from predictions.models import Comparison, Model, Pin, Prediction, Provider, Version
from tests.browser import chromium, violations, visiting
from tests.fake_replicate import CHAT_SCHEMA

pytestmark = pytest.mark.django_db


@pytest.fixture
def old(model: Model) -> Version:
    model.versions.update(identifier="a" * 64, released_at=timezone.now() - timedelta(days=40))
    return model.versions.get()


@pytest.fixture
def new(model: Model, old: Version) -> Version:
    return model.versions.create(identifier="f" * 64, openapi_schema=CHAT_SCHEMA, released_at=timezone.now())


@pytest.fixture
def admin(alice: User) -> Client:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(alice)
    return client


def with_right(client: Client, user: User, *rights: str) -> Client:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    return client


def answers(version: Version, count: int, *, waits: float = 1.0, tokens: int = 101, **fields: Any) -> None:
    """Have `version` answer `count` times: after `waits` seconds it writes for two more."""
    asked = fields.pop("asked_at", timezone.now() - timedelta(hours=1))
    first = asked + timedelta(seconds=waits)
    times = {"asked_at": asked, "first_output_at": first, "completed_at": first + timedelta(seconds=2)}
    told = {"status": "succeeded", "metrics": {"output_token_count": tokens, "predict_time": waits + 2}, **times}
    Prediction.objects.bulk_create(
        Prediction(model=version.model, version=version, input={}, **{**told, **fields}) for _ in range(count)
    )


def figures_page(model: Model, environment: str = "production") -> str:
    return reverse("admin:predictions_pin_figures", args=[model.pk]) + f"?environment={environment}"


def rows(client: Client, model: Model, environment: str = "production") -> dict[str, list[str]]:
    """What the page says, by the name of the row; the heads are those of ""."""
    page = client.get(figures_page(model, environment)).content.decode()
    lines = [re.findall(r"<t[hd].*?</t[hd]>", line, re.DOTALL) for line in page.split("<tr>")[1:]]
    read = [[" ".join(strip_tags(cell).split()) for cell in line] for line in lines]
    return {name: cells for name, *cells in read}


def text_of(client: Client, address: str) -> str:
    return " ".join(strip_tags(client.get(address).content.decode()).split())


# ---------------------------------------------------------------- what it says


def test_figures_of_versions_stand_beside_each_other(admin: Client, model: Model, old: Version, new: Version) -> None:
    testers = Group.objects.create(name="testers")
    model.pins.create(environment="production", version=old, candidate=new, candidate_share=10, candidate_group=testers)
    answers(old, 1_500, cost=Decimal("0.002"))
    answers(old, 3, status="failed", first_output_at=None, rating=-1)
    answers(old, 2, status="canceled")
    answers(new, 30, waits=0.25, tokens=201, cost=Decimal("0.004"), rating=1)
    told = rows(admin, model)

    assert told[""] == [
        "aaaaaaaaaaaa Answers now",
        "ffffffffffff Candidate 10 % of new conversations for the group testers",
    ]
    assert told["Answers that have ended"] == ["1,505", "30"]
    assert told["Failures of those that nobody stopped"] == ["0.2 % 3 of 1,503", "Best: none"]
    assert told["Stopped by whoever asked"] == ["2", "0"]
    assert told["First token, p50 half began within"] == ["1.0 s", "Best: 0.25 s"]
    assert told["First token, p95 19 of 20 began within"] == ["1.0 s", "Best: 0.25 s"]
    assert told["Tokens per second median"] == ["50.0", "Best: 100.0"]
    assert told["Predict time at the host, median"] == ["3.0 s", "Best: 2.2 s"]
    assert told["Cost of an answer on average"] == ["Best: $0.002", "$0.004"]
    assert told["Thumbs of the people who asked"] == ["0 up, 3 down", "30 up, 0 down"]


@pytest.mark.parametrize("count", [ENOUGH, ENOUGH - 1])
def test_the_best_is_marked_only_among_versions_with_enough_answers(
    count: int, admin: Client, model: Model, old: Version, new: Version
) -> None:
    is_marked = count == ENOUGH
    answers(old, ENOUGH, waits=3.0)
    answers(new, count, waits=2.0)
    few = model.versions.create(identifier="few", released_at=timezone.now())
    answers(few, 1, waits=0.1)
    page = admin.get(figures_page(model)).content.decode()

    assert ("Best: </span>2.0 s" in page) == is_marked
    assert page.count("Best: ") == (3 if is_marked else 0)  # first token twice, and predict time; the rest is equal
    assert f"at least {ENOUGH} answers each" in page


def test_what_is_written_alike_is_no_better(admin: Client, model: Model, old: Version, new: Version) -> None:
    answers(old, ENOUGH, waits=3.01, tokens=1)
    answers(new, ENOUGH, waits=3.02, tokens=1)

    assert "Best: " not in admin.get(figures_page(model)).content.decode()


def test_a_version_that_has_not_answered_has_no_figures(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    model.pins.create(environment="production", version=old, fallback=new)
    answers(old, 1)
    told = rows(admin, model)

    assert told.pop("")[1] == "ffffffffffff Fallback"
    assert told.pop("What to do") == ["Decisions for production", "Promote ffffffffffff in production"]
    assert [cells[1] for cells in told.values()] == ["0", *["–"] * 8]


def test_nothing_has_answered_yet(admin: Client, model: Model, new: Version) -> None:
    text = text_of(admin, figures_page(model))
    assert "Nothing has answered yet" in text
    assert f"Ask {model.name} something" in text


def test_nobody_has_described_a_version_yet(admin: Client, model: Model) -> None:
    model.versions.all().delete()
    assert "Nothing has answered yet" in text_of(admin, figures_page(model))


def test_trials_and_old_answers_are_left_out(
    admin: Client, alice: User, model: Model, old: Version, new: Version
) -> None:
    model.pins.create(environment="production", version=old)
    answers(old, 2)
    answers(new, 1, created_at=timezone.now() - figures.PERIOD - timedelta(days=1))
    answers(new, 1)
    tried = Prediction.objects.filter(version=new).first()
    comparison = Comparison.objects.create(created_by=alice)
    case = comparison.cases.create(position=0, turns=[])
    case.trials.create(version=new, prediction=tried)

    assert rows(admin, model)["Answers that have ended"] == ["2"]


def test_versions_beyond_the_eighth_are_told_as_more(admin: Client, model: Model, old: Version, new: Version) -> None:
    model.pins.create(environment="production", version=old)
    for number in range(MOST + 2):
        answers(model.versions.create(identifier=f"v{number}", released_at=timezone.now()), 1)
    answers(new, 1)
    told = rows(admin, model)

    assert len(told[""]) == MOST
    assert told[""][0] == "aaaaaaaaaaaa Answers now"
    assert "And 4 more versions have answered in this time." in text_of(admin, figures_page(model))


def test_only_the_newest_answers_of_each_version_count(
    admin: Client, model: Model, old: Version, new: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "ANSWERS", 3)
    answers(old, 5, waits=9.0, created_at=timezone.now() - timedelta(days=2))
    answers(old, 3, waits=1.0)
    answers(new, 2, waits=5.0)
    told = figures.figures_of([old, new])

    assert [(told[each.pk].answers, told[each.pk].first_token_p95) for each in (old, new)] == [(3, 1.0), (2, 5.0)]


# ---------------------------------------------------------------- what to do about it


def test_a_candidate_is_promoted_and_rolled_back_from_the_page(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    first = model.pins.create(environment="production", version=old)
    promoted = model.pins.create(environment="production", version=new)
    answers(new, 1)
    page = admin.get(figures_page(model)).content.decode()
    assert reverse("admin:predictions_pin_decide", args=[model.pk, "production"]) + f"?version={old.pk}" not in page
    assert "Roll back" in page
    assert "to <code>aaaaaaaaaaaa</code>" in page

    restore = reverse("admin:predictions_pin_restore", args=[first.pk])
    assert f'action="{restore}"' in page
    fields = dict(re.findall(r'name="(seen|reason)" value="([^"]*)"', page))
    assert fields["seen"] == str(promoted.pk)
    response = admin.post(restore, fields, follow=True)
    assert "Rolled back to aaaaaaaaaaaa in production." in " ".join(strip_tags(response.content.decode()).split())
    assert Pin.objects.newest(model, "production").version == old

    page = admin.get(figures_page(model)).content.decode()
    assert reverse("admin:predictions_pin_decide", args=[model.pk, "production"]) + f"?version={new.pk}" in page


def test_nothing_is_offered_that_could_not_answer(admin: Client, model: Model, old: Version, new: Version) -> None:
    model.pins.create(environment="production", version=old)
    model.pins.create(environment="production", version=new)
    Version.objects.filter(pk=old.pk).update(gone_at=timezone.now())
    answers(old, 1)
    told = rows(admin, model)

    assert told[""] == ["ffffffffffff Answers now", "aaaaaaaaaaaa Gone"]
    assert told["What to do"] == ["Decisions for production", ""]


def test_a_pinned_version_that_is_gone_stands_beside_its_fallback(
    admin: Client, model: Model, old: Version, new: Version
) -> None:
    model.pins.create(environment="staging", version=old, fallback=new)
    Version.objects.filter(pk=old.pk).update(gone_at=timezone.now())
    answers(old, 1)

    assert rows(admin, model, "staging")[""] == ["ffffffffffff Answers now Fallback", "aaaaaaaaaaaa Pinned Gone"]


def test_the_pins_lead_to_the_figures(admin: Client, model: Model, old: Version, new: Version) -> None:
    pins = reverse("admin:predictions_pin_model", args=[model.pk])
    assert admin.get(pins).content.decode().count(figures_page(model)) == 1
    model.pins.create(environment="production", version=old, candidate=new, candidate_share=5)

    assert admin.get(pins).content.decode().count(figures_page(model)) == 2
    assert "How it does in production" in text_of(admin, pins)


# ---------------------------------------------------------------- who may, and how much it takes


def test_whoever_may_see_pins_sees_figures_and_decides_nothing(
    client: Client, charlie: User, model: Model, old: Version, new: Version
) -> None:
    model.pins.create(environment="production", version=old)
    model.pins.create(environment="production", version=new)
    answers(old, 1)
    assert client.get(figures_page(model)).status_code == 302
    assert with_right(client, charlie).get(figures_page(model)).status_code == 403
    page = with_right(client, charlie, "view_pin").get(figures_page(model)).content.decode()

    assert "First token" in page
    assert "Promote" not in page
    assert "Roll back" not in page


def test_whoever_may_pin_sees_figures(client: Client, charlie: User, model: Model, old: Version, new: Version) -> None:
    model.pins.create(environment="production", version=old)
    answers(new, 1)
    assert "Promote" in with_right(client, charlie, "add_pin").get(figures_page(model)).content.decode()


@pytest.mark.parametrize("environment", ["", "nowhere", "production\x00", "9" * 5_000])
def test_an_address_of_no_environment_shows_this_one(environment: str, admin: Client, model: Model) -> None:
    assert admin.get(figures_page(model, environment)).status_code == 200


def test_a_model_that_is_not_there_is_not_found(admin: Client, model: Model) -> None:
    assert admin.get(reverse("admin:predictions_pin_figures", args=[model.pk + 1])).status_code == 404


def test_the_page_takes_at_most_ten_queries(
    client: Client, alice: User, model: Model, django_assert_max_num_queries: Any
) -> None:
    provider = Provider.objects.get()
    made = [Model(provider=provider, ref=f"acme/m{n}", slug=f"m{n}", name=f"M{n}") for n in range(199)]
    models = [model, *Model.objects.bulk_create(made)]
    Version.objects.bulk_create(
        Version(model=each, identifier=f"{n:064}", openapi_schema=CHAT_SCHEMA)
        for each, count in zip(models, [1_000, *[20] * 198, 39], strict=True)
        for n in range(count)
    )
    first, second, third, *others = model.versions.all()
    for version in (first, second):
        model.pins.create(environment="production", version=version, fallback=first, candidate=third, candidate_share=5)
    for version in (first, second, third):
        answers(version, 200)
    for version in others[:200]:
        answers(version, 2)
    assert (Model.objects.count(), Version.objects.count()) == (200, 5_000)

    with_right(client, alice, "add_pin", "view_pin")
    with django_assert_max_num_queries(10) as queries:
        text = text_of(client, figures_page(model))
    assert "195 more versions have answered" in text
    assert "Roll back" in text
    assert not any("openapi_schema" in query["sql"] for query in queries.captured_queries)


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(transactional_db: None, live_server: Any, admin: Client, model: Model, new: Version) -> Iterator[Page]:
    """What alice sees of five versions, of which the newest is a candidate."""
    cookie = {"name": "sessionid", "value": admin.cookies["sessionid"].value, "domain": "localhost", "path": "/"}
    oldest = model.versions.get(identifier="a" * 64)
    model.pins.create(environment="production", version=oldest)
    others = [model.versions.create(identifier=letter * 64, openapi_schema=CHAT_SCHEMA) for letter in "bcd"]
    model.pins.create(environment="production", version=others[0], fallback=oldest, candidate=new, candidate_share=10)
    for number, version in enumerate((oldest, *others, new), 1):
        answers(version, 12 * number, waits=2.0 / number, tokens=50 * number, rating=1, cost=Decimal(number) / 900)
        answers(version, number // 2, status="failed", rating=-1)
    address = figures_page(model)
    with chromium() as browser, visiting(browser, live_server.url, {"cookies": [cookie]}) as open_page:
        yield open_page(address)


@pytest.mark.django_db(transaction=True)
def test_an_admin_reads_the_figures_promotes_and_rolls_back(page: Page) -> None:
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    found += violations(page)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    head = page.get_by_role("rowheader", name="First token, p50")
    before = head.bounding_box()
    page.get_by_role("link", name="Promote ffffffffffff in production").scroll_into_view_if_needed()
    assert page.get_by_role("region", name="Figures").evaluate("box => box.scrollLeft") > 0
    assert head.bounding_box()["x"] == before["x"]  # type: ignore[index]
    found += violations(page)

    page.get_by_role("link", name="Promote ffffffffffff in production").click()
    page.get_by_role("button", name="Pin ffffffffffff in production").click()
    page.get_by_role("link", name="Figures of its versions").click()
    expect(page.get_by_role("columnheader", name="ffffffffffff Answers now")).to_be_visible()
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("Rolled back to bbbbbbbbbbbb in production.")).to_be_visible()
    assert found == []
