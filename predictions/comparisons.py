"""Run the same prompts on several versions, and say what came of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from predictions.bus import bus
from predictions.figures import COLUMNS, Figures, figures
from predictions.models import Case, Comparison, Model, Prediction, Trial, Version
from predictions.models.comparison import Prompt
from predictions.pins import Choice, InputRefused
from predictions.prompts import Turn

MOST_TRIALS = 20  # of one comparison: as many answers as a page follows at once
MOST_VERSIONS = 4


@transaction.atomic
def begin(prompts: Sequence[Prompt], versions: Sequence[Version], *, user: Any) -> Comparison:
    """Ask each of `versions` what each of `prompts` asks; the first version is what the others are judged against.

    A version that cannot be asked one of them has a problem in the place of a prediction. Raises NothingAnswers, and
    asks nothing, where that would be more than may be asked.
    """
    assert len(prompts) * len(versions) <= MOST_TRIALS  # noqa: S101 - the form sees to it
    comparison = Comparison.objects.create(created_by=user)
    for position, prompt in enumerate(prompts):
        case = Case.objects.create(comparison=comparison, position=position, title=prompt.title, turns=prompt.turns)
        for version in versions:
            _try(version, prompt.as_turns, user=user, case=case)
    _call_workers()
    return comparison


@transaction.atomic
def try_out(model: Model, version: Version, text: str, *, user: Any) -> Trial:
    """Ask `version` one thing, by what `model` says even if that is not saved; raise NothingAnswers as `begin` does."""
    version.model = model
    trial = _try(version, [Turn("user", text)], user=user)
    _call_workers()
    return trial


def _try(version: Version, turns: Sequence[Turn], *, user: Any, case: Case | None = None) -> Trial:
    choice = Choice(version, Prediction.Chosen.NAMED)
    try:
        prediction, problem = choice.ask(choice.input_for(turns), user=user, is_trial=True), ""
    except InputRefused as error:
        prediction, problem = None, str(error)
    return Trial.objects.create(case=case, version=version, prediction=prediction, problem=problem)


def _call_workers() -> None:
    transaction.on_commit(lambda: bus.publish(("work", {})))


def stop(comparison: Comparison) -> None:
    """Stop what is still being written; what is there of it stays."""
    Prediction.objects.filter(trial__case__comparison=comparison).stop_all()


# ---------------------------------------------------------------- what came of it


@dataclass(frozen=True, slots=True)
class Tally:
    """How people judged one version's answers against the first version's."""

    version: Version
    verdicts: Counter[str]  # by `Trial.Verdict`, "" where nobody has judged

    @property
    def in_words(self) -> str:
        """`better in 2, as good in 1 of 4`; "" where nobody has judged."""
        counts = [(verdict.label.lower(), self.verdicts[verdict]) for verdict in Trial.Verdict]
        told = ", ".join(f"{label} in {count}" for label, count in counts if count)
        return f"{told} of {self.verdicts.total()}" if told else ""


@dataclass(frozen=True, slots=True)
class Result:
    """How one version did in a comparison."""

    tally: Tally
    figures: Figures
    problems: int  # prompts that it could not be asked

    @property
    def version(self) -> Version:
        return self.tally.version

    @property
    def failed(self) -> int:
        return self.figures.failed + self.problems


def trials_of(comparison: Comparison) -> QuerySet[Trial]:
    """The trials case by case, with their predictions, but without long documents."""
    trials = Trial.objects.filter(case__comparison=comparison).select_related(
        "case", "version__model", "prediction__model", "judged_by"
    )
    trials = trials.defer("version__openapi_schema").prefetch_related("prediction__files")
    return trials.order_by("case__position", "pk")


def tallies(trials: Iterable[Trial]) -> list[Tally]:
    """Return how each version was judged, in the order in which they took part."""
    return [_tally(each) for each in _by_version(trials)]


def results(trials: Iterable[Trial]) -> list[Result]:
    """Return how each version did, in the order in which they took part; `trials` have their predictions with them."""
    return [_result(each) for each in _by_version(trials)]


def _by_version(trials: Iterable[Trial]) -> Iterable[list[Trial]]:
    by_version: dict[int, list[Trial]] = {}
    for trial in trials:
        by_version.setdefault(trial.version_id, []).append(trial)
    return by_version.values()


def _tally(trials: Sequence[Trial]) -> Tally:
    return Tally(trials[0].version, Counter(trial.verdict for trial in trials))


def _result(trials: Sequence[Trial]) -> Result:
    predictions = [trial.prediction for trial in trials if trial.prediction]
    ended = [_row(prediction) for prediction in predictions if prediction.is_terminal]
    return Result(_tally(trials), figures(ended), problems=len(trials) - len(predictions))


def _row(prediction: Prediction) -> dict[str, Any]:
    return {name: getattr(prediction, name) for name in COLUMNS}
