"""People, their conversations, and the messages of these as a tree."""

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from chat.markdown import render
from predictions import clock, pins, receipts
from predictions.bus import bus
from predictions.follow import Frame, read_frame
from predictions.models import File, Model, Prediction, Version
from predictions.pins import NothingAnswers
from predictions.prompts import Turn

NOT_OFFERED = "This model is not available to you now. Choose another one."
RELATIONS = ("prediction__model__provider", "prediction__version")  # that showing a message reads
BULKY = "prediction__version__openapi_schema"  # of which no message shows anything
TITLE_LENGTH = 60  # characters of the first question that become the title


class User(AbstractUser):
    """Who uses Parley."""


class SetupToken(models.Model):
    """The right to make the first admin, printed once in the terminal; only its digest is kept."""

    digest = models.CharField(max_length=64)

    def __str__(self) -> str:
        return "the token of the set-up page"

    @classmethod
    def issue(cls) -> str | None:
        """Make a new token in the place of any older one; None if there is an admin already."""
        if User.objects.filter(is_superuser=True).exists():
            return None
        token = secrets.token_urlsafe(24)
        cls.objects.update_or_create(pk=1, defaults={"digest": _digest(token)})
        return token

    @classmethod
    def is_good(cls, token: str) -> bool:
        return cls.objects.filter(digest=_digest(token)).exists()

    @classmethod
    @transaction.atomic
    def redeem(cls, token: str, username: str, password: str) -> User | None:
        """Spend `token` on the first admin; None if it was spent or replaced."""
        # Whoever deletes the row makes the admin: of fifty that try at once, one does.
        deleted, _ = cls.objects.filter(digest=_digest(token)).delete()
        if not deleted:
            return None
        return User.objects.create_superuser(username, password=password)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class AlreadyAnswering(Exception):
    """The conversation's last answer is still being written."""


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser
        """The conversations that `user` may see."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(owner=user)


class Conversation(models.Model):
    """A tree of messages that belongs to one person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=TITLE_LENGTH + 1)
    model = models.ForeignKey(Model, null=True, on_delete=models.SET_NULL)  # the one that was chosen last
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    moved_at = models.DateTimeField(null=True, blank=True)  # when its owner last left the versions it had begun with

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["owner", "-updated_at"])]

    def __str__(self) -> str:
        return self.title

    @classmethod
    def begin(cls, owner: User, text: str, *, message_id: uuid.UUID, model: Model) -> "Conversation":
        """Make a conversation with its first question; the same `message_id` again is the same conversation."""
        known = cls.objects.filter(owner=owner, messages=message_id)
        try:
            with transaction.atomic():
                if (conversation := known.first()) is None:
                    conversation = cls.objects.create(owner=owner, title=make_title(text), model=model)
                    conversation.ask(text, message_id=message_id, model=model)
                return conversation
        except IntegrityError:  # sent twice at once, and the other one was quicker
            return known.get()

    @transaction.atomic
    def ask(self, text: str, *, message_id: uuid.UUID, model: Model) -> "Message":
        """Add a question and have `model` answer it; return the question.

        `message_id` makes it idempotent: the same id again is the same question. Raises AlreadyAnswering or
        NothingAnswers; then nothing is written.
        """
        self._lock()
        known = self.messages.filter(pk=message_id).first()
        if known is not None:
            return known
        branch = self._free_branch()
        question = self._add(branch[-1] if branch else None, pk=message_id, role=Message.Role.USER, text=text)
        self._answer([*branch, question], model)
        return question

    @transaction.atomic
    def answer_again(self, answer: "Message") -> "Message":
        """Have the question of `answer` answered once more, by the same model; return the new answer."""
        self._lock()
        self._free_branch()
        assert answer.prediction is not None  # noqa: S101 - a question has no answer button
        path = self._path_to(answer.parent_id)
        return self._answer(path, answer.prediction.model)

    @transaction.atomic
    def run_again(self, answer: "Message", version: Version) -> "Message":
        """Ask `version` for what `answer` was asked for: the same input, the same files; return the new answer.

        Raises AlreadyAnswering, NothingAnswers or InputRefused; then nothing is written.
        """
        self._lock()
        self._free_branch()
        self._check_is_offered(version.model)
        assert answer.prediction is not None  # noqa: S101 - a question cannot be run
        prediction = receipts.ask_again(answer.prediction, version, user=self.owner)
        return self._add_answer(answer.parent, prediction)

    def turns_before(self, answer: "Message") -> list[Turn]:
        """What was said down to the question of `answer`."""
        return turns_of(self._path_to(answer.parent_id))

    def branch(self) -> list["Message"]:
        """The messages that are shown: from the first question down to the newest message."""
        newest = self.messages.order_by("-ordinal").values_list("pk", flat=True).first()
        return self._path_to(newest)

    def _free_branch(self) -> list["Message"]:
        """Return the branch that is shown; raise AlreadyAnswering while its last answer is being written."""
        branch = self.branch()
        if branch and branch[-1].is_running:
            raise AlreadyAnswering
        return branch

    def _path_to(self, leaf: uuid.UUID | None) -> list["Message"]:
        rows = self.messages.select_related(*RELATIONS).defer(BULKY)
        messages = {message.pk: message for message in rows}
        path = []
        while leaf is not None:
            path.append(messages[leaf])
            leaf = messages[leaf].parent_id
        path.reverse()
        for message in path:
            message.conversation = self
        for message, following in pairwise(path):
            message.following = following
        models.prefetch_related_objects(path, "prediction__files")
        return path

    def _answer(self, path: list["Message"], model: Model) -> "Message":
        choice = self._choose(model)
        given = choice.input_for(turns_of(path))
        return self._add_answer(path[-1], choice.ask(given, user=self.owner))

    def _add_answer(self, question: "Message | None", prediction: Prediction) -> "Message":
        answer = self._add(question, role=Message.Role.ASSISTANT, prediction=prediction)
        self.model = prediction.model
        self.updated_at = timezone.now()
        self.save(update_fields=["model", "updated_at"])
        transaction.on_commit(lambda: bus.publish((f"conversation:{self.pk}", {}), ("work", {})))
        return answer

    def _choose(self, model: Model) -> pins.Choice:
        """Choose the version of `model` that answers next; raise NothingAnswers."""
        self._check_is_offered(model)
        return pins.choose(model, user=self.owner, conversation=self.pk, last=self._last_of(model))

    def _check_is_offered(self, model: Model) -> None:
        if not Model.objects.for_user(self.owner).filter(pk=model.pk).exists():
            raise NothingAnswers(NOT_OFFERED)

    def _last_of(self, model: Model) -> Prediction | None:
        """The newest prediction of `model` here whose version this conversation keeps."""
        asked = Prediction.objects.filter(message__conversation=self, model=model)
        asked = asked.select_related("version").defer("version__openapi_schema")
        if self.moved_at is not None:
            asked = asked.filter(created_at__gt=self.moved_at)
        return asked.order_by("-message__ordinal").first()

    def kept_and_current(self, model: Model) -> tuple[Version, Version] | None:
        """The version of `model` that this conversation keeps and the one that would answer it now, if they differ."""
        last = self._last_of(model)
        if last is None:
            return None
        try:
            kept = pins.choose(model, user=self.owner, conversation=self.pk, last=last)
            current = pins.choose_anew(model, kept.pin, user=self.owner, conversation=self.pk)
        except NothingAnswers:
            return None
        differ = kept.chosen == Prediction.Chosen.KEPT and kept.version != current.version
        return (kept.version, current.version) if differ else None

    def move(self) -> None:
        """Leave the versions that it began with: the next answer is of the one that answers then."""
        self.moved_at = clock.now()
        self.save(update_fields=["moved_at"])

    def _lock(self) -> None:
        # Two that add a message at once would give it the same ordinal.
        Conversation.objects.select_for_update().get(pk=self.pk)

    def _add(self, parent: "Message | None", **fields: Any) -> "Message":  # the fields of Message
        last = self.messages.order_by("-ordinal").values_list("ordinal", flat=True).first() or 0
        return self.messages.create(parent=parent, ordinal=last + 1, **fields)


