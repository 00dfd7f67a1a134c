"""How much may be asked: what admins set for each person and for the site, and what is used up of it."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, Subquery, Sum, Value, When

from predictions import clock
from predictions.models.prediction import Prediction
from predictions.pace import Pace

STOPPED = "New answers are stopped for now. Try again later; what you wrote is not lost."
TOO_MANY_AT_ONCE = (
    "{} of your answers are being written, as many as you may have at once. Send this when one has ended."
)
TOO_FAST = "You have sent a lot within a minute. Send this again in {}."
PERSON_DONE = "You have had as many answers today as one person may have. You can go on at 00:00 UTC, in {}."
SITE_DONE = "This site has given as many answers today as it may. It goes on at 00:00 UTC, in {}."

ONLY = 1  # the key of the one row of `Limits`


class LimitReached(Exception):
    """One more answer would be too much; the message is for people, `reason` for the figures."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Limits(models.Model):
    """What an admin sets from day to day: one row. What is not set is not limited."""

    is_stopped = models.BooleanField(
        "stop all new answers",
        default=False,
        help_text="Nobody can ask anything until this is taken back. What was asked before goes on.",
    )
    stop_words = models.CharField(
        "what people are told meanwhile", max_length=200, blank=True, help_text=f"Empty means: {STOPPED}"
    )
    person_answers = models.PositiveIntegerField("answers of each person", null=True, blank=True)
    site_answers = models.PositiveIntegerField("answers of everybody together", null=True, blank=True)
    person_cost = models.DecimalField(
        "US dollars of each person", max_digits=12, decimal_places=2, null=True, blank=True
    )
    site_cost = models.DecimalField(
        "US dollars of everybody together",
        max_digits=12,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="Answers count when they have ended, and where the model’s price is known: a few may go beyond it.",
    )

    class Meta:
        verbose_name = verbose_name_plural = "limits"

    def __str__(self) -> str:
        return "Limits"

    def save(self, *arguments: Any, **options: Any) -> None:
        # Two admins who set limits for the first time at once write into the same row.
        self.pk = self.pk or ONLY
        super().save(*arguments, **options)

    @classmethod
    def now(cls) -> "Limits":
        return cls.objects.first() or cls()

    @classmethod
    def notice(cls) -> Subquery:
        """What people are told while all new answers are stopped, or None: for whoever asks for more anyway."""
        words = Case(When(stop_words="", then=Value(STOPPED)), default="stop_words")
        return Subquery(cls.objects.filter(is_stopped=True).values_list(words)[:1])

    @classmethod
    def reserve(cls, user: Any, *, is_background: bool, is_trial: bool) -> None:  # user: of whichever model, or None
        """Count one more answer that `user` asks for, or nobody; raise LimitReached. Call it in a transaction.

        What nobody waits for counts for the site alone. Trials are asked several at once, so only the day limits them.
        """
        limits = cls.now()
        if limits.is_stopped:
            raise LimitReached("stopped", limits.stop_words or STOPPED)
        now = clock.now()
        if user is not None and not is_background:
            own = Allowance.lock(user, now)
            if not is_trial:
                own.keep_pace(now)
            own.take(limits.person_answers, limits.person_cost, PERSON_DONE, now)
        # Always the person's row first: two that wait for each other would wait for ever.
        Allowance.lock(None, now).take(limits.site_answers, limits.site_cost, SITE_DONE, now)


