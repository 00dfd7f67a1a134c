"""What is signed in where, how often somebody tried in vain, who is invited or vouched for, and rights of groups."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from chat.models import User

EVERYBODY = "Everybody"  # the group that every new account joins

FORGET = timedelta(hours=6)  # after the last wait of a key, its failures count no more
GRACE = timedelta(milliseconds=500)  # two who try at once, and whose clocks differ, do not wait for each other
STEEPEST = 30  # doublings; more would only make large numbers
REMEMBER = timedelta(hours=1)  # for which an assertion is known; it is believed for less


class Rights(models.Model):
    """What groups may carry beside the rights of the admin’s pages; there are no rows."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("enter_admin", "Can enter the administration"),
            ("upload_files", "Can add files to questions"),
            ("export_conversations", "Can export conversations"),
        ]


class SignIn(models.Model):
    """A browser in which somebody is signed in; it goes with its session."""

    session = models.OneToOneField(Session, on_delete=models.CASCADE, related_name="sign_in")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_ins")
    browser = models.CharField(max_length=100)  # in words
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField(default=timezone.now)  # about

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return self.browser

    @classmethod
    def end_all(cls, user: User, *, but: str | None = None) -> None:
        """Sign `user` out everywhere, except in the session `but`."""
        Session.objects.filter(sign_in__user=user).exclude(pk=but or "").delete()


# ---------------------------------------------------------------- tries


@dataclass(frozen=True, slots=True)
class Patience:
    """`free` failures cost nothing; after each further one the wait is twice as long, up to `longest`."""

    free: int
    longest: timedelta

    def after(self, failures: int) -> timedelta:
        if failures < self.free:
            return timedelta()
        return min(timedelta(seconds=2 ** min(failures - self.free, STEEPEST)), self.longest)


@dataclass(frozen=True, slots=True)
class Claim:
    """A try that counts against somebody: an account, an address, a browser that its owner is known to use."""

    of: str
    patience: Patience

    @property
    def digest(self) -> str:
        return salted_hmac("chat.people.tries", self.of, algorithm="sha256").hexdigest()


