"""Which version answers: pins, their history, fallbacks, candidates, and conversations that keep theirs."""

import threading
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from chat.models import Conversation, User
from predictions import pins
from predictions.events import SUCCEEDED, Completed
from predictions.models import Model, Pin, PinChanged, Prediction, Version
from predictions.pins import NothingAnswers, choose

pytestmark = pytest.mark.django_db

Chosen = Prediction.Chosen


@pytest.fixture
def old(model: Model) -> Version:
    return model.versions.get()


@pytest.fixture
def new(model: Model, old: Version) -> Version:
    """The latest version."""
    return model.versions.create(
        identifier="f" * 64, openapi_schema=old.openapi_schema, schema_hash="abc", latest_at=timezone.now()
    )


def pin(model: Model, version: Version | None, **decision: Any) -> Pin:
    return model.pins.create(environment="production", version=version, **decision)


def lose(version: Version) -> None:
    """Have the host say that it has no such version any more."""
    Version.objects.filter(pk=version.pk).update(gone_at=timezone.now(), gone_because="It was deleted.")


def chosen(model: Model, **circumstances: Any) -> tuple[Version, str]:
    choice = choose(model, **circumstances)
    return choice.version, choice.chosen


# ---------------------------------------------------------------- which one


def test_without_a_pin_the_latest_answers(model: Model, old: Version, new: Version) -> None:
    assert chosen(model) == (new, Chosen.LATEST)