def turns_of(path: Iterable["Message"]) -> list[Turn]:
    """Return messages as models are told them."""
    return [Turn(message.role, message.text_so_far) for message in path]


def make_title(text: str) -> str:
    """Make a title of a question: its first line, cut at a word."""
    lines = text.strip().splitlines()
    line = " ".join(lines[0].split()) if lines else "…"
    if len(line) <= TITLE_LENGTH:
        return line
    cut, _, _ = line[: TITLE_LENGTH + 1].rpartition(" ")
    return (cut or line[:TITLE_LENGTH]) + "…"


class MessageQuerySet(models.QuerySet["Message"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser
        """The messages that `user` may see."""
        return self.filter(conversation__in=Conversation.objects.for_user(user))


class Message(models.Model):
    """A question, or an answer whose text is its prediction's. Its id is made in the browser, or here for answers."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    ordinal = models.PositiveIntegerField()  # 1, 2, 3 … in a conversation, over all its branches
    role = models.CharField(max_length=10, choices=Role)
    text = models.TextField(blank=True)
    prediction = models.OneToOneField(Prediction, null=True, on_delete=models.PROTECT, related_name="message")
    html = models.TextField(blank=True)  # the finished answer as safe HTML: a convenience, made anew where missing
    created_at = models.DateTimeField(default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "ordinal"], name="message_order_is_one"),
            models.CheckConstraint(
                condition=models.Q(role="user", prediction=None) | models.Q(role="assistant", prediction__isnull=False),
                name="answers_have_predictions",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.ordinal}"

    @property
    def is_running(self) -> bool:
        return self.prediction is not None and not self.prediction.is_terminal

    @cached_property
    def frame(self) -> Frame:
        """What a reader who has nothing yet is told of this answer."""
        assert self.prediction_id is not None  # noqa: S101 - only answers have one
        return read_frame(self.prediction_id, edition=0, after=0)

    @cached_property
    def following(self) -> "Message | None":
        """The message after this one, on the branch that is shown."""
        return self.children.select_related("prediction").last()

    @property
    def files(self) -> list[File]:
        """The files that this answer's model has made."""
        return _files_of(self, File.Role.OUTPUT)

    @property
    def input_files(self) -> list[File]:
        """The files that were given with this question, which its answer's prediction has."""
        return _files_of(self.following, File.Role.INPUT)

    @property
    def text_so_far(self) -> str:
        if self.prediction is None:
            return self.text
        return self.frame.text if self.is_running else self.prediction.output

    @property
    def shown_html(self) -> SafeString:
        """The answer as safe HTML, so far or whole."""
        return mark_safe(self.html or render(self.text_so_far))  # noqa: S308 - both come from the sanitizer


def _files_of(answer: Message | None, role: File.Role) -> list[File]:
    if answer is None or answer.prediction is None:
        return []
    return [file for file in answer.prediction.files.all() if file.role == role]
