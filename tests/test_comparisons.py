"""Prompts that are kept, and what versions make of them side by side."""

import copy
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from chat import news
from chat.models import Conversation, Message, User
from predictions import comparisons
from predictions.models import Case, Comparison, Model, Pin, Prediction, Provider, SavedPrompt, Trial, Version
from predictions.prompts import Turn
from tests.fake_replicate import CHAT_SCHEMA
from tests.people import signed_in, with_rights

pytestmark = pytest.mark.django_db

ADD = "/admin/predictions/comparison/add/"
RELEASED = datetime(2026, 3, 1, tzinfo=UTC)


def strict_schema() -> dict[str, Any]:
    """What CHAT_SCHEMA describes, but the prompt is short."""
    schema = copy.deepcopy(dict(CHAT_SCHEMA))
    schema["components"]["schemas"]["Input"]["properties"]["prompt"]["maxLength"] = 10
    return schema


@pytest.fixture
def old(model: Model) -> Version:
    model.versions.update(identifier="a" * 64, released_at=RELEASED)
    return model.versions.get()


@pytest.fixture
def new(model: Model, old: Version) -> Version:
    return model.versions.create(identifier="f" * 64, openapi_schema=CHAT_SCHEMA, latest_at=timezone.now())


@pytest.fixture
def prompt(alice: User) -> SavedPrompt:
    return SavedPrompt.keep([Turn("user", "Which river is the longest?")], user=alice)


@pytest.fixture
def comparison(alice: User, old: Version, new: Version, prompt: SavedPrompt) -> Comparison:
    return comparisons.begin([prompt], [old, new], user=alice)


@pytest.fixture
def admin(alice: User) -> Client:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    return signed_in(alice)


def begin(user: User, model: Model, question: str, *, answered: str) -> tuple[Conversation, Message]:
    """A conversation of one question with its answer."""
    conversation = Conversation.begin(user, question, message_id=uuid.uuid4(), model=model)
    answer = conversation.branch()[-1]
    assert answer.prediction
    done = {"status": "succeeded", "output": answered, "completed_at": timezone.now()}
    Prediction.objects.filter(pk=answer.prediction.pk).update(**done)
    return conversation, answer


def end(trial: Trial, output: str, *, seconds: float = 2.0, **fields: Any) -> None:
    """Have the answer of a trial ended as a worker leaves it."""
    assert trial.prediction
    began = timezone.now()
    told = {"asked_at": began, "started_at": began, "first_output_at": began + timedelta(seconds=0.5)}
    done = {"status": "succeeded", "output": output, "completed_at": began + timedelta(seconds=seconds)}
    Prediction.objects.filter(pk=trial.prediction.pk).update(**{**told, **done, **fields})


def words(html: str) -> str:
    return re.sub(r"\s+", " ", strip_tags(re.sub(r"<(script|style|template).*?</\1>", "", html, flags=re.DOTALL)))


def page(client: Client, comparison: Comparison, show: str = "") -> str:
    response = client.get(reverse("admin:predictions_comparison_change", args=[comparison.pk]), {"show": show})
    assert response.status_code == 200
    return response.content.decode()


# ---------------------------------------------------------------- prompts


def test_a_prompt_is_kept_from_the_details_of_an_answer(admin: Client, alice: User, model: Model) -> None:
    conversation, _ = begin(alice, model, "Which river is the longest?", answered="The Nile.")
    conversation.ask("And the second?", message_id=uuid.uuid4(), model=model)
    second = conversation.branch()[-1]
    Prediction.objects.filter(message=second).update(status="succeeded", completed_at=timezone.now())

    details = admin.get(reverse("chat:receipt_detail", args=[second.pk])).content.decode()
    response = admin.post(reverse("chat:receipt_keep", args=[second.pk]))

    assert "Keep as a test prompt" in details
    [kept] = SavedPrompt.objects.all()
    assert kept.as_turns == [
        Turn("user", "Which river is the longest?"),
        Turn("assistant", "The Nile."),
        Turn("user", "And the second?"),
    ]
    assert (kept.title, kept.created_by) == ("And the second?", alice)
    shown = words(admin.get(response["Location"]).content.decode())
    assert "What was said before the question" in shown
    assert "The Nile." in shown