class Allowance(models.Model):
    """What one person, or everybody together, has used up. Its lock makes those who ask at once wait for each other."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="allowance")
    is_sites = models.BooleanField(default=False)  # everybody's together
    day = models.DateField()  # in UTC, that the next two are of
    answers = models.PositiveIntegerField(default=0)
    cost_of_deleted = models.DecimalField(max_digits=24, decimal_places=10, default=Decimal)  # US dollars
    spent_until = models.DateTimeField(null=True)  # as `Pace` has it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["is_sites"], condition=Q(is_sites=True), name="one_allowance_of_the_site")
        ]

    def __str__(self) -> str:
        return f"{self.user or 'everybody'}: {self.answers} on {self.day}"

    @classmethod
    def lock(cls, user: Any, now: datetime) -> "Allowance":
        """Return the row of `user`, or the site's, for the day that it is; nobody else changes it meanwhile."""
        whose = {"is_sites": True} if user is None else {"user": user}
        cls.objects.get_or_create(**whose, defaults={"day": now.date()})
        row = cls.objects.select_for_update().get(**whose)
        if row.day != now.date():
            row.day, row.answers, row.cost_of_deleted = now.date(), 0, Decimal()
        return row

    def keep_pace(self, now: datetime) -> None:
        """Count one message of this person; raise LimitReached if it is one too many, at once or within a minute."""
        at_once = settings.ANSWERS_AT_ONCE
        running = Prediction.objects.active().filter(user=self.user_id, is_background=False, trial=None)
        if at_once and running.count() >= at_once:
            raise LimitReached("at once", TOO_MANY_AT_ONCE.format(at_once))
        if not settings.MESSAGES_PER_MINUTE:
            return
        pace = Pace(settings.MESSAGES_PER_MINUTE, burst=settings.MESSAGES_PER_MINUTE)
        granted, self.spent_until = pace.grant(self.spent_until, now, 1)
        if not granted:
            raise LimitReached("pace", TOO_FAST.format(_in_words(pace.wait(self.spent_until, now))))

    def take(self, answers: int | None, cost: Decimal | None, words: str, now: datetime) -> None:
        """Count one answer of the day; raise LimitReached, with `words`, where `answers` or `cost` are used up."""
        used_up = answers is not None and self.answers >= answers
        if used_up or (cost is not None and self._cost() >= cost):
            tomorrow = datetime.combine(self.day + timedelta(days=1), time(), tzinfo=UTC)
            whose = "site's day" if self.is_sites else "person's day"
            raise LimitReached(whose, words.format(_in_words((tomorrow - now).total_seconds())))
        self.answers += 1
        self.save(update_fields=["day", "answers", "cost_of_deleted", "spent_until"])

    def _cost(self) -> Decimal:
        begin = datetime.combine(self.day, time(), tzinfo=UTC)
        known = Prediction.objects.filter(cost__isnull=False, created_at__gte=begin)
        mine = known if self.is_sites else known.filter(user=self.user_id, is_background=False)
        spent: Decimal = mine.aggregate(sum=Sum("cost"))["sum"] or Decimal()
        return spent + self.cost_of_deleted

    @classmethod
    def note_deleted(cls, predictions: Any) -> None:  # a PredictionQuerySet; in a transaction
        """Keep what `predictions`, which are about to go, have cost today: to delete gives nothing back."""
        now = clock.now()
        begin = datetime.combine(now.date(), time(), tzinfo=UTC)
        paid = list(predictions.filter(cost__isnull=False, created_at__gte=begin).only("user", "is_background", "cost"))
        own = [each for each in paid if each.user_id is not None and not each.is_background]
        for prediction in sorted(own, key=lambda each: each.user_id):
            cls.lock(prediction.user, now).note_cost(prediction.cost)
        if paid:  # the site's row last, as in `reserve`
            cls.lock(None, now).note_cost(sum((each.cost for each in paid), Decimal()))

    def note_cost(self, cost: Decimal) -> None:
        """Keep what an answer has cost that is about to go."""
        self.cost_of_deleted += cost
        self.save(update_fields=["day", "answers", "cost_of_deleted"])


def _in_words(seconds: float) -> str:
    """`1 second`, `40 seconds`, `3 minutes`, `5 hours`: never less than it takes."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds > 1.5 * length:
            return f"{ceil(seconds / length)} {unit}s"
    return "1 second" if seconds <= 1 else f"{ceil(seconds)} seconds"
