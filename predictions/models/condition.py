"""How a provider is at the moment, as all workers share it: its troubles, its pace, its webhook secrets.

A host in trouble is left in peace for a while, then tried with one question at a time; the first that it takes
ends the trouble (a circuit breaker). Everything here is written by workers, under a lock on the row where it matters.
"""

import random
from contextlib import suppress
from datetime import datetime, timedelta
from math import ceil

from django.db import models, transaction

from predictions import clock
from predictions.encryption import ENCRYPTED, NotDecrypted, decrypt, encrypt
from predictions.models.catalogue import Provider
from predictions.pace import Pace

# Replicate takes 600 creates and 3,000 other requests a minute of an account; a burst counts on top of the pace.
CREATES = {Provider.Kind.REPLICATE: Pace(per_minute=540, burst=60)}
READS = {Provider.Kind.REPLICATE: Pace(per_minute=2_700, burst=300)}
REDUCTION = timedelta(minutes=10)  # how long a reduced pace is kept before the full one is tried again
PAUSES = (1.0, 8.0)  # seconds between tries of a host in trouble, doubling
PROBE = timedelta(seconds=30)  # how long one try of a host in trouble keeps the next one waiting
SHORT_WAIT = 1.0  # seconds for which nobody needs a reason
SECRETS_KEPT = 2  # the webhook secret, and the one before it
SECRET_PAUSE = timedelta(minutes=1)  # between two looks for a new webhook secret


class ConditionQuerySet(models.QuerySet["Condition"]):
    def of(self, provider: Provider) -> "Condition":
        return self.get_or_create(provider=provider)[0]

    def lock(self, provider: Provider) -> "Condition":
        """Return the row, which nobody else can change until the transaction ends."""
        self.of(provider)
        return self.select_for_update().get(provider=provider)


