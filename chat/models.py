"""People, their conversations, and the messages of these as a tree."""

import hashlib
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from chat.markdown import render
from chat.tree import Row, Tree
from chat.words import words_of
from predictions import asking, clock, pins, receipts
from predictions.bus import bus
from predictions.events import PROCESSING, STARTING, SUCCEEDED
from predictions.follow import Frame, read_frame
from predictions.models import File, Model, Prediction, Upload, Version
from predictions.pins import NothingAnswers
from predictions.prompts import Turn
from predictions.standing import Standing
from predictions.thoughts import split_thoughts

NOT_OFFERED = "This model is not available to you now. Choose another one."
UPLOAD_GONE = "A file that you added is not here any more: unsent ones are kept for a day. Remove it, and add it again."
MESSAGE_GONE = "This message was deleted meanwhile. Reload the page to see what is there."
NOTHING_TO_GO_ON_WITH = "This answer came to its end by itself. Ask what else you want to know."
NOT_HELD = "This model is only told the last question, so it cannot go on with an answer. Have it answer again."
GO_ON = "Continue exactly where you stopped."  # the question that has an answer go on
RELATIONS = ("prediction__model__provider", "prediction__version")  # that showing a message reads
BULKY = "prediction__version__openapi_schema"  # of which no message shows anything
MESSAGES_SHOWN = 40  # of a branch at first; older ones come by page
MOST_TURNS = 1_000  # messages of a branch that a model is told, whatever it can hold
TITLE_LENGTH = 60  # characters of the first question that become the title


class User(AbstractUser):
    """Who uses Parley."""

    @property
    def enters_admin(self) -> bool:
        """Whether the administration is open to them: by rank, or as a member of a group that carries the right."""
        return self.is_active and (self.is_staff or self.has_perm("people.enter_admin"))

    @property
    def may_upload(self) -> bool:
        return self.has_perm("people.upload_files")

    @property
    def may_export(self) -> bool:
        return self.has_perm("people.export_conversations")


class SetupToken(models.Model):
    """The right to make the first admin, printed once in the terminal; only its digest is kept."""

    digest = models.CharField(max_length=64)

    def __str__(self) -> str:
        return "the token of the set-up page"

    @classmethod
    def issue(cls) -> str | None:
        """Make a new token in the place of any older one; None if there is an admin already."""
        if _has_admin():
            return None
        token = secrets.token_urlsafe(24)
        cls.objects.update_or_create(pk=1, defaults={"digest": _digest(token)})
        return token

    @classmethod
    def is_good(cls, token: str) -> bool:
        return cls.objects.filter(digest=_digest(token)).exists() and not _has_admin()

    @classmethod
    @transaction.atomic
    def redeem(cls, token: str, username: str, password: str) -> User | None:
        """Spend `token` on the first admin; None if it was spent or replaced, or if there is an admin by now."""
        # Whoever deletes the row makes the admin: of fifty that try at once, one does.
        deleted, _ = cls.objects.filter(digest=_digest(token)).delete()
        if not deleted or _has_admin():
            return None
        return User.objects.create_superuser(username, password=password)


def _has_admin() -> bool:
    return User.objects.filter(is_superuser=True).exists()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class AlreadyAnswering(Exception):
    """The conversation's last answer is still being written."""


