"""Run the same prompts on several versions, and say what came of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from predictions.bus import bus
from predictions.figures import COLUMNS, Figures, figures
from predictions.models import Case, Comparison, Model, Prediction, SavedPrompt, Trial, Version
from predictions.pins import Choice, InputRefused
from predictions.prompts import Turn

MOST_TRIALS = 20  # of one comparison: as many answers as a page follows at once
MOST_VERSIONS = 4


@transaction.atomic
def begin(prompts: Sequence[SavedPrompt], versions: Sequence[Version], *, user: Any) -> Comparison:
    """Ask each of `versions` what each of `prompts` asks; the first version is what the others are judged against.

    A version that cannot be asked one of them has a problem in the place of a prediction.
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
    """Ask `version` one thing, by what `model` says even if that is not saved."""
    version.model = model
    trial = _try(version, [Turn("user", text)], user=user)
    _call_workers()
    return trial


def _try(version: Version, turns: Sequence[Turn], *, user: Any, case: Case | None = None) -> Trial:
    choice = Choice(version, Prediction.Chosen.NAMED)
    try:
        prediction, problem = choice.ask(choice.input_for(turns), user=user), ""
    except InputRefused as error:
        prediction, problem = None, str(error)
    return Trial.objects.create(case=case, version=version, prediction=prediction, problem=problem)


def _call_workers() -> None:
    transaction.on_commit(lambda: bus.publish(("work", {})))


def stop(comparison: Comparison) -> None:
    """Stop what is still being written; what is there of it stays."""
    for prediction in Prediction.objects.active().filter(trial__case__comparison=comparison):
        prediction.request_cancel()


# ---------------------------------------------------------------- what came of it


@dataclass(frozen=True, slots=True)
class Result:
    """How one version did in a comparison."""

    version: Version
    figures: Figures
    verdicts: Counter[str]  # by `Trial.Verdict`, "" where nobody has judged
    problems: int  # prompts that it could not be asked

    @property
    def verdicts_in_words(self) -> str:
        """`better in 2, as good in 1, worse in 0 of 4`; "" where nobody has judged."""
        judged = {verdict: self.verdicts[verdict] for verdict in Trial.Verdict}
        if not any(judged.values()):
            return ""
        told = ", ".join(f"{verdict.label.lower()} in {count}" for verdict, count in judged.items() if count)
        return f"{told} of {self.verdicts.total()}"


def trials_of(comparison: Comparison) -> QuerySet[Trial]:
    """The trials case by case, with their predictions, but without long documents."""
    trials = Trial.objects.filter(case__comparison=comparison).select_related(
        "case", "version__model", "prediction__model", "judged_by"
    )
    return trials.defer("version__openapi_schema").order_by("case__position", "pk")


def results(trials: Iterable[Trial]) -> list[Result]:
    """Return how each version did, in the order in which they took part; `trials` have their predictions with them."""
    by_version: dict[int, list[Trial]] = {}
    for trial in trials:
        by_version.setdefault(trial.version_id, []).append(trial)
    return [_result(each) for each in by_version.values()]


def _result(trials: Sequence[Trial]) -> Result:
    predictions = [trial.prediction for trial in trials if trial.prediction]
    return Result(
        version=trials[0].version,
        figures=figures([_row(prediction) for prediction in predictions if prediction.is_terminal]),
        verdicts=Counter(trial.verdict for trial in trials),
        problems=len(trials) - len(predictions),
    )


def _row(prediction: Prediction) -> dict[str, Any]:
    return {name: getattr(prediction, name) for name in COLUMNS}
