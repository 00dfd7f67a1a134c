"""A prediction from its first row to its end, its output's chunks, and the workers that see it through."""

import os
import platform
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Func, Max, Q
from django.utils import timezone

from predictions import clock, events
from predictions.bus import bus
from predictions.events import CANCELED, FAILED, PROCESSING, STARTING, STATUSES, SUCCEEDED, TERMINAL
from predictions.models.catalogue import Model, Provider, Version
from predictions.models.condition import Condition
from predictions.models.pin import Pin
from predictions.prices import Price, PriceNotUnderstood, cost
from predictions.progress import progress_of
from predictions.queue import fair_order, within_slots
from predictions.references import VERSION, version_in
from predictions.schema import OutputKind
from predictions.transcript import Transcript

LEASE = timedelta(seconds=15)  # a worker that says nothing for so long has lost its predictions
WORKER_SILENCE = timedelta(seconds=15)
LONGEST_QUEUE = timedelta(hours=1)
NOTE_LIMIT = 500  # characters that people may add to a rating
LOGS_LIMIT = 65_536  # characters of a model's logs that are kept, from the start
REMEMBERED_TURNS = timedelta(hours=1)  # who had a turn longer ago counts as not served yet
QUEUE_LIMIT = 1_000  # waiting predictions of one provider that are put in order


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> Self:
        return self.filter(seen_at__gt=clock.now() - WORKER_SILENCE)


class Worker(models.Model):
    """A process that runs predictions. Its id is the fencing token of the leases it holds: newer ones are larger."""

    name = models.CharField(max_length=200)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    figures = models.JSONField(default=dict, blank=True)  # what it counts, as `metrics.worker_figures` writes it

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.pk} ({self.name})"

    @staticmethod
    def own_name() -> str:
        """Return what a worker in this process is called."""
        return f"{platform.node()}:{os.getpid()}"