class IdTaken(Exception):
    """A message of another conversation has this id."""


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def for_user(self, user: Any) -> Self:  # a User or AnonymousUser
        """The conversations that `user` may see."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(owner=user, deleted_at=None)

    def discarded_by(self, user: User) -> Self:
        """Those that `user` has deleted and may still have back."""
        return self.filter(owner=user).exclude(deleted_at=None)

    def listed(self) -> Self:
        return self.filter(archived_at=None)

    def archived(self) -> Self:
        return self.exclude(archived_at=None)

    def with_marks(self) -> Self:
        """With `is_running`, and `last_ordinal`, which `is_unread` compares."""
        running = Prediction.objects.active().filter(message__isnull=False, message__deleted_at=None).order_by()
        newest = Message.objects.present().filter(conversation=models.OuterRef("pk")).order_by("-ordinal")
        return self.annotate(
            is_running=models.ExpressionWrapper(
                models.Q(pk__in=running.values("message__conversation")), models.BooleanField()
            ),
            last_ordinal=models.Subquery(newest.values("ordinal")[:1]),
        )


class Conversation(models.Model):
    """A tree of messages that belongs to one person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=TITLE_LENGTH + 1)
    model = models.ForeignKey(Model, null=True, on_delete=models.SET_NULL)  # the one that was chosen last
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    leaf = models.ForeignKey(
        "Message", null=True, on_delete=models.SET_NULL, related_name="+"
    )  # where the branch ends that is shown; none: at the newest message
    moved_at = models.DateTimeField(null=True, blank=True)  # when its owner last left the versions it had begun with
    pinned_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)  # by its owner, who may have it back for a while
    is_titled = models.BooleanField(default=False)  # by its owner, or a model: that title is not made anew
    title_prediction = models.OneToOneField(
        Prediction, null=True, blank=True, on_delete=models.SET_NULL, related_name="titled"
    )  # that was asked for a title, once
    read_ordinal = models.PositiveIntegerField(default=0)  # the newest message that its owner has seen whole

    is_running: bool  # these two only where `with_marks` has read them
    last_ordinal: int | None

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        indexes = [
            models.Index(fields=["owner", "-updated_at"]),
            models.Index(
                fields=["owner", "-updated_at", "-id"],
                name="conversation_listed",
                condition=models.Q(deleted_at=None, archived_at=None, pinned_at=None),
            ),
            models.Index(
                fields=["owner", "-pinned_at"],
                name="conversation_pinned",
                condition=models.Q(pinned_at__isnull=False),
            ),
            models.Index(
                fields=["owner", "-updated_at", "-id"],
                name="conversation_archived",
                condition=models.Q(archived_at__isnull=False),
            ),
            models.Index(
                fields=["deleted_at"], name="conversation_discarded", condition=models.Q(deleted_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @classmethod
    def begin(cls, owner: User, text: str, *, message_id: uuid.UUID, model: Model, **beside: Any) -> "Conversation":
        """Make a conversation with its first question; the same `message_id` again is the same conversation.

        `beside` are the further arguments of `ask`.
        """
        known = cls.objects.filter(owner=owner, messages=message_id)
        try:
            with transaction.atomic():
                if (conversation := known.first()) is None:
                    conversation = cls.objects.create(owner=owner, title=make_title(text), model=model)
                    conversation.ask(text, message_id=message_id, model=model, **beside)
                return conversation
        except IdTaken:
            if (quicker := known.first()) is None:
                raise
            return quicker  # sent twice at once

    @transaction.atomic
    def ask(
        self,
        text: str,
        *,
        message_id: uuid.UUID,
        model: Model,
        instead_of: "Message | None" = None,
        uploads: Sequence[uuid.UUID] = (),
        parameters: Mapping[str, str] | None = None,
    ) -> "Message":
        """Add a question and have `model` answer it; return the question.

        It comes at the end, or begins a branch beside the question `instead_of`, whose files and parameters it keeps.
        `uploads` are its files, `parameters` what was typed beside it. `message_id` makes it idempotent: the same id
        again is the same question. Raises AlreadyAnswering, NothingAnswers or IdTaken; then nothing is written.
        """
        self._lock()
        known = self.messages.filter(pk=message_id).first()
        if known is not None:
            return known
        branch = self._free_branch(last=MOST_TURNS if instead_of is None else 1)
        sources: Sequence[File | Upload] = self._claim(uploads)
        again = None
        if instead_of is not None:
            self._check_is_there(instead_of)
            branch = self._path_to(self.tree.parent_of(instead_of.pk))
            sources = sources or instead_of.input_files
            again = instead_of.following.prediction if instead_of.following else None
        try:
            question = self._add(branch[-1] if branch else None, pk=message_id, role=Message.Role.USER, text=text)
        except IntegrityError as error:
            raise IdTaken from error
        self._answer([*branch, question], model, sources=sources, parameters=parameters, again=again)
        return question

    @transaction.atomic
    def answer_again(self, answer: "Message", model: Model | None = None) -> "Message":
        """Have the question of `answer` answered once more, by `model` or by the same one; return the new answer."""
        self._lock()
        self._free_branch()
        self._check_is_there(answer)
        assert answer.prediction is not None  # noqa: S101 - a question has no answer button
        path = self._path_to(answer.parent_id)
        sources = list(answer.prediction.files.inputs())
        return self._answer(path, model or answer.prediction.model, sources=sources, again=answer.prediction)

    @transaction.atomic
    def go_on(self, answer: "Message") -> "Message":
        """Have the model of `answer` go on where that stopped, asked for it below; return the new answer.

        Raises AlreadyAnswering or NothingAnswers; then nothing is written.
        """
        self._lock()
        self._free_branch()
        self._check_is_there(answer)
        assert answer.prediction is not None  # noqa: S101 - a question has no button for it
        before = answer.prediction
        if not answer.can_go_on:
            raise NothingAnswers(NOTHING_TO_GO_ON_WITH)
        if not self.choose(before.model).holds_conversations:
            raise NothingAnswers(NOT_HELD)
        question = self._add(answer, role=Message.Role.USER, text=GO_ON)
        path = [*self._path_to(answer.pk), question]
        return self._answer(path, before.model, sources=list(before.files.inputs()), again=before)

    @transaction.atomic
    def run_again(self, answer: "Message", version: Version) -> "Message":
        """Ask `version` for what `answer` was asked for: the same input, the same files; return the new answer.

        Raises AlreadyAnswering, NothingAnswers or InputRefused; then nothing is written.
        """
        self._lock()
        self._free_branch()
        self._check_is_there(answer)
        self._check_is_offered(version.model)
        assert answer.prediction is not None  # noqa: S101 - a question cannot be run
        prediction = receipts.ask_again(answer.prediction, version, user=self.owner)
        return self._add_answer(answer.parent, prediction)

    def turns_before(self, answer: "Message") -> list[Turn]:
        """What was said down to the question of `answer`."""
        return turns_of(self._path_to(answer.parent_id))

    def branch(self, *, last: int | None = None, reaching: "Message | None" = None) -> list["Message"]:
        """The messages that are shown, from the first question down to the end of the branch; only the `last` of them.

        With `reaching`, more of them if that message would be left out.
        """
        tree = self.tree
        path = tree.branch_to(self.leaf_id)
        begin = 0 if last is None else max(len(path) - last, 0)
        if reaching is not None and reaching.pk in path:
            begin = min(begin, path.index(reaching.pk))
        return self._read(tree, path[begin:])

    def above(self, message: "Message", *, last: int) -> list["Message"]:
        """The `last` messages on the way down to `message`, without it."""
        tree = self.tree
        path = tree.path_to(message.pk)[:-1]
        return self._read(tree, path[-last:], following=message.pk)

    @property
    def tree(self) -> Tree:
        """How the messages hang together, read anew."""
        rows = self.messages.order_by("ordinal").values_list("pk", "parent", "role", "deleted_at")
        return Tree(
            Row(key, parent, is_answer=role == Message.Role.ASSISTANT, is_deleted=deleted_at is not None)
            for key, parent, role, deleted_at in rows
        )

    def shown_path(self) -> list[uuid.UUID]:
        """The ids of the messages of the branch that is shown."""
        return self.tree.branch_to(self.leaf_id)

    def show(self, message: "Message") -> None:
        """Show the branch that `message` is on, down to its newest end."""
        tree = self.tree
        self._end_at(tree.newest_below(message.pk), tree)
        bus.publish((f"conversation:{self.pk}", {}))

    def _end_at(self, leaf: uuid.UUID | None, tree: Tree) -> None:
        self.leaf_id = None if leaf == tree.newest else leaf
        self.save(update_fields=["leaf"])

    # ------------------------------------------------------------ messages that go

    @transaction.atomic
    def discard_message(self, message: "Message") -> None:
        """Delete a question with its answers, or one of several answers, as far as anybody can see.

        The only answer to a question takes that along. What was said below stays, as `Tree` joins it to what is left. A
        sweep does the rest, unless `restore_message` comes first.
        """
        self._lock()
        before = self.tree
        if message.pk not in before:
            return  # another tab was quicker
        end = before.branch_to(self.leaf_id)[-1]
        going = self._going_with(message)
        Prediction.objects.filter(message__in=going).stop_all()
        self.messages.filter(pk__in=going).update(deleted_at=clock.now())
        tree = self.tree
        left = tree.stand_in_for(end)
        self._end_at(left if left is None or left == end else tree.newest_below(left), tree)
        self.tell_owner()

    def _going_with(self, message: "Message") -> list[uuid.UUID]:
        question = message.pk if message.prediction_id is None else message.parent_id
        answers = list(
            self.messages.present().filter(parent=question).exclude(prediction=None).values_list("pk", flat=True)
        )
        if message.prediction_id is not None and (question is None or len(answers) > 1):
            return [message.pk]
        return [key for key in (question, *answers) if key]

    @transaction.atomic
    def restore_message(self, message: "Message") -> None:
        """Bring back what was deleted with `message`, and show it."""
        self._lock()
        together = models.Q(deleted_at=message.deleted_at) | models.Q(pk=message.parent_id, role=Message.Role.USER)
        self.messages.filter(together).update(deleted_at=None)
        if message.pk not in self.shown_path():
            self.show(message)
        self.tell_owner()

    def _check_is_there(self, message: "Message") -> None:
        if not self.messages.present().filter(pk=message.pk).exists():
            raise NothingAnswers(MESSAGE_GONE)

    def _free_branch(self, *, last: int = 1) -> list["Message"]:
        """Return the end of the branch that is shown; raise AlreadyAnswering while its last answer is being written."""
        branch = self.branch(last=last)
        if branch and branch[-1].is_running:
            raise AlreadyAnswering
        return branch

    def _path_to(self, leaf: uuid.UUID | None) -> list["Message"]:
        """The last messages down to `leaf`: no model is told of more."""
        tree = self.tree
        return self._read(tree, tree.path_to(leaf)[-MOST_TURNS:])

    def _read(self, tree: Tree, path: list[uuid.UUID], *, following: uuid.UUID | None = None) -> list["Message"]:
        """Fetch the messages of a path, and what showing them takes; `following` comes after them."""
        keys = [*path, following] if following else path
        messages = self.messages.select_related(*RELATIONS).defer(BULKY).in_bulk(keys)
        found = [messages[key] for key in keys]
        models.prefetch_related_objects(found, "prediction__files")
        for message in found:
            message.conversation = self
            message.siblings = tree.siblings_of(message.pk)
            message.is_newest = message.pk == tree.newest
            message.above = tree.parent_of(message.pk)
        for message, after in pairwise(found):
            message.following = after
        return found[: len(path)]

    def _answer(
        self,
        path: list["Message"],
        model: Model,
        *,
        sources: Sequence[File | Upload] = (),
        parameters: Mapping[str, str] | None = None,
        again: Prediction | None = None,
    ) -> "Message":
        """Have the end of `path` answered; what was not typed is as in `again`, if that was asked of the same model."""
        choice = self.choose(model)
        values = asking.parameters_in(again, choice) if again and again.model_id == model.pk else {}
        values |= asking.read_parameters(choice, parameters or {})
        prediction = asking.ask(choice, turns_of(path), user=self.owner, sources=sources, values=values)
        return self._add_answer(path[-1], prediction)

    def _claim(self, keys: Sequence[uuid.UUID]) -> list[Upload]:
        """Return the owner’s uploads, which are given with a question now; raise NothingAnswers if one is gone."""
        uploads = Upload.objects.claim(self.owner, keys)
        if len(uploads) < len(set(keys)):
            raise NothingAnswers(UPLOAD_GONE)
        return uploads

    def _add_answer(self, question: "Message | None", prediction: Prediction) -> "Message":
        answer = self._add(question, role=Message.Role.ASSISTANT, prediction=prediction)
        self.model, self.updated_at, self.leaf = prediction.model, timezone.now(), None
        self.save(update_fields=["model", "updated_at", "leaf"])
        transaction.on_commit(lambda: bus.publish(("work", {})))
        self.tell_owner()
        return answer

    def choose(self, model: Model) -> pins.Choice:
        """Choose the version of `model` that answers next; raise NothingAnswers."""
        self._check_is_offered(model)
        return pins.choose(model, user=self.owner, conversation=self.pk, last=self._last_of(model))

    def _check_is_offered(self, model: Model) -> None:
        if not Model.objects.for_user(self.owner).filter(pk=model.pk).exists():
            raise NothingAnswers(NOT_OFFERED)

    def _last_of(self, model: Model, shown: Sequence["Message"] = ()) -> Prediction | None:
        """The newest prediction of `model` here whose version this conversation keeps.

        Not asked of the database where the end of what is `shown` has it.
        """
        end = shown[-1] if shown and shown[-1].is_newest and self.moved_at is None else None
        if end is not None and end.prediction is not None and end.prediction.model_id == model.pk:
            return end.prediction
        asked = Prediction.objects.filter(message__conversation=self, model=model)
        asked = asked.select_related("version").defer("version__openapi_schema")
        if self.moved_at is not None:
            asked = asked.filter(created_at__gt=self.moved_at)
        return asked.order_by("-message__ordinal").first()

    def kept_and_current(
        self, model: Model, here: Standing, *, shown: Sequence["Message"] = ()
    ) -> tuple[Version, Version] | None:
        """The version of `model` that this conversation keeps and the one that would answer it now, if they differ.

        `here` is what answers for new conversations; `shown` are messages that were read already.
        """
        last = self._last_of(model, shown)
        if last is None or last.version is None:
            return None
        me: dict[str, Any] = {"user": self.owner, "conversation": self.pk}
        try:
            current = pins.choose_anew(model, here.pin, **me, latest=lambda: here.latest).version
        except NothingAnswers:
            return None
        differ = last.version != current and pins.is_kept(last, model)
        return (last.version, current) if differ else None

    def move(self) -> None:
        """Leave the versions that it began with: the next answer is of the one that answers then."""
        self.moved_at = clock.now()
        self.save(update_fields=["moved_at"])

    # ------------------------------------------------------------ its place among the others

    @property
    def is_unread(self) -> bool:
        """Whether its newest answer ended since its owner last looked; for those that were read `with_marks`."""
        return not self.is_running and (self.last_ordinal or 0) > self.read_ordinal

    def note_read(self) -> None:
        """Note that its owner has seen all that is written by now."""
        ended = self.messages.exclude(prediction__status__in=(STARTING, PROCESSING)).order_by("-ordinal")
        seen = ended.values_list("ordinal", flat=True).first() or 0
        if Conversation.objects.filter(pk=self.pk, read_ordinal__lt=seen).update(read_ordinal=seen):
            self.tell_owner()

    def rename(self, title: str) -> None:
        self._note(title=title, is_titled=True)

    def pin(self, *, pinned: bool) -> None:
        self._note(pinned_at=clock.now() if pinned else None)

    def archive(self, *, archived: bool) -> None:
        self._note(archived_at=clock.now() if archived else None)

    @transaction.atomic
    def discard(self) -> None:
        """Delete it as far as anybody can see; a sweep does the rest, unless `restore` comes first."""
        self._lock()
        self._note(deleted_at=clock.now())
        self.stop_all()

    def restore(self) -> None:
        self._note(deleted_at=None)

    def stop_all(self) -> int:
        """Stop all answers that are being written, and a title; return how many."""
        theirs = models.Q(message__conversation=self) | models.Q(titled=self)
        return Prediction.objects.filter(theirs).stop_all()

    def tell_owner(self) -> None:
        """Have the pages of its owner look at the list of conversations."""
        # Its own page, too: who has it open elsewhere is to see that it was deleted.
        transaction.on_commit(lambda: bus.publish((f"user:{self.owner_id}", {}), (f"conversation:{self.pk}", {})))

    def _note(self, **changes: Any) -> None:  # values of its fields
        for name, value in changes.items():
            setattr(self, name, value)
        self.save(update_fields=list(changes))
        self.tell_owner()

    def _lock(self) -> None:
        # Two that add a message at once would give it the same ordinal.
        self.leaf_id = Conversation.objects.select_for_update().get(pk=self.pk).leaf_id

    def _add(self, parent: "Message | None", **fields: Any) -> "Message":  # the fields of Message
        last = self.messages.order_by("-ordinal").values_list("ordinal", flat=True).first() or 0
        message = self.messages.create(parent=parent, ordinal=last + 1, **fields)
        SearchEntry.note(message)
        return message


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
        return self.present().filter(conversation__in=Conversation.objects.for_user(user))

    def discarded_by(self, user: Any) -> Self:  # a User or AnonymousUser
        """Those that `user` has deleted and may still have back."""
        return self.filter(conversation__in=Conversation.objects.for_user(user)).exclude(deleted_at=None)

    def present(self) -> Self:
        """Those that were not deleted."""
        return self.filter(deleted_at=None)


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
    deleted_at = models.DateTimeField(null=True, blank=True)  # by its owner, who may have it back for a while

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
        indexes = [
            models.Index(fields=["deleted_at"], name="message_discarded", condition=models.Q(deleted_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.ordinal}"

    @property
    def is_running(self) -> bool:
        return self.prediction is not None and not self.prediction.is_terminal

    @property
    def can_go_on(self) -> bool:
        """Whether it is an answer that was cut off: stopped, failed, or as long as it was to be at most."""
        if self.prediction is None or self.is_running:
            return False
        is_whole = self.prediction.status == SUCCEEDED and not self.prediction.is_cut_off
        return not is_whole and split_thoughts(self.prediction.output)[1].strip() != ""

    @cached_property
    def frame(self) -> Frame:
        """What a reader who has nothing yet is told of this answer."""
        assert self.prediction_id is not None  # noqa: S101 - only answers have one
        return read_frame(self.prediction_id, edition=0, after=0)

    @cached_property
    def following(self) -> "Message | None":
        """The message after this one, on the branch that is shown."""
        return self.children.present().select_related("prediction").last()

    @cached_property
    def siblings(self) -> list[uuid.UUID]:
        """The other wordings of this question, or answers to the same one, with itself among them, oldest first."""
        return self.conversation.tree.siblings_of(self.pk)

    @cached_property
    def above(self) -> uuid.UUID | None:
        """The message that stands above it."""
        return self.conversation.tree.parent_of(self.pk)

    @cached_property
    def is_newest(self) -> bool:
        """Whether no other message of its conversation was written later."""
        return self.conversation.tree.newest == self.pk

    @property
    def place(self) -> int:
        """Which of its siblings it is, from 1."""
        return self.siblings.index(self.pk) + 1

    @property
    def sibling_before(self) -> uuid.UUID | None:
        return self.siblings[self.place - 2] if self.place > 1 else None

    @property
    def sibling_after(self) -> uuid.UUID | None:
        return self.siblings[self.place] if self.place < len(self.siblings) else None

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


class SearchEntry(models.Model):
    """The words of a message, as the search finds them; the databases' own indexes follow this table by themselves."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="search_entry")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    words = models.TextField()  # with a space between each two

    class Meta:
        verbose_name_plural = "search entries"

    def __str__(self) -> str:
        return self.words[:50]

    @classmethod
    def note(cls, message: Message) -> None:
        """Have a question, or an answer that has ended, found from now on."""
        words = " ".join(words_of(message.text if message.prediction is None else message.prediction.output))
        if words:
            owner = message.conversation.owner_id
            cls.objects.update_or_create(message=message, defaults={"owner_id": owner, "words": words})
