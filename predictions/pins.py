"""Which version of a model answers, here and now."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from predictions import metrics, validation
from predictions.families import Family
from predictions.models import LimitReached, Limits, Model, Pin, Prediction, Version
from predictions.prompts import Turn, build_input, holds_conversations
from predictions.standing import answering

NOT_DESCRIBED = "This model has not told yet how it wants to be asked. Try again in a moment."
LONGEST_ANSWER = 100_000_000  # tokens; a larger number is no limit
GONE = "The version that should answer is gone at its host. Whoever looks after Parley has to pin another one."


class NothingAnswers(Exception):
    """No version of the model can be asked; the message is for people."""


class InputRefused(NothingAnswers):
    """The version would refuse the input; `problems` has a sentence for each input that is wrong."""

    def __init__(self, problems: dict[str, str]) -> None:
        told = " ".join(f"“{name}”: {problem}" for name, problem in problems.items())
        super().__init__(f"The model would refuse this question. {told}")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Choice:
    """A version that is to answer, and how it came to that."""

    version: Version
    chosen: Prediction.Chosen
    pin: Pin | None = None

    @property
    def family(self) -> Family:
        return self.version.model.family_of(self.version)

    @property
    def holds_conversations(self) -> bool:
        """Whether it can be told what was said before a question."""
        return holds_conversations(self.version.inputs, self.family)

    def input_for(self, turns: Sequence[Turn], /, **beside: Any) -> dict[str, Any]:
        """Return the input that asks this version to continue after `turns`; `beside` are other inputs, as JSON."""
        model = self.version.model
        return build_input(
            self.version.inputs,
            turns,
            system_prompt=model.system_prompt,
            default_input={**model.default_input, **beside},
            context_length=model.context_length,
            family=self.family,
        )

    @transaction.atomic
    def ask(
        self,
        given: dict[str, Any],
        *,
        user: Any = None,
        to_come: Collection[str] = (),
        is_background: bool = False,
        is_trial: bool = False,
    ) -> Prediction:
        """Write a prediction down that asks this version with the input `given`, for `user` or for nobody.

        The inputs in `to_come` are added afterwards. One in the background has its turn when nobody waits for an
        answer. Raises InputRefused, or NothingAnswers where `Limits` say so: whatever is asked is asked here.
        """
        problems = validation.problems(self.version.inputs, given)
        if problems := {name: problem for name, problem in problems.items() if name not in to_come}:
            raise InputRefused(problems)
        try:
            Limits.reserve(user, is_background=is_background, is_trial=is_trial)
        except LimitReached as error:
            metrics.REFUSED.labels(error.reason).inc()
            raise NothingAnswers(str(error)) from error
        price = self.family.price
        return Prediction.objects.create(
            user=user,
            model=self.version.model,
            version=self.version,
            chosen=self.chosen,
            pin=self.pin,
            schema_hash=self.version.schema_hash,
            input=given,
            price=price and price.to_json(),
            is_background=is_background,
            length_limit=self._length_limit(given),
        )

    def _length_limit(self, given: Mapping[str, Any]) -> int | None:
        """How many tokens the answer to `given` may have; None where nothing says it."""
        asked = self.version.inputs.get(self.family.max_tokens or "")
        limit = given.get(asked.name, asked.default) if asked else None
        if not isinstance(limit, int) or isinstance(limit, bool):
            return None
        return limit if 0 < limit <= LONGEST_ANSWER else None


def choose(
    model: Model, *, user: Any = None, conversation: UUID | None = None, last: Prediction | None = None
) -> Choice:  # user: a User of whichever model is configured
    """Choose the version that answers `user`; raise NothingAnswers.

    `last` is the newest prediction of this model in the same conversation: a conversation stays on the version that it
    began with, unless that is gone, or a later pin moves it.
    """
    pin = Pin.objects.newest(model, settings.ENVIRONMENT)
    if last is not None and is_kept(last, model):
        assert last.version is not None  # noqa: S101 - is_kept has looked
        return Choice(last.version, Prediction.Chosen.KEPT, pin)
    return choose_anew(model, pin, user=user, conversation=conversation)


def choose_anew(
    model: Model,
    pin: Pin | None,
    *,
    user: Any,
    conversation: UUID | None,
    latest: Callable[[], Version | None] | None = None,
) -> Choice:
    """Choose as `choose` does for a conversation that begins, where `pin` counts and `latest` may be known."""
    if pin is not None and pin.tries_candidate(user, conversation):
        assert pin.candidate is not None  # noqa: S101 - it is tried
        return Choice(pin.candidate, Prediction.Chosen.CANDIDATE, pin)
    version, chosen = answering(pin, latest or model.versions.answering().defer("openapi_schema").first)
    if version is None or chosen is None:
        is_gone = pin is not None and pin.version is not None and pin.version.is_described
        raise NothingAnswers(GONE if is_gone else NOT_DESCRIBED)
    return Choice(version, chosen, pin)


def version_for(model: Model) -> Version | None:
    """Return the version that answers where nothing else is known, or None."""
    try:
        return choose(model).version
    except NothingAnswers:
        return None


def is_kept(last: Prediction, model: Model) -> bool:
    """Whether a conversation stays on the version of `last`."""
    if last.version is None or not last.version.answers or last.chosen == Prediction.Chosen.FALLBACK:
        return False
    moves = Pin.objects.here().filter(model=model, moves_conversations=True, created_at__gt=last.created_at)
    return not moves.exists()