def test_only_who_may_keep_prompts_keeps_them_and_only_from_conversations_of_their_own(
    alice: User, charlie: User, model: Model
) -> None:
    _, answer = begin(alice, model, "What is my blood pressure?", answered="High.")
    keep = reverse("chat:receipt_keep", args=[answer.pk])

    assert signed_in(alice).post(keep).status_code == 403
    assert (
        "Keep as a test prompt"
        not in signed_in(alice).get(reverse("chat:receipt_detail", args=[answer.pk])).content.decode()
    )
    assert signed_in(with_rights(charlie, "add_savedprompt")).post(keep).status_code == 404
    assert not SavedPrompt.objects.exists()


def test_a_prompt_can_be_written_and_changed_without_what_was_said_before_it(admin: Client, alice: User) -> None:
    add = reverse("admin:predictions_savedprompt_add")
    admin.post(add, {"title": "", "question": "  How far is the moon?  "})
    [written] = SavedPrompt.objects.all()
    assert written.title == written.question == "How far is the moon?"
    assert written.created_by == alice

    kept = SavedPrompt.keep([Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Why?")], user=alice)
    change = reverse("admin:predictions_savedprompt_change", args=[kept.pk])
    admin.post(change, {"title": "Reasons", "question": "Why not?"})
    kept.refresh_from_db()
    assert [turn.text for turn in kept.as_turns] == ["Hi", "Hello", "Why not?"]
    assert kept.title == "Reasons"
    assert "This field is required" in words(admin.post(change, {"title": "", "question": " "}).content.decode())


# ---------------------------------------------------------------- running


def test_each_version_is_asked_each_prompt_as_the_model_is_set_up(
    alice: User, old: Version, new: Version, prompt: SavedPrompt
) -> None:
    Model.objects.update(system_prompt="Be short.", default_input={"temperature": 0.1})
    other = SavedPrompt.keep([Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Why?")], user=alice)
    versions = [Version.objects.get(pk=version.pk) for version in (old, new)]
    comparison = comparisons.begin([prompt, other], versions, user=alice)

    trials = list(comparisons.trials_of(comparison))
    assert [(trial.case.title, trial.version) for trial in trials if trial.case] == [
        ("Which river is the longest?", old),
        ("Which river is the longest?", new),
        ("Why?", old),
        ("Why?", new),
    ]
    assert comparison.versions == [old, new]
    for trial in trials:
        assert trial.prediction
        assert trial.prediction.chosen == Prediction.Chosen.NAMED
        assert trial.prediction.user == alice
        assert trial.prediction.input["system_prompt"] == "Be short."
        assert trial.prediction.input["temperature"] == 0.1
    assert "Hello" in trials[2].prediction.input["prompt"]  # type: ignore[union-attr]


def test_a_prompt_that_a_version_refuses_has_a_problem_in_the_place_of_an_answer(
    admin: Client, alice: User, model: Model, old: Version, prompt: SavedPrompt
) -> None:
    strict = model.versions.create(identifier="c" * 64, openapi_schema=strict_schema())
    comparison = comparisons.begin([prompt], [old, strict], user=alice)

    [_, refused] = comparisons.trials_of(comparison)
    assert refused.prediction is None
    assert "The model would refuse this question." in words(page(admin, comparison))
    assert [result.failed for result in comparisons.results(comparisons.trials_of(comparison))] == [0, 1]


def test_what_is_run_is_chosen_on_a_page(
    admin: Client, painter: Model, old: Version, new: Version, prompt: SavedPrompt
) -> None:
    address = f"{ADD}?model={old.model.pk}&against={old.pk}&version={new.pk}&prompts={prompt.pk}"
    form = admin.get(address).context["form"]
    assert [form[f"version_{place}"].value() for place in (0, 1)] == [str(old.pk), str(new.pk)]
    assert form["prompts"].value() == [str(prompt.pk)]
    offered = words(str(form["version_2"]))
    assert f"{new.short} (answers now)" in offered
    assert painter.name in offered

    chosen = {"prompts": prompt.pk, "version_0": old.pk, "version_1": new.pk, "written": "How far is the moon?"}
    response = admin.post(address, chosen)

    comparison = Comparison.objects.get()
    assert response["Location"] == reverse("admin:predictions_comparison_change", args=[comparison.pk])
    assert [case.title for case in comparison.cases.all()] == ["Which river is the longest?", "How far is the moon?"]
    assert SavedPrompt.objects.count() == 2  # what was written is there the next time


@pytest.mark.parametrize(
    ("prompts", "second", "sentence"),
    [
        (0, "new", "Choose a prompt, or write one."),
        (1, "old", "This version is chosen already."),
        (1, "", "This field is required."),
        (1, "999999", "Select a valid choice."),
        (11, "new", "one comparison has at most 20"),
    ],
)
def test_what_cannot_be_run_is_said_at_its_place_and_nothing_is_asked(
    admin: Client, comparison: Comparison, prompts: int, second: str, sentence: str
) -> None:
    old, new = comparison.versions
    saved = [SavedPrompt.keep([Turn("user", f"Question {number}")], user=None).pk for number in range(prompts)]
    versions = {"version_0": old.pk, "version_1": {"old": old.pk, "new": new.pk}.get(second, second)}
    response = admin.post(f"{ADD}?model={old.model.pk}", {"prompts": saved, **versions})

    assert response.status_code == 422
    assert sentence in words(response.content.decode())
    assert list(Comparison.objects.all()) == [comparison]


def test_the_same_can_be_run_again_unless_a_version_is_gone(
    admin: Client, old: Version, new: Version, comparison: Comparison
) -> None:
    SavedPrompt.objects.all().delete()  # what was run stays what it was
    again = reverse("admin:predictions_comparison_again", args=[comparison.pk])

    admin.post(again)
    later = Comparison.objects.exclude(pk=comparison.pk).get()
    assert [case.question for case in later.cases.all()] == ["Which river is the longest?"]
    assert later.versions == [old, new]

    new.note_gone("It was deleted.")
    assert "Nothing was run" in words(admin.post(again, follow=True).content.decode())
    assert Comparison.objects.count() == 2


def test_a_comparison_can_be_stopped(admin: Client, comparison: Comparison) -> None:
    admin.post(reverse("admin:predictions_comparison_stop", args=[comparison.pk]))

    assert all(trial.prediction.cancel_requested_at for trial in comparisons.trials_of(comparison) if trial.prediction)


# ---------------------------------------------------------------- what came of it


def test_answers_stand_side_by_side_with_their_figures(
    admin: Client, old: Version, new: Version, comparison: Comparison
) -> None:
    first, second = comparisons.trials_of(comparison)
    end(first, "The **Nile**.", metrics={"output_token_count": 16, "predict_time": 1.25}, cost=Decimal("0.0012"))
    end(second, "The Amazon.", status="failed", error="out of memory")

    html = page(admin, comparison)

    assert "<strong>Nile</strong>" in html
    told = words(html)
    for figure in ("0.50 s", "10.0 tokens/s", "1.2 s", "$0.0012", "out of memory"):
        assert figure in told
    results = comparisons.results(comparisons.trials_of(comparison))
    assert [(result.version, result.failed) for result in results] == [(old, 0), (new, 1)]


def test_what_differs_is_marked(admin: Client, comparison: Comparison) -> None:
    first, second = comparisons.trials_of(comparison)
    end(first, "It is the Nile in Africa.")
    end(second, "It is the Amazon in <b>America</b>.")

    html = page(admin, comparison, "differences")

    assert re.findall(r"<mark>(.*?)</mark>", html) == ["Amazon", "&lt;b&gt;America&lt;/b&gt;."]
    assert "It is the Nile in Africa." in words(html)


def test_answers_that_are_being_written_are_followed_by_whoever_may_look(
    admin: Client, alice: User, charlie: User, old: Version, comparison: Comparison
) -> None:
    first, _ = comparisons.trials_of(comparison)
    assert first.prediction
    assert f'<streaming-answer prediction="{first.prediction.pk}"' in page(admin, comparison)

    assert first.prediction not in news.answers_for(charlie)
    with_rights(charlie, "view_comparison")
    charlie = User.objects.get(pk=charlie.pk)
    assert first.prediction in news.answers_for(charlie)
    _, private = begin(alice, old.model, "What is my blood pressure?", answered="High.")
    assert private.prediction not in news.answers_for(charlie)

    end(first, "The Nile.")
    frame = news.ended(first.prediction.pk)
    assert "trial__answer" in frame
    assert "The Nile." in frame


def test_verdicts_and_notes_are_kept_and_counted(
    admin: Client, alice: User, new: Version, comparison: Comparison
) -> None:
    _, second = comparisons.trials_of(comparison)
    judge = reverse("admin:predictions_comparison_judge", args=[second.pk])

    admin.post(judge, {"verdict": "better", "note": "Shorter."}, headers={"Accept": "application/json"})
    second.refresh_from_db()
    assert (second.verdict, second.note, second.judged_by) == ("better", "Shorter.", alice)
    assert "better in 1 of 1" in words(page(admin, comparison))
    listed = words(admin.get("/admin/predictions/comparison/").content.decode())
    assert f"{new.short} better in 1 of 1" in listed

    refused = admin.post(judge, {"verdict": "excellent"}, headers={"Accept": "application/json"})
    assert refused.status_code == 422
    second.refresh_from_db()
    assert second.verdict == "better"


def test_what_is_promoted_keeps_its_evidence(
    admin: Client, model: Model, old: Version, new: Version, comparison: Comparison
) -> None:
    Pin.objects.create(model=model, environment="production", version=old)
    _, second = comparisons.trials_of(comparison)
    admin.post(reverse("admin:predictions_comparison_judge", args=[second.pk]), {"verdict": "better", "note": ""})
    decide = reverse("admin:predictions_pin_decide", args=[model.pk, "production"])
    address = f"{decide}?version={new.pk}&comparison={comparison.pk}"
    assert address.replace("&", "&amp;") in page(admin, comparison)

    form = admin.get(address).context["form"]
    reason = form["reason"].value()
    admin.post(address, {"seen": form["seen"].value(), "reason": reason, "candidate_share": "0"})

    pin = Pin.objects.newest(model, "production")
    assert pin
    assert (pin.version, pin.comparison, pin.reason) == (new, comparison, f"{comparison}: better in 1 of 1.")
    history = admin.get(reverse("admin:predictions_pin_model", args=[model.pk]), {"environment": "production"})
    assert reverse("admin:predictions_comparison_change", args=[comparison.pk]) in history.content.decode()


# ---------------------------------------------------------------- rights, and how much it takes


def test_each_right_allows_what_it_says(alice: User, charlie: User, comparison: Comparison) -> None:
    _, second = comparisons.trials_of(comparison)
    detail = reverse("admin:predictions_comparison_change", args=[comparison.pk])
    judge = reverse("admin:predictions_comparison_judge", args=[second.pk])
    stop = reverse("admin:predictions_comparison_stop", args=[comparison.pk])
    again = reverse("admin:predictions_comparison_again", args=[comparison.pk])

    def answers(*rights: str) -> list[int]:
        client = signed_in(with_rights(charlie, *rights))
        asked = [client.get(detail), client.get(ADD), client.post(stop), client.post(judge, {"verdict": "same"})]
        return [response.status_code for response in asked]

    assert answers() == [403, 403, 403, 403]
    assert answers("view_comparison") == [200, 403, 403, 403]
    assert answers("view_comparison", "change_comparison") == [200, 403, 403, 302]
    assert answers("view_comparison", "add_comparison") == [200, 200, 302, 403]
    assert signed_in(alice).get(detail).status_code == 302  # not staff: to the login page
    looking = signed_in(with_rights(charlie, "view_comparison"))
    told = page(looking, comparison)
    for address in (judge, stop, again):
        assert address not in told
    assert [looking.get(address).status_code for address in (stop, again, judge)] == [405, 405, 405]


def test_lists_take_few_queries_however_much_there_is(
    admin: Client, model: Model, comparison: Comparison, prompt: SavedPrompt
) -> None:
    made = Comparison.objects.bulk_create([Comparison(created_by=prompt.created_by) for _ in range(200)])
    cases = Case.objects.bulk_create(
        [Case(comparison=each, position=0, title="Why?", turns=prompt.turns) for each in made]
    )
    versions = comparison.versions
    Trial.objects.bulk_create([Trial(case=case, version=version) for case in cases for version in versions])
    SavedPrompt.objects.bulk_create([SavedPrompt(title=str(n), turns=prompt.turns) for n in range(1_000)])
    provider = Provider.objects.create(slug="many", name="Many", kind=Provider.Kind.REPLICATE, base_url="http://x")
    many = [Model(provider=provider, ref=f"a/m{n}", slug=f"m{n}", name=f"M{n}") for n in range(200)]
    models = Model.objects.bulk_create(many)
    Version.objects.bulk_create(
        [Version(model=each, identifier=f"{each.pk}-{number}") for each in models for number in range(25)]
    )

    for address in ("/admin/predictions/comparison/", "/admin/predictions/savedprompt/", f"{ADD}?model={model.pk}"):
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(address).status_code == 200
        assert len(captured) <= 10, (address, [query["sql"][:150] for query in captured.captured_queries])
