"""Things that happen at once."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from chat.models import AlreadyAnswering, Conversation, Message, SetupToken, User
from chat.people import departures
from predictions.models import Allowance, Limits, Model, Prediction, Worker
from predictions.models.limits import PERSON_DONE
from predictions.pins import NothingAnswers

pytestmark = pytest.mark.django_db(transaction=True)

RACERS = 12


def race(run: Callable[[int], Any]) -> list[Any]:
    """Call `run` with 0, 1, 2 … in as many threads at once; return what they returned or raised."""
    results: list[Any] = [None] * RACERS
    start = threading.Barrier(RACERS)

    def racer(number: int) -> None:
        start.wait(10)
        try:
            results[number] = run(number)
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=racer, args=[number]) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_a_first_message_that_is_sent_many_times_at_once_is_one(alice: User, model: Model) -> None:
    message_id = uuid.uuid4()

    begun = race(lambda _: Conversation.begin(alice, "Hi", message_id=message_id, model=model).pk)

    assert len(set(begun)) == 1
    assert (Conversation.objects.count(), Message.objects.count(), Prediction.objects.count()) == (1, 2, 1)


def test_questions_that_arrive_at_once_have_one_order(alice: User, model: Model) -> None:
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="succeeded")

    asked = race(lambda n: conversation.ask(f"Question {n}", message_id=uuid.uuid4(), model=model))

    assert sum(isinstance(result, Message) for result in asked) == 1  # the others: it is being answered
    assert [message.ordinal for message in conversation.messages.all()] == [1, 2, 3, 4]


def test_deleting_undoing_and_asking_again_at_once_leave_no_answer_without_its_question(
    alice: User, model: Model
) -> None:
    conversation = Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)
    Prediction.objects.update(status="succeeded")
    question, answer = conversation.branch()

    def meddle(number: int) -> None:
        owned = Conversation.objects.get(pk=conversation.pk)
        match number % 3:
            case 0:
                owned.discard_message(Message.objects.get(pk=question.pk))
            case 1:
                owned.restore_message(Message.objects.get(pk=question.pk))
            case _:
                owned.answer_again(answer)

    outcomes = race(meddle)

    assert {type(outcome) for outcome in outcomes} <= {type(None), AlreadyAnswering, NothingAnswers}
    there = Message.objects.present()
    assert not there.filter(prediction__isnull=False).exclude(parent__in=there.values("pk")).exists()
    gone = Prediction.objects.active().exclude(message__deleted_at=None)
    assert not gone.filter(cancel_requested_at=None).exists()


def test_a_prediction_is_claimed_by_one_worker(model: Model) -> None:
    Prediction.objects.bulk_create(Prediction(model=model, input={}) for _ in range(30))
    workers = [Worker.objects.create(name=str(n)) for n in range(RACERS)]

    claims = race(lambda n: [p.pk for p in Prediction.objects.claim(workers[n], limit=5)])

    claimed = [pk for claim in claims for pk in claim]
    assert len(claimed) == len(set(claimed)) == 30


def test_one_slot_is_given_once(model: Model) -> None:
    model.provider.concurrency = 1
    model.provider.save(update_fields=["concurrency"])
    Prediction.objects.bulk_create(Prediction(model=model, input={}) for _ in range(5))
    workers = [Worker.objects.create(name=str(n)) for n in range(RACERS)]

    claims = race(lambda n: Prediction.objects.claim(workers[n], limit=5))

    assert sorted(len(claim) for claim in claims) == [0] * (RACERS - 1) + [1]


def test_one_token_makes_one_admin() -> None:
    token = SetupToken.issue()

    made = race(lambda n: SetupToken.redeem(str(token), f"admin{n}", "a long enough phrase"))

    assert sum(isinstance(result, User) for result in made) == 1
    assert User.objects.count() == 1


def test_of_admins_who_are_sent_away_at_once_the_last_one_stays() -> None:
    admins = [User.objects.create_superuser(f"admin{n}") for n in range(RACERS)]

    sent = race(lambda n: departures.switch_off(admins[n]))

    assert sorted(sent) == [False] + [True] * (RACERS - 1)
    assert User.objects.filter(is_active=True).count() == 1


def test_of_a_hundred_questions_at_once_one_takes_the_last_answer_of_the_day(alice: User, model: Model) -> None:
    Limits.objects.create(person_answers=3, site_answers=50)
    for _ in range(2):
        Conversation.begin(alice, "Hi", message_id=uuid.uuid4(), model=model)

    def ask(number: int) -> list[str]:
        return [refusal_of(alice, model) for _ in range(9)]

    told = [words for each in race(ask) for words in each]
    assert (len(told), told.count("")) == (108, 1)
    assert {words.partition(" in ")[0] for words in told if words} == {PERSON_DONE.partition(" in ")[0]}
    assert Prediction.objects.count() == 3
    assert [row.answers for row in Allowance.objects.all()] == [3, 3]


def refusal_of(user: User, model: Model) -> str:
    """Ask something; return "" or why it was refused."""
    try:
        Conversation.begin(user, "Hi", message_id=uuid.uuid4(), model=model)
    except NothingAnswers as error:
        return str(error)
    return ""