def test_a_pinned_version_answers_whatever_is_newer(model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    assert chosen(model) == (old, Chosen.PINNED)


def test_the_newest_pin_of_this_environment_counts(model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    model.pins.create(environment="staging", version=new)
    assert chosen(model) == (old, Chosen.PINNED)
    pin(model, None)
    assert chosen(model) == (new, Chosen.LATEST)


def test_a_latest_version_that_is_gone_is_not_asked(model: Model, old: Version, new: Version) -> None:
    lose(new)
    assert chosen(model) == (old, Chosen.LATEST)


def test_a_fallback_answers_while_the_pinned_version_is_gone(model: Model, old: Version, new: Version) -> None:
    pin(model, old, fallback=new)
    lose(old)
    assert chosen(model) == (new, Chosen.FALLBACK)


def test_the_latest_stands_in_where_the_fallback_is_gone_too(model: Model, old: Version, new: Version) -> None:
    other = model.versions.create(identifier="other", openapi_schema={})
    pin(model, other, fallback=old, falls_back_to_latest=True)
    lose(old)
    lose(other)
    assert chosen(model) == (new, Chosen.FALLBACK)


def test_without_a_fallback_nothing_answers_and_it_is_said_why(model: Model, old: Version, new: Version) -> None:
    pin(model, old)
    lose(old)
    with pytest.raises(NothingAnswers, match="gone at its host"):
        choose(model)


# ---------------------------------------------------------------- candidates


def test_a_share_of_new_conversations_goes_to_the_candidate_and_always_the_same(
    model: Model, old: Version, new: Version
) -> None:
    pin(model, old, candidate=new, candidate_share=30)
    conversations = [uuid.UUID(int=number) for number in range(1_000)]
    first = [chosen(model, conversation=key) for key in conversations]

    assert 200 < first.count((new, Chosen.CANDIDATE)) < 400
    assert first.count((old, Chosen.PINNED)) == 1_000 - first.count((new, Chosen.CANDIDATE))
    assert [chosen(model, conversation=key) for key in conversations] == first


@pytest.mark.parametrize(("share", "expected"), [(0, Chosen.PINNED), (100, Chosen.CANDIDATE)])
def test_none_and_all_are_none_and_all(share: int, expected: str, model: Model, old: Version, new: Version) -> None:
    pin(model, old, candidate=new, candidate_share=share)
    assert {chosen(model, conversation=uuid.uuid4())[1] for _ in range(200)} == {expected}


def test_one_group_tries_the_candidate(model: Model, old: Version, new: Version, alice: User, charlie: User) -> None:
    testers = Group.objects.create(name="testers")
    alice.groups.add(testers)
    pin(model, old, candidate=new, candidate_group=testers)

    assert chosen(model, user=alice, conversation=uuid.uuid4()) == (new, Chosen.CANDIDATE)
    assert chosen(model, user=charlie, conversation=uuid.uuid4()) == (old, Chosen.PINNED)


def test_a_candidate_that_is_gone_is_not_tried(model: Model, old: Version, new: Version) -> None:
    pin(model, old, candidate=new, candidate_share=100)
    lose(new)
    assert chosen(model, conversation=uuid.uuid4()) == (old, Chosen.PINNED)


# ---------------------------------------------------------------- conversations


def begin(alice: User, model: Model) -> Conversation:
    return Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)


def ask_on(conversation: Conversation, model: Model) -> Prediction:
    """End the last answer and ask again; return the new answer's prediction."""
    Prediction.objects.filter(message__conversation=conversation).update(status="succeeded")
    conversation.ask("And?", message_id=uuid.uuid4(), model=model)
    return Prediction.objects.filter(message__conversation=conversation).order_by("-message__ordinal")[0]


def test_a_conversation_stays_on_the_version_it_began_with(
    model: Model, old: Version, new: Version, alice: User
) -> None:
    first = pin(model, old)
    conversation = begin(alice, model)
    pin(model, new)

    answer = ask_on(conversation, model)
    assert (answer.version, answer.chosen) == (old, Chosen.KEPT)
    assert Prediction.objects.exclude(pk=answer.pk).get().pin == first
    assert begin(alice, model).messages.last().prediction.version == new


def test_a_pin_may_move_conversations_that_have_begun(model: Model, old: Version, new: Version, alice: User) -> None:
    pin(model, old)
    conversation = begin(alice, model)
    pin(model, new, moves_conversations=True)
    answer = ask_on(conversation, model)
    assert (answer.version, answer.chosen) == (new, Chosen.PINNED)
    assert ask_on(conversation, model).chosen == Chosen.KEPT


def test_a_conversation_whose_version_is_gone_goes_on_with_another(
    model: Model, old: Version, new: Version, alice: User
) -> None:
    pin(model, old, fallback=new)
    conversation = begin(alice, model)
    lose(old)
    assert ask_on(conversation, model).chosen == Chosen.FALLBACK
    Version.objects.filter(pk=old.pk).update(gone_at=None)
    answer = ask_on(conversation, model)
    assert (answer.version, answer.chosen) == (old, Chosen.PINNED)


def test_a_conversation_of_the_candidate_stays_there_until_it_is_rolled_back(
    model: Model, old: Version, new: Version, alice: User
) -> None:
    before = pin(model, old)
    pin(model, old, candidate=new, candidate_share=100)
    conversation = begin(alice, model)
    pin(model, old, candidate=new, candidate_share=0)
    assert ask_on(conversation, model).version == new

    before.restore(by=alice, reason="It rambles.")
    answer = ask_on(conversation, model)
    assert (answer.version, answer.chosen) == (old, Chosen.PINNED)


def test_a_running_answer_keeps_its_version(model: Model, old: Version, new: Version, alice: User) -> None:
    pin(model, old)
    conversation = begin(alice, model)
    pin(model, new, moves_conversations=True)
    assert Prediction.objects.get(message__conversation=conversation).version == old


# ---------------------------------------------------------------- history


def test_a_pin_replaces_the_one_before_it(model: Model, old: Version, new: Version) -> None:
    first, second = pin(model, old), pin(model, new)
    elsewhere = model.pins.create(environment="staging", version=old)
    assert (first.replaces, second.replaces, elsewhere.replaces) == (None, first, None)


def test_who_decides_on_an_old_page_is_told(model: Model, old: Version, new: Version) -> None:
    first = pin(model, old)
    pin(model, new)
    with pytest.raises(PinChanged):
        pin(model, None, replaces=first)
    assert model.pins.count() == 2


def test_a_restored_pin_takes_everything_over_that_was_decided(
    model: Model, old: Version, new: Version, alice: User
) -> None:
    before = pin(model, old, fallback=new, candidate=new, candidate_share=10)
    pin(model, new)
    restored = before.restore(by=alice, reason="The new one rambles.")

    assert [getattr(restored, name) for name in Pin.DECISION] == [getattr(before, name) for name in Pin.DECISION]
    assert (restored.created_by, restored.reason) == (alice, "The new one rambles.")
    assert Pin.objects.newest(model, "production") == restored


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        ({"fallback": "old"}, "fallback"),
        ({"candidate_share": 10}, "candidate"),
        ({"candidate": "foreign", "candidate_share": 10}, "candidate"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_at_its_field(
    decision: dict[str, Any], field: str, model: Model, old: Version
) -> None:
    other = Model.objects.create(provider=model.provider, ref="acme/other", slug="other", name="Other")
    versions = {"old": old, "foreign": other.versions.create(identifier="1")}
    fields = {name: versions.get(value, value) for name, value in decision.items()}
    with pytest.raises(ValidationError) as refused:
        Pin(model=model, environment="production", version=old, **fields).full_clean()
    assert list(refused.value.message_dict) == [field]


@pytest.mark.django_db(transaction=True)
def test_of_many_that_decide_at_once_one_does(model: Model) -> None:
    """Each has seen the same pin; the history stays one line."""
    seen = pin(model, None)
    barrier, outcomes = threading.Barrier(8), []

    def decide() -> None:
        barrier.wait()
        try:
            pin(model, None, replaces=seen)
        except PinChanged:
            outcomes.append("too late")
        else:
            outcomes.append("decided")
        finally:
            connection.close()

    threads = [threading.Thread(target=decide) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["decided", *["too late"] * 7]
    assert model.pins.count() == 2


# ---------------------------------------------------------------- who may ask


def test_models_of_a_group_are_for_its_members(model: Model, alice: User, charlie: User) -> None:
    team = Group.objects.create(name="team")
    model.groups.add(team)
    alice.groups.add(team)

    assert list(Model.objects.for_user(alice)) == [model]
    assert list(Model.objects.for_user(charlie)) == []
    with pytest.raises(NothingAnswers, match="not available to you"):
        begin(charlie, model)
    assert not Conversation.objects.filter(owner=charlie).exists()


def test_who_loses_the_right_cannot_go_on_asking(model: Model, alice: User) -> None:
    conversation = begin(alice, model)
    model.groups.add(Group.objects.create(name="team"))
    with pytest.raises(NothingAnswers):
        ask_on(conversation, model)
    answer = conversation.branch()[-1]
    with pytest.raises(NothingAnswers):
        conversation.answer_again(answer)


def test_an_answer_knows_what_chose_its_version(model: Model, old: Version, new: Version, alice: User) -> None:
    decided = pin(model, new)
    prediction = Prediction.objects.get(message__conversation=begin(alice, model))
    assert (prediction.version, prediction.pin, prediction.chosen) == (new, decided, Chosen.PINNED)
    assert prediction.schema_hash == "abc"


def test_a_version_that_is_named_but_not_described_is_waited_for(model: Model) -> None:
    named = model.versions.create(identifier="named", is_described=False)
    pin(model, named, falls_back_to_latest=True)
    with pytest.raises(NothingAnswers, match="Try again in a moment"):
        choose(model)
    assert pins.version_for(model) is None


def test_pins_of_long_ago_move_nothing(model: Model, old: Version, new: Version, alice: User) -> None:
    moved = pin(model, old, moves_conversations=True)
    Pin.objects.filter(pk=moved.pk).update(created_at=timezone.now() - timedelta(days=1))
    conversation = begin(alice, model)
    pin(model, new)
    assert ask_on(conversation, model).version == old


# ---------------------------------------------------------------- what is asked


def test_what_the_version_would_refuse_is_not_asked_and_said_where(model: Model, alice: User) -> None:
    takes = {"prompt": {"type": "string"}, "temperature": {"type": "number", "minimum": 0, "maximum": 5}}
    model.versions.update(openapi_schema={"components": {"schemas": {"Input": {"properties": takes}}}})
    model.default_input = {"temperature": 99}
    model.save()
    with pytest.raises(NothingAnswers, match="“temperature”: Must be between 0 and 5"):
        begin(alice, model)
    assert not Prediction.objects.exists()


def test_an_answer_keeps_the_price_of_its_day_and_knows_what_it_cost(model: Model, alice: User) -> None:
    model.override = {"price": {"per_second": "0.5"}}
    model.save()
    prediction = Prediction.objects.get(message__conversation=begin(alice, model))
    Model.objects.update(override={})
    prediction.resume("")
    prediction.apply(Completed(SUCCEEDED, output="Hi", metrics={"predict_time": 2.5}), at=timezone.now())
    assert prediction.cost == Decimal("1.25")


def test_a_price_that_nobody_knows_is_no_cost(model: Model, alice: User) -> None:
    prediction = Prediction.objects.get(message__conversation=begin(alice, model))
    prediction.resume("")
    prediction.apply(Completed(SUCCEEDED, output="Hi", metrics={"predict_time": 2.5}), at=timezone.now())
    assert (prediction.price, prediction.cost) == (None, None)


def test_an_override_that_nobody_can_read_is_refused_at_its_field(model: Model) -> None:
    model.override = {"price": {"per_run": "a lot"}}
    with pytest.raises(ValidationError) as refused:
        model.full_clean()
    assert list(refused.value.message_dict) == ["override"]
