"""People who go for good, with all that they wrote and were answered."""

import time

from django.db import transaction
from django.db.models import Q

from chat.housekeeping import delete_predictions
from chat.models import User
from chat.people import ranks
from chat.search import forget_words
from predictions.models import Prediction

PATIENCE = 5.0  # seconds in which answers that are stopped come to their end
LOOK_AGAIN = 0.1  # seconds


@transaction.atomic
def switch_off(person: User) -> bool:
    """Have `person` come in no more; False if they are the last admin."""
    if ranks.is_last_admin(person, hold=True):
        return False
    person.is_active = False
    person.save(update_fields=["is_active"])
    return True


def stop(person: User) -> bool:
    """Stop what is being written for `person`, who is switched off; return whether all of it has ended.

    A worker knows of an answer only what its row says: a host is told to stop as long as there is one.
    """
    Prediction.objects.filter(user=person).stop_all()
    until = time.monotonic() + PATIENCE
    while is_running(person) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN)
    return not is_running(person)


def is_running(person: User) -> bool:
    return Prediction.objects.filter(user=person).active().exists()


def delete(person: User) -> None:
    """Delete `person` and all that is theirs. What they tried out for everybody stays, without their name."""
    with transaction.atomic():
        _delete(person)
    forget_words()


def _delete(person: User) -> None:
    Prediction.objects.filter(user=person).exclude(trial=None).update(user=None)
    theirs = Q(user=person) | Q(message__conversation__owner=person) | Q(titled__owner=person)
    going = list(Prediction.objects.filter(theirs).values_list("pk", flat=True).distinct())
    person.conversations.all().delete()
    delete_predictions(going)
    person.delete()