# Written out: where these are parameters, SQLite reads every row there is instead of the index of these few.
IS_ACTIVE = Func(
    F("status"), template=f"%(expressions)s IN ('{STARTING}', '{PROCESSING}')", output_field=models.BooleanField()
)


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def create(self, **fields: Any) -> "Prediction":
        """Write a question down; when it was asked is told by the clock that all workers share."""
        clock.compare()
        return super().create(**{"created_at": clock.now(), **fields})

    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser of whichever model is configured
        """The predictions that `user` may see: one's own, and trials if one may look at comparisons."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_staff and user.has_perm("predictions.view_comparison"):
            return self.filter(Q(user=user) | Q(trial__isnull=False))
        return self.filter(user=user)

    def active(self) -> Self:
        return self.filter(IS_ACTIVE)

    def queued(self) -> Self:
        """Waiting for their turn: nobody has asked the provider yet."""
        return self.active().filter(asked_at=None)

    def overdue(self, at: datetime, patience: timedelta) -> Self:
        """Those that have waited for longer than `patience`: their run only tells them so."""
        return self.filter(created_at__lte=at - patience)

    def stop_all(self) -> int:
        """Stop those that are being written; return how many."""
        running = list(self.active())
        for prediction in running:
            prediction.request_cancel()
        return len(running)

    def held(self, at: datetime) -> Self:
        return self.active().filter(leased_until__gt=at, leased_until__lte=at + 2 * LEASE)

    def claim(self, worker: Worker, *, limit: int, besides: Iterable[uuid.UUID] = ()) -> list["Prediction"]:
        """Take up to `limit` predictions for `worker`: orphans first, then the queue, fairly between people.

        Whoever is in `besides` (what this worker still holds in memory) is left alone.
        """
        clock.compare()
        claimed: list[Prediction] = []
        for provider in Provider.objects.order_by("pk"):
            room = limit - len(claimed)
            if room <= 0:
                break
            claimed += self._claim_at(provider, worker, room, set(besides))
        return claimed

    @transaction.atomic
    def _claim_at(self, provider: Provider, worker: Worker, limit: int, besides: set[uuid.UUID]) -> list["Prediction"]:
        now = clock.now()
        there = self.filter(model__provider=provider)
        if not there.claimable(now).exists():
            return []
        # One claimer a provider: two that count its free slots at once would fill them twice.
        condition = Condition.objects.lock(provider)
        free = there.claimable(now).exclude(pk__in=besides)
        orphans = free.exclude(asked_at=None)
        overdue = free.queued().overdue(now, provider.patience if condition.trouble else LONGEST_QUEUE)
        chosen = list((orphans | overdue).values_list("pk", flat=True)[:limit])
        slots = limit - len(chosen)
        if provider.concurrency is not None:
            asked = there.active().exclude(asked_at=None).exclude(pk__in=chosen)
            taken = there.held(now).filter(asked_at=None).count() + asked.count() + len(chosen)
            slots = min(slots, provider.concurrency - taken)
        if slots > 0:
            waiting = there.within_slots_of_models(free.queued().exclude(pk__in=chosen).in_turn(provider), now)[:slots]
            chosen += waiting[: condition.take_creates(len(waiting), now)]
        count = self.filter(pk__in=chosen).claimable(now).update(worker=worker, leased_until=now + LEASE)
        rows = self.filter(pk__in=chosen, worker=worker, leased_until=now + LEASE)
        rows = rows.select_related("model__provider", "version")
        assert count == len(rows)  # noqa: S101 - the provider's lock keeps every other claimer out
        return sorted(rows, key=lambda row: chosen.index(row.pk))

    def within_slots_of_models(self, waiting: list[uuid.UUID], at: datetime) -> list[uuid.UUID]:
        """Leave those of `waiting` out whose model runs as many answers already as it may, in the order they have."""
        limits = Model.objects.filter(predictions__in=waiting).exclude(concurrency=None)
        free = {model.pk: model.concurrency or 0 for model in limits.only("concurrency")}
        if not free:
            return waiting
        running = self.active().filter(model__in=free).exclude(asked_at=None) | self.held(at).filter(model__in=free)
        for model in running.values_list("model", flat=True):
            free[model] -= 1
        models_of = dict(self.filter(pk__in=waiting).values_list("pk", "model"))
        return within_slots(waiting, models_of, free)

    def unclaimed(self, at: datetime) -> Self:
        # No lease reaches far into the future: one that does was given while a clock was wrong.
        wrong = Q(leased_until__gt=at + 2 * LEASE)
        return self.active().filter(Q(leased_until=None) | Q(leased_until__lte=at) | wrong)

    def claimable(self, at: datetime) -> Self:
        """Unfinished predictions that no live worker holds, and whose time has come."""
        return self.unclaimed(at).filter(Q(not_before=None) | Q(not_before__lte=at))

    def in_turn(self, provider: Provider) -> list[uuid.UUID]:
        """The ids of this queue at `provider`, who is next first: people take turns, each in their own order.

        What nobody waits for comes after all others.
        """
        ordered = self.order_by("is_background", "created_at", "pk")
        queue = list(ordered.values_list("pk", "user", "is_background")[:QUEUE_LIMIT])
        waiting = [(key, user) for key, user, is_background in queue if not is_background]
        there = Prediction.objects.filter(
            model__provider=provider, is_background=False, user__in={user for _, user in waiting}
        )
        busy = there.active().exclude(asked_at=None).values_list("user", flat=True)
        served = there.filter(asked_at__gt=clock.now() - REMEMBERED_TURNS).values("user")
        last_turns = served.annotate(last=Max("asked_at")).order_by("last").values_list("user", flat=True)
        answers = fair_order(waiting, busy=list(busy), served=list(last_turns))
        return answers + [key for key, _, is_background in queue if is_background]


class Prediction(models.Model):
    """One question to one version of a model. The row is written before the provider is asked, and owns the answer.

    A worker that runs it keeps `transcript` beside the row, hands every event to `apply` and the
    outcome to the journal.
    """

    class Chosen(models.TextChoices):
        """How the version was chosen that was asked for."""

        PINNED = "pinned", "It is pinned."
        LATEST = "latest", "It was the latest one."
        FALLBACK = "fallback", "The pinned version was gone; this one stands in for it."
        CANDIDATE = "candidate", "It is being tried out with a part of the conversations."
        KEPT = "kept", "The conversation began with it."
        NAMED = "named", "Somebody asked for this version."

    class Rating(models.IntegerChoices):
        """What the person who asked thinks of the answer."""

        GOOD = 1
        BAD = -1

    class RatingReason(models.TextChoices):
        """Why they think so."""

        WRONG = "wrong", "Wrong"
        IGNORED = "ignored", "Did not follow what I asked"
        UNPLEASANT = "unpleasant", "Unsafe or unpleasant"
        TEDIOUS = "tedious", "Too long or slow"
        CORRECT = "correct", "Correct"
        CLEAR = "clear", "Well explained"
        OTHER = "other", "Something else"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="predictions"
    )  # None: asked from the command line
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="predictions")
    version = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="predictions")
    chosen = models.CharField(max_length=10, choices=Chosen, blank=True)  # how it came to this version
    pin = models.ForeignKey(Pin, null=True, on_delete=models.SET_NULL, related_name="predictions")  # that decided it
    schema_hash = models.CharField(max_length=64, blank=True)  # of the version as it was described then
    input = models.JSONField()

    status = models.CharField(max_length=10, choices=[(status, status) for status in STATUSES], default=STARTING)
    output = models.TextField(blank=True)  # once it has ended; before that the chunks are the output
    output_end = models.PositiveIntegerField(default=0)  # code points in `output`
    edition = models.PositiveIntegerField(default=0)  # counts how often the text was replaced as a whole
    error = models.TextField(blank=True)
    logs = models.TextField(blank=True)
    progress = models.PositiveSmallIntegerField(null=True, blank=True)  # percent, where the model's log tells it
    file_count = models.PositiveIntegerField(default=0)  # files of the output that are kept, or given up
    metrics = models.JSONField(default=dict, blank=True)
    price = models.JSONField(null=True, blank=True)  # as `prices.Price` writes it, as it was then
    length_limit = models.PositiveIntegerField(null=True, blank=True)  # tokens that were asked for at most, where known
    cost = models.DecimalField(max_digits=24, decimal_places=10, null=True, blank=True)  # US dollars, an estimate
    is_substituted = models.BooleanField("another version answered", default=False)
    is_background = models.BooleanField("nobody waits for it", default=False)  # its turn is after all answers
    rating = models.SmallIntegerField(null=True, blank=True, choices=Rating)
    rating_reason = models.CharField(max_length=10, blank=True, choices=RatingReason)
    rating_note = models.CharField(max_length=NOTE_LIMIT, blank=True)  # in their own words

    created_at = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(null=True, blank=True)  # the intent: stamped before the provider is asked
    started_at = models.DateTimeField(null=True, blank=True)
    first_output_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)  # asked too early: the provider was busy or away
    attempts = models.PositiveIntegerField(default=0)  # how often the provider was asked
    losses = models.PositiveIntegerField(default=0)  # how often nothing came of that, and it was not a refusal

    asked_for = models.CharField(max_length=250, blank=True)  # the reference that the provider was asked for
    answered_model = models.CharField(max_length=250, blank=True)  # the model and the version that the provider
    answered_version = models.CharField(max_length=200, blank=True)  # says it used; "hidden" where it does not tell
    provider_id = models.CharField(max_length=200, blank=True, db_index=True)
    hinted_id = models.CharField(max_length=200, blank=True)  # the provider's id as a webhook told it
    lost_at = models.DateTimeField(null=True, blank=True)  # asked, but the answer to that got lost: being looked for
    urls = models.JSONField(default=dict, blank=True)  # get, cancel, stream; the last is a right to read: never shown

    worker = models.ForeignKey(Worker, null=True, blank=True, on_delete=models.SET_NULL, related_name="predictions")
    leased_until = models.DateTimeField(null=True, blank=True)

    objects = PredictionQuerySet.as_manager()

    # The reasons that there can be for each rating.
    REASONS: ClassVar[dict[int, tuple[RatingReason, ...]]] = {
        Rating.GOOD: (RatingReason.CORRECT, RatingReason.CLEAR, RatingReason.OTHER),
        Rating.BAD: (
            *(RatingReason.WRONG, RatingReason.IGNORED, RatingReason.UNPLEASANT),
            *(RatingReason.TEDIOUS, RatingReason.OTHER),
        ),
    }

    # What a run may change, besides the text.
    STATE: ClassVar[tuple[str, ...]] = (
        *("status", "edition", "error", "logs", "progress", "file_count", "metrics", "cost"),
        *("asked_at", "lost_at", "started_at", "first_output_at", "completed_at", "not_before", "attempts", "losses"),
        *("asked_for", "provider_id", "answered_model", "answered_version", "is_substituted", "urls"),
    )

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["leased_until"],
                name="prediction_active",
                condition=Q(status__in=(STARTING, PROCESSING)),
            ),
            models.Index(fields=["-created_at"], name="prediction_substituted", condition=Q(is_substituted=True)),
            models.Index(fields=["version", "-created_at"], name="prediction_of_version"),
            models.Index(fields=["-created_at"], name="prediction_paid", condition=Q(cost__isnull=False)),
        ]
        constraints = [models.CheckConstraint(condition=Q(status__in=STATUSES), name="prediction_status_is_known")]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"

    # ------------------------------------------------------------ what it looks like

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_cut_off(self) -> bool:
        """Whether it ended because it was as long as it was to be at most, as far as its host counts."""
        tokens = self.metrics.get("output_token_count")
        if self.length_limit is None or not isinstance(tokens, int | float):
            return False
        return self.status == SUCCEEDED and tokens >= self.length_limit

    @property
    def reasons(self) -> tuple[RatingReason, ...]:
        """The reasons that there can be for its rating."""
        return self.REASONS.get(self.rating or 0, ())

    @property
    def wanted_version(self) -> str:
        """The exact version that was to answer; "" where whatever is behind a name was meant.

        A deployment or an official model is asked by its name. Where somebody chose a version of it all the same, that
        is the one that was meant.
        """
        if named := version_in(self.asked_for):
            return named
        if self.version is None or self.chosen in {"", self.Chosen.LATEST}:
            return ""
        return version_in(self.version.identifier)

    def is_another(self, answered: str) -> bool:
        """Whether `answered` is an exact version, and not the one that was to answer."""
        return bool(VERSION.fullmatch(answered)) and self.wanted_version not in {"", answered}

    @property
    def output_kind(self) -> OutputKind:
        """What its version's schema says comes out."""
        return self.version.output_kind if self.version else OutputKind.UNKNOWN

    @property
    def separator(self) -> str:
        """What stands between the parts of an output that is a list of texts."""
        return self.version.separator if self.version else ""

    @property
    def phase(self) -> str:
        """`queued`, `starting` (the provider was asked), `unknown` (was it?), `running`, or how it ended."""
        if self.status == PROCESSING:
            return "running"
        if self.status == STARTING and self.asked_at is None:
            return "queued"
        if self.status == STARTING and self.lost_at is not None:
            return "unknown"
        return self.status

    @property
    def phase_since(self) -> datetime:
        """When the present phase began."""
        since = {
            "queued": self.created_at,
            "starting": self.asked_at,
            "unknown": self.lost_at,
            "running": self.started_at,
        }
        return since.get(self.phase, self.completed_at) or self.created_at

    def count_ahead(self) -> int:
        """How many predictions of the queue have their turn before this one."""
        provider = self.model.provider
        queue = Prediction.objects.filter(model__provider=provider).queued()
        waiting = queue.unclaimed(clock.now()).in_turn(provider)
        return waiting.index(self.pk) if self.pk in waiting else 0

    # ------------------------------------------------------------ what happens to it

    def resume(self, text: str) -> None:
        """Get ready to run, or to run on, with the `text` that was journaled so far."""
        self.transcript = Transcript(text)
        self.text_replaced = False
        self.state_changed = False

    def apply(self, event: events.Event, *, at: datetime) -> None:
        """Let `event` happen at `at`. Terminal states absorb; what is told twice happens once.

        Pure: it changes this object alone. `resume` must have been called.
        """
        if self.is_terminal:
            return
        match event:
            case events.Started():
                self._start(at)
            case events.Restarted():
                self._replace_text("")
                self._set(file_count=0, progress=None)
            case events.Output(text, offset):
                self._start(at)
                self._take_in(text, offset, at)
            case events.Logs(text):
                if len(text) > len(self.logs):
                    self._set(logs=text[:LOGS_LIMIT], progress=progress_of(text))
            case events.Failed(error):
                self._set(status=FAILED, error=error, completed_at=at)
            case events.Completed():
                self._complete(event, at)

    def _start(self, at: datetime) -> None:
        if self.status == STARTING:
            self._set(status=PROCESSING, started_at=at)

    def _take_in(self, text: str, offset: int, at: datetime) -> None:
        # A whole text that says otherwise: some piece of what was heard got lost, or the model has changed its mind.
        if offset == 0 and self.transcript.contradicts(text):
            self._replace_text(text)
        elif self.transcript.extend(text, offset) and self.first_output_at is None:
            self._set(first_output_at=at)

    def _complete(self, final: events.Completed, at: datetime) -> None:
        if final.output is not None:
            self._settle_text(final.output, succeeded=final.status == SUCCEEDED, at=at)
        if final.logs:
            self._set(logs=final.logs[:LOGS_LIMIT])
        self._set(
            status=final.status,
            error=final.error,
            metrics=final.metrics,
            cost=self._cost_of(final.metrics),
            started_at=self.started_at or at,
            completed_at=at,
        )

    @property
    def agreed_price(self) -> Price | None:
        """What it costs by the rule that counted when it was asked; None if nobody can read that."""
        try:
            return Price.from_json(self.price)
        except PriceNotUnderstood:
            return None

    def _cost_of(self, metrics: dict[str, Any]) -> Decimal | None:
        return cost(self.agreed_price, metrics, files=self.file_count) if self.agreed_price else None

    def _settle_text(self, output: str, *, succeeded: bool, at: datetime) -> None:
        # On success the provider's text wins. What ended otherwise keeps what people have seen, and a text that
        # was stopped on purpose does not grow after the stop.
        if self.transcript.is_prefix_of(output):
            stopped = self.cancel_requested_at is not None and not succeeded
            if not stopped and self.transcript.extend(output, 0) and self.first_output_at is None:
                self._set(first_output_at=at)
        elif succeeded:
            self._replace_text(output)

    def _replace_text(self, text: str) -> None:
        if self.transcript.end == 0:
            self.transcript.extend(text, 0)
            return
        self.transcript = Transcript()
        self.transcript.extend(text, 0)
        self.text_replaced = True
        self._set(edition=self.edition + 1)

    def _set(self, **changes: Any) -> None:  # values of the fields named in STATE
        for name, value in changes.items():
            setattr(self, name, value)
        self.state_changed = True

    # ------------------------------------------------------------ what the runner notes

    def note_asked(self, *, at: datetime, asked_for: str, provider_id: str = "") -> None:
        """Note the intent to ask the provider, under `provider_id` where the id is ours to choose."""
        attempts = self.attempts + 1
        self._set(asked_at=at, asked_for=asked_for, provider_id=provider_id, attempts=attempts, not_before=None)

    def note_lost(self, *, at: datetime) -> None:
        """Note that the provider was asked and its answer did not arrive."""
        self._set(lost_at=self.lost_at or at)

    def note_created(self, snapshot: events.Snapshot) -> None:
        self._set(
            provider_id=snapshot.provider_id,
            answered_model=snapshot.model,
            answered_version=snapshot.version,
            is_substituted=self.is_another(snapshot.version),
            urls=snapshot.urls,
            lost_at=None,
        )

    def note_files(self, count: int) -> None:
        """Note that the first `count` files of the output are kept."""
        if count > self.file_count:
            self._set(file_count=count)

    def note_loss(self) -> None:
        """Note that what the provider was asked for did not arrive there, or was forgotten."""
        self._set(losses=self.losses + 1)

    def note_not_taken(self, *, not_before: datetime) -> None:
        """Note that the provider took nothing: back to the queue, until `not_before`."""
        self._set(asked_at=None, provider_id="", lost_at=None, not_before=not_before)

    # ------------------------------------------------------------ what people ask for

    def request_cancel(self) -> None:
        """Stop it: stamp the row and wake the workers. What nobody has asked for yet ends here."""
        clock.compare()
        now = clock.now()
        mine = Prediction.objects.filter(pk=self.pk)
        mine.active().filter(cancel_requested_at=None).update(cancel_requested_at=now)
        if mine.queued().unclaimed(now).update(status=CANCELED, completed_at=now, worker=None):
            transaction.on_commit(lambda: bus.publish((f"prediction:{self.pk}", {})))
        transaction.on_commit(lambda: bus.publish(("work", {"cancel": str(self.pk)})))


class OutputChunk(models.Model):
    """A piece of a running prediction's output, as one tick of the journal wrote it."""

    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="chunks")
    offset = models.PositiveIntegerField()  # code points before it
    text = models.TextField()

    class Meta:
        ordering = ["offset"]
        constraints = [models.UniqueConstraint(fields=["prediction", "offset"], name="chunk_once_per_offset")]

    def __str__(self) -> str:
        return f"{self.prediction_id} at {self.offset}"


class WebhookDelivery(models.Model):
    """A webhook that was taken in: the same one again changes nothing."""

    delivery_id = models.CharField(max_length=200, unique=True)
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="webhook_deliveries")
    received_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.delivery_id