class Tries(models.Model):
    """How often something was tried in vain lately, in the name of what only its digest tells."""

    digest = models.CharField(max_length=64, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    free_at = models.DateTimeField(default=timezone.now, db_index=True)  # when it may be tried again

    class Meta:
        verbose_name_plural = "tries"

    def __str__(self) -> str:
        return self.digest[:12]

    @classmethod
    @transaction.atomic
    def take(cls, claims: Iterable[Claim]) -> timedelta:
        """Count one more try for all `claims`; or none, and return for how long nothing may be tried.

        It counts as a failure until `give_back`: of a hundred at once, no more pass than one after the other.
        """
        claimed = {claim.digest: claim for claim in sorted(claims, key=lambda claim: claim.digest)}
        # Whoever has to wait leaves no row for each name that they think of.
        if (wait := _longest(cls.objects.in_bulk(list(claimed)).values())) > GRACE:
            return wait
        for digest in claimed:
            cls.objects.get_or_create(digest=digest)
        # In one order, so that two never wait for each other.
        rows = cls.objects.select_for_update().order_by("digest").in_bulk(list(claimed))
        if (wait := _longest(rows.values())) > GRACE:
            return wait
        for digest, claim in claimed.items():
            rows[digest].count(claim.patience)
        return timedelta()

    @classmethod
    def give_back(cls, claim: Claim) -> None:
        """Take back what `take` counted: it was no failure."""
        tried = cls.objects.filter(digest=claim.digest, failures__gt=0)
        tried.update(failures=models.F("failures") - 1, free_at=timezone.now())

    @classmethod
    def forgive(cls, claim: Claim) -> None:
        """Forget all failures: whoever tried has shown who it is."""
        cls.objects.filter(digest=claim.digest).delete()

    @classmethod
    def forget_old(cls) -> None:
        cls.objects.filter(free_at__lt=timezone.now() - FORGET).delete()

    def count(self, patience: Patience) -> None:
        now = timezone.now()
        self.failures = 1 if self.free_at < now - FORGET else self.failures + 1
        self.free_at = now + patience.after(self.failures)
        self.save(update_fields=["failures", "free_at"])


def _longest(tries: Iterable[Tries]) -> timedelta:
    return max((row.free_at - timezone.now() for row in tries), default=timedelta())


# ---------------------------------------------------------------- invitations


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        """Those that somebody may still use."""
        now = timezone.now()
        return self.filter(revoked_at=None, expires_at__gt=now, used__lt=models.F("uses"))

    def held(self, token: str) -> Self:
        """The open one whose link holds `token`, if there is one."""
        return self.open().filter(digest=digest_of(token))

    def revoke(self) -> None:
        self.filter(revoked_at=None).update(revoked_at=timezone.now())


class Invitation(models.Model):
    """A link that lets people make accounts of their own; only the digest of what it holds is kept."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    note = models.CharField(max_length=200, blank=True, help_text="For whom or what it is; only admins read it.")
    email = models.EmailField(
        "e-mail address", blank=True, help_text="If there is one, only an account with this address can be made."
    )
    groups = models.ManyToManyField(
        Group, blank=True, help_text="What whoever uses it becomes a member of, beside “Everybody”."
    )
    uses = models.PositiveIntegerField("how many may use it", default=1)
    used = models.PositiveIntegerField("used", default=0, editable=False)
    expires_at = models.DateTimeField("good until")
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField("made", default=timezone.now, editable=False)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(used__lte=models.F("uses")), name="invitation_used_within_uses")
        ]

    def __str__(self) -> str:
        return self.note or self.email or f"Invitation {self.digest[:8]}"

    @property
    def standing(self) -> str:
        """What can be said of it in a word or two."""
        if self.revoked_at is not None:
            return "Revoked"
        if self.used >= self.uses:
            return "Used up"
        return "Open" if self.expires_at > timezone.now() else "Expired"

    def issue_token(self) -> str:
        """Make what its link holds, and keep the digest of it; the row is not saved."""
        token = secrets.token_urlsafe(24)
        self.digest = digest_of(token)
        return token

    @transaction.atomic
    def redeem(self, username: str, password: str, email: str = "") -> User | None:
        """Make an account; None if somebody else was quicker or the invitation is not open any more."""
        # Whoever counts it up makes the account: of fifty that try at once, as many as there are uses do.
        if not Invitation.objects.open().filter(pk=self.pk).update(used=models.F("used") + 1):
            return None
        user = User.objects.create_user(username, email=self.email or email, password=password)
        user.groups.add(*self.groups.all())
        return user


# ---------------------------------------------------------------- vouching


class Assertion(models.Model):
    """What a SAML identity provider has said of somebody, to be heard once; it is known for longer than believed."""

    digest = models.CharField(max_length=64, primary_key=True)  # of its id
    token = models.CharField(max_length=64, unique=True)  # the digest of what the browser that brought it holds
    request = models.CharField(max_length=100)  # the id of what it answers
    said = models.JSONField(null=True)  # until that browser has come
    received_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.digest[:12]

    @classmethod
    def keep(cls, name: str, request: str, said: dict[str, Any]) -> str | None:
        """Keep what the assertion `name` says; return the token that it is taken with, None if it was here before."""
        token = secrets.token_urlsafe(24)
        try:
            with transaction.atomic():
                cls.objects.create(digest=digest_of(name), token=digest_of(token), request=request, said=said)
        except IntegrityError:
            return None
        return token

    @classmethod
    def take(cls, token: str) -> Self | None:
        """Return the one that was kept with `token`, once."""
        kept = cls.objects.filter(token=digest_of(token), said__isnull=False)
        row = kept.filter(received_at__gt=timezone.now() - REMEMBER).first()
        # Of two that come for it at once, one gets it.
        return row if row is not None and kept.update(said=None) else None

    @classmethod
    def forget_old(cls) -> None:
        cls.objects.filter(received_at__lt=timezone.now() - REMEMBER).delete()


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
