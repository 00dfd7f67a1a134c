"""What versions make of the same prompts, side by side: what somebody looks at before one of them is promoted."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from predictions.models.catalogue import Version
from predictions.models.prediction import Prediction
from predictions.prompts import Turn

TITLE_LENGTH = 100  # characters
LONGEST_PROMPT = 200_000  # characters of all turns


def title_of(text: str) -> str:
    """Make a title of a prompt: its first words."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1] + "…"


def check_turns(value: Any) -> None:  # any JSON
    """Raise ValidationError unless `value` says what `Turn` says, ends with a question, and is not too long."""
    roles = {"user", "assistant"}
    is_list = isinstance(value, list) and all(
        isinstance(each, dict) and each.keys() == {"role", "text"} for each in value
    )
    if not is_list or not all(each["role"] in roles and isinstance(each["text"], str) for each in value):
        raise ValidationError("This is no conversation.")
    if not value or value[-1]["role"] != "user" or not value[-1]["text"].strip():
        raise ValidationError("Write what is to be asked.")
    if sum(len(each["text"]) for each in value) > LONGEST_PROMPT:
        raise ValidationError(f"This is longer than {LONGEST_PROMPT:,} characters.")


class Prompt(models.Model):
    """A question, and what was said before it."""

    title = models.CharField(max_length=TITLE_LENGTH)
    turns = models.JSONField(validators=[check_turns])  # [{"role": "user", "text": "…"}, …], the question last

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.title

    @property
    def question(self) -> str:
        return str(self.turns[-1]["text"])

    @property
    def as_turns(self) -> list[Turn]:
        return [Turn(each["role"], each["text"]) for each in self.turns]

    @staticmethod
    def written(turns: Sequence[Turn]) -> list[dict[str, str]]:
        """Return `turns` as they are kept."""
        return [{"role": turn.role, "text": turn.text} for turn in turns]


class SavedPrompt(Prompt):
    """A prompt that is kept to try versions with."""

    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    class Meta(Prompt.Meta):
        abstract = False
        ordering = ["-pk"]

    @classmethod
    def keep(cls, turns: Sequence[Turn], *, user: Any) -> "SavedPrompt":  # a User of whichever model
        """Save a prompt under the first words of its question."""
        return cls.objects.create(title=title_of(turns[-1].text), turns=cls.written(turns), created_by=user)


class Comparison(models.Model):
    """A run of prompts on several versions; the others are judged against the first of them."""

    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Comparison {self.pk}"

    @property
    def versions(self) -> list[Version]:
        """Those that take part, the one that the others are judged against first."""
        trials = Trial.objects.filter(case__comparison=self, case__position=0).select_related("version__model")
        return [trial.version for trial in trials.defer("version__openapi_schema")]


class Case(Prompt):
    """A prompt as it was when it was run: saved ones may change, what was seen does not."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="cases")
    position = models.PositiveSmallIntegerField()

    class Meta(Prompt.Meta):
        abstract = False
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["comparison", "position"], name="case_once_per_position")]


class Trial(models.Model):
    """A prediction that belongs to no conversation: a version is asked to see how it does."""

    class Verdict(models.TextChoices):
        """How it is, against the first version's answer to the same prompt."""

        BETTER = "better", "Better"
        SAME = "same", "As good"
        WORSE = "worse", "Worse"

    case = models.ForeignKey(Case, null=True, on_delete=models.CASCADE, related_name="trials")  # None: a single try
    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="trials")
    prediction = models.OneToOneField(Prediction, null=True, on_delete=models.CASCADE, related_name="trial")
    problem = models.TextField(blank=True)  # why there is no prediction
    verdict = models.CharField(max_length=10, choices=Verdict, blank=True)
    note = models.CharField(max_length=500, blank=True)
    judged_at = models.DateTimeField(null=True, blank=True)
    judged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["case", "version"], name="trial_once_per_case")]

    def __str__(self) -> str:
        return f"Trial of {self.version}"