class Condition(models.Model):
    """One row for each provider that was ever asked."""

    provider = models.OneToOneField(Provider, primary_key=True, on_delete=models.CASCADE, related_name="condition")
    trouble = models.TextField(blank=True)  # in words for people; empty: all is well
    trouble_since = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    not_before = models.DateTimeField(null=True, blank=True)  # nothing new is asked until then

    creates_spent_until = models.DateTimeField(null=True, blank=True)
    reads_spent_until = models.DateTimeField(null=True, blank=True)
    reduced_to = models.FloatField(null=True, blank=True)  # creates a minute, as the host said
    reduced_until = models.DateTimeField(null=True, blank=True)

    webhook_secrets = models.JSONField(default=list, blank=True)  # encrypted, the newest first
    secrets_read_at = models.DateTimeField(null=True, blank=True)
    secrets_doubted_at = models.DateTimeField(null=True, blank=True)  # a delivery did not fit any of them

    objects = ConditionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.provider}: {self.trouble or 'well'}"

    # ------------------------------------------------------------ creating, within the claim's lock

    def take_creates(self, wanted: int, now: datetime) -> int:
        """Return how many of `wanted` predictions may be asked for at `now`, and note that they are."""
        if wanted <= 0 or (self.not_before and self.not_before > now):
            return 0
        if self.reduced_until and self.reduced_until <= now:
            self.reduced_to = self.reduced_until = self.creates_spent_until = None
        if self.trouble:
            wanted = 1
        pace = self._pace_of_creates(now)
        if pace is not None:
            wanted, self.creates_spent_until = pace.grant(self.creates_spent_until, now, wanted)
        if self.trouble and wanted:
            self.not_before = now + PROBE
        self.save(update_fields=["creates_spent_until", "not_before", "reduced_to", "reduced_until"])
        return wanted

    def wait_for_create(self, now: datetime) -> float:
        """Return for how many seconds nothing new will be asked."""
        pause = (self.not_before - now).total_seconds() if self.not_before else 0.0
        pace = self._pace_of_creates(now)
        return max(pause, pace.wait(self.creates_spent_until, now) if pace else 0.0, 0.0)

    def reason_to_wait(self, now: datetime) -> str:
        """Say why a question waits; "" if it does not have to."""
        wait = self.wait_for_create(now)
        reason = self.trouble
        if wait >= SHORT_WAIT:
            reason = f"{reason or f'{self.provider}’s rate limit is reached.'} Next try in about {ceil(wait)} s."
        return reason

    def _pace_of_creates(self, now: datetime) -> Pace | None:
        usual = CREATES.get(Provider.Kind(self.provider.kind))
        if usual and self.reduced_to and self.reduced_until and self.reduced_until > now:
            return Pace(min(self.reduced_to, usual.per_minute), burst=1)
        return usual

    # ------------------------------------------------------------ what workers hear of it

    @classmethod
    @transaction.atomic
    def note_trouble(cls, provider: Provider, trouble: str, *, pause: float | None = None) -> None:
        """Note that `provider` could not take a question: leave it in peace for `pause` seconds, or ever longer."""
        condition = cls.objects.lock(provider)
        now = clock.now()
        first, longest = PAUSES
        if pause is None:
            pause = min(first * 2 ** min(condition.failures, 10), longest) * random.uniform(0.8, 1.2)  # noqa: S311
        condition.trouble = trouble
        condition.trouble_since = condition.trouble_since or now
        condition.failures += 1
        condition.not_before = now + timedelta(seconds=pause)
        condition.save(update_fields=["trouble", "trouble_since", "failures", "not_before"])

    @classmethod
    def note_success(cls, provider: Provider) -> None:
        """Note that `provider` took a question: all is well."""
        ill = cls.objects.filter(provider=provider).exclude(trouble="")
        ill.update(trouble="", trouble_since=None, failures=0, not_before=None)

    @classmethod
    def note_reduced_pace(cls, provider: Provider, per_minute: float) -> None:
        cls.objects.filter(provider=provider).update(reduced_to=per_minute, reduced_until=clock.now() + REDUCTION)

    @classmethod
    @transaction.atomic
    def take_reads(cls, provider: Provider, wanted: int) -> tuple[int, float]:
        """Return how many of `wanted` looks may be made now; if none, also the seconds to wait."""
        pace = READS.get(Provider.Kind(provider.kind))
        if pace is None:
            return wanted, 0.0
        condition = cls.objects.lock(provider)
        now = clock.now()
        granted, condition.reads_spent_until = pace.grant(condition.reads_spent_until, now, wanted)
        condition.save(update_fields=["reads_spent_until"])
        return granted, pace.wait(condition.reads_spent_until, now)

    # ------------------------------------------------------------ webhook secrets

    @classmethod
    @transaction.atomic
    def note_secret(cls, provider: Provider, secret: str) -> None:
        """Keep the webhook secret that the host tells now, and the one before it."""
        condition = cls.objects.lock(provider)
        others = [known for known in condition.secrets if known != secret]
        condition.keep_secrets([secret, *others][:SECRETS_KEPT])
        condition.secrets_read_at = clock.now()
        condition.save(update_fields=["webhook_secrets", "secrets_read_at"])

    @property
    def secrets(self) -> list[str]:
        """The webhook secrets that can be read; others count as unknown, and answers come by looking."""
        found = []
        for kept in self.webhook_secrets:
            with suppress(NotDecrypted):
                # Older versions kept them as they are.
                found.append(decrypt(kept, purpose=self._purpose) if kept.startswith(ENCRYPTED) else kept)
        return found

    def keep_secrets(self, secrets: list[str]) -> None:
        """Have `secrets` saved with this row; none where there is no key, which `doctor` tells."""
        try:
            self.webhook_secrets = [encrypt(secret, purpose=self._purpose) for secret in secrets]
        except NotDecrypted:
            self.webhook_secrets = []

    @property
    def _purpose(self) -> str:
        return f"webhooks of provider {self.provider_id}"

    def doubt_secrets(self) -> None:
        """Have a worker look for a new webhook secret soon."""
        Condition.objects.filter(pk=self.pk).update(secrets_doubted_at=clock.now())
