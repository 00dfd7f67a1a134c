"""What an answer came from: which version was asked for and which answered, why, its input, its times, its cost.

A receipt holds no content of files, no secrets, no tokens and no address of a stream. `ask_again` asks for the same
once more.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import islice
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.formats import date_format

from predictions.events import SUCCEEDED, clean
from predictions.figures import SHORTEST, tokens_per_second
from predictions.models import File, Pin, Prediction, Provider, Version
from predictions.models.catalogue import schema_digest
from predictions.outputs import DEEPEST, TOO_DEEP, decode_data_uri, is_data_uri, name_of
from predictions.pins import Choice, NothingAnswers
from predictions.prices import CURRENCY, Price, describe, format_cost
from predictions.references import VERSION, version_in
from predictions.schema import FILE_REFERENCE, Input
from predictions.schema_diff import HIDDEN

FORMAT = 1  # of `Receipt.as_json`; another number where a key goes or changes its meaning
RELATIONS = ("model__provider", "version", "pin__created_by", "pin__version")  # that a receipt reads
DURATIONS = ("queued", "starting", "to_first_output", "writing", "total")
SHORT = 12  # digits of a version, as people read it
SEED_IN_LOG = re.compile(r"\bseed\b(?: set to| is|[ \t]?[:=])?[ \t]{0,3}([0-9]{1,20})\b", re.IGNORECASE)
MOST_CHARACTERS, MOST_WORDS = 60_000, 3_000  # of each answer that are compared: below half a second
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+\s*|\s+")
MOST_DIFFERENCES, LONGEST_DIFFERENCE = 200, 300  # facts of a receipt; characters of one
NO_SCHEMA = schema_digest({})  # a Cog server that does not describe itself
GONE = "This version is not at its host any more. Choose another one."
FILE_GONE = "A file of this question is not stored here any more, so it cannot be asked again."
MISSING_FILE = "a file that is not stored here any more"


class Grade(StrEnum):
    """How surely it is known what answered."""

    PINNED = "pinned"  # the host named the exact version
    NAMED = "named"  # a name, and whatever is behind it
    OPAQUE = "opaque"  # the host tells nothing, or nothing of what was asked for

    @property
    def label(self) -> str:
        return {"pinned": "Exact version known", "named": "Known by name only", "opaque": "Not told by the host"}[self]


# ---------------------------------------------------------------- what answered


def grade_of(prediction: Prediction) -> Grade:
    """Say how surely it is known what answered; before anything did, nothing is known."""
    if prediction.model.provider.kind == Provider.Kind.COG:
        # Its server names no version. A digest of its schema shows another interface, but not other weights.
        return Grade.NAMED if prediction.started_at and _describes_itself(prediction) else Grade.OPAQUE
    if VERSION.fullmatch(prediction.answered_version):
        return Grade.PINNED
    is_alias = prediction.answered_version and not version_in(prediction.asked_for)
    return Grade.NAMED if is_alias else Grade.OPAQUE


def _describes_itself(prediction: Prediction) -> bool:
    known_as = prediction.schema_hash or (prediction.version.identifier if prediction.version else "")
    return known_as not in {"", NO_SCHEMA}


# ---------------------------------------------------------------- the receipt


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file without its content."""

    name: str
    media_type: str = ""
    size: int = 0  # bytes
    sha256: str = ""
    error: str = ""  # why there is no content

    def as_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class PinNote:
    """The decision that counted when the version was chosen."""

    id: int
    environment: str
    version: str  # "" for the latest
    by: str  # "" where the environment or somebody who is gone decided
    at: datetime
    reason: str

    @classmethod
    def of(cls, pin: Pin) -> "PinNote":
        by = pin.created_by.get_username() if pin.created_by else ""
        version = pin.version.identifier if pin.version else ""
        return cls(pin.pk, pin.environment, version, by, pin.created_at, pin.reason)

    def as_json(self) -> dict[str, Any]:
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "at": self.at.isoformat()}


@dataclass(frozen=True, slots=True)
class Times:
    """When what happened. Each is None until it did."""

    queued_at: datetime
    asked_at: datetime | None = None  # the last time, where it was asked more than once
    started_at: datetime | None = None
    first_output_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested_at: datetime | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> "Times":
        later = {each.name: getattr(prediction, each.name) for each in fields(cls) if each.name != "queued_at"}
        return cls(prediction.created_at, **later)

    @property
    def queued(self) -> float | None:
        """Seconds from the question until its host was asked."""
        return _seconds(self.queued_at, self.asked_at or self.completed_at)

    @property
    def starting(self) -> float | None:
        """Seconds in which the host looked for a machine and loaded the model."""
        return _seconds(self.asked_at, self.started_at)

    @property
    def to_first_output(self) -> float | None:
        """Seconds from asking the host until the first text was there."""
        return _seconds(self.asked_at, self.first_output_at)

    @property
    def writing(self) -> float | None:
        """Seconds from the first text until the end."""
        return _seconds(self.first_output_at, self.completed_at)

    @property
    def total(self) -> float | None:
        """Seconds from the question until the end."""
        return _seconds(self.queued_at, self.completed_at)

    def as_json(self) -> dict[str, str | None]:
        moments = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: at.isoformat() if at else None for name, at in moments.items()}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one answer came from. `given` and `defaults` are JSON, in which a FileNote stands for each file."""

    prediction: uuid.UUID
    model: str  # its name here
    provider: str
    provider_kind: str
    asked_for: str
    wanted_version: str
    answered_model: str
    answered_version: str
    grade: Grade
    is_substituted: bool
    chosen: str
    chosen_because: str
    pin: PinNote | None
    schema_hash: str
    given: dict[str, Any]
    defaults: dict[str, Any]  # of the version, for what was not sent
    titles: dict[str, str]  # of the inputs, by name
    seed: Any  # any JSON; None where nobody told one
    seed_from: str  # input, default, log or ""
    files: tuple[FileNote, ...]  # that came out
    provider_id: str
    times: Times
    metrics: dict[str, Any]
    attempts: int
    losses: int
    price: Price
    cost: Decimal | None
    status: str
    error: str
    characters: int
    output_sha256: str  # "" until it has ended
    is_terminal: bool

    @classmethod
    def of(cls, prediction: Prediction) -> "Receipt":
        """Read the receipt of `prediction`: one query more than what of `RELATIONS` is not there yet."""
        files = list(prediction.files.all())
        inputs = prediction.version.inputs if prediction.version else {}
        notes = {file.reference: _note(file) for file in files if file.role == File.Role.INPUT}
        seed, seed_from = _seed(prediction, inputs)
        return cls(
            prediction=prediction.pk,
            model=prediction.model.name,
            provider=prediction.model.provider.name,
            provider_kind=prediction.model.provider.kind,
            asked_for=prediction.asked_for,
            wanted_version=prediction.wanted_version,
            answered_model=prediction.answered_model,
            answered_version=prediction.answered_version,
            grade=grade_of(prediction),
            is_substituted=prediction.is_substituted,
            chosen=prediction.chosen,
            chosen_because=str(prediction.get_chosen_display()),
            pin=PinNote.of(prediction.pin) if prediction.pin else None,
            schema_hash=prediction.schema_hash,
            given=_shown_inputs(_mapping(prediction.input), inputs, notes),
            defaults=_shown_inputs(_defaults(prediction, inputs), inputs, {}),
            titles={clean(name): clean(each.title) for name, each in inputs.items()},
            seed=seed,
            seed_from=seed_from,
            files=tuple(_note(file) for file in files if file.role == File.Role.OUTPUT),
            provider_id=prediction.provider_id,
            times=Times.of(prediction),
            metrics=_mapping(prediction.metrics),
            attempts=prediction.attempts,
            losses=prediction.losses,
            price=prediction.agreed_price or Price(),
            cost=prediction.cost,
            status=prediction.status,
            error=prediction.error,
            characters=len(prediction.output) if prediction.is_terminal else prediction.output_end,
            output_sha256=hashlib.sha256(prediction.output.encode()).hexdigest() if prediction.is_terminal else "",
            is_terminal=prediction.is_terminal,
        )

    @property
    def tokens_per_second(self) -> float | None:
        """How quickly tokens came after the first one."""
        speed = tokens_per_second(self.metrics, self.times.writing)
        return None if speed is None else round(speed, 1)

    @property
    def characters_per_second(self) -> float | None:
        writing = self.times.writing
        is_known = self.characters and writing is not None and writing >= SHORTEST
        return round(self.characters / writing, 1) if is_known and writing else None

    @property
    def price_in_words(self) -> str:
        return describe(self.price)

    @property
    def cost_in_words(self) -> str:
        """The cost as people read it; "" where it is not known."""
        return "" if self.cost is None else format_cost(self.cost)

    @property
    def version_in_words(self) -> str:
        """What answered, as precisely as its host tells it."""
        if VERSION.fullmatch(self.answered_version):
            return f"version {self.answered_version[:SHORT]}"
        if not self.times.started_at:
            return "which has not answered yet" if not self.is_terminal else "which never began"
        return "whose host does not say which version it runs"

    @property
    def grade_in_words(self) -> str:
        """What the grade means for whoever relies on the answer."""
        if self.is_substituted:
            return "The host named the exact version that answered, and it is not the one that was asked for."
        if self.grade == Grade.PINNED:
            return "The host named the exact version. Asked again, the same version can answer."
        if self.grade == Grade.NAMED and self.provider_kind == Provider.Kind.COG:
            return (
                "A model server is known by its address and by the inputs that it takes."
                " Other weights behind the same inputs would not show."
            )
        if self.grade == Grade.NAMED:
            named = "Only the name is known, and its owner may change what is behind it at any time."
            unbound = " It is asked by its name alone, so a version that is chosen here does not bind it."
            return named + unbound if self.wanted_version else named
        if not self.answered_version and not self.times.started_at:
            return "Nothing has answered, so nothing can be known of it."
        return "The host does not tell what answered, so nobody can say whether it was what was asked for."

    @property
    def in_words(self) -> str:
        """All that matters to somebody who is no engineer, in a few sentences."""
        verb = "Answered by" if self.status == SUCCEEDED else "Asked of"
        choice = (
            f"Version {self.wanted_version[:SHORT]} was asked for." if self.is_substituted else self.choice_in_words
        )
        sentences = [f"{verb} {self.model}, {self.version_in_words}.", choice]
        if self.times.total is not None:
            took = in_seconds(self.times.total)
            ended = {SUCCEEDED: f"It took {took}", "canceled": f"It was stopped after {took}"}
            cost = f" and cost about {self.cost_in_words}" if self.cost_in_words else ""
            sentences.append(f"{ended.get(self.status, f'It failed after {took}')}{cost}.")
        return " ".join(filter(None, sentences))

    @property
    def choice_in_words(self) -> str:
        """How it came to the version, and who decided that when and why."""
        if self.pin is None or self.chosen == Prediction.Chosen.KEPT:
            return self.chosen_because
        day = date_format(self.pin.at, "j F Y")
        what = "pinned it" if self.chosen == Prediction.Chosen.PINNED else "decided so"
        who = f"{self.pin.by} {what}" if self.pin.by else f"It was {'pinned' if what == 'pinned it' else 'decided'}"
        why = f": “{self.pin.reason}”" if self.pin.reason else "."
        told = f"{who} on {day}{why}"
        return told if self.chosen == Prediction.Chosen.PINNED else f"{self.chosen_because} {told}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, to keep and to compare: `{"receipt": 1, …}`. Moments are ISO 8601, durations seconds."""
        return {
            "receipt": FORMAT,
            "prediction": str(self.prediction),
            "model": self.model,
            "provider": {"name": self.provider, "kind": self.provider_kind, "id": self.provider_id},
            "asked_for": {"reference": self.asked_for, "version": self.wanted_version},
            "answered_by": {"model": self.answered_model, "version": self.answered_version},
            "grade": self.grade.value,
            "substituted": self.is_substituted,
            "chosen": {"how": self.chosen, "pin": self.pin.as_json() if self.pin else None},
            "schema_sha256": self.schema_hash,
            "input": _as_json(self.given),
            "defaults": _as_json(self.defaults),
            "seed": {"value": self.seed, "from": self.seed_from},
            "times": self.times.as_json(),
            "durations": {name: getattr(self.times, name) for name in DURATIONS},
            "speed": {"tokens_per_second": self.tokens_per_second, "characters_per_second": self.characters_per_second},
            "metrics": self.metrics,
            "attempts": self.attempts,
            "losses": self.losses,
            "price": {**self.price.to_json(), "currency": CURRENCY} if self.price.parts else None,
            "cost": None if self.cost is None else format(self.cost, "f"),
            "status": self.status,
            "error": self.error,
            "output": {
                "characters": self.characters,
                "sha256": self.output_sha256,
                "files": [file.as_json() for file in self.files],
            },
        }


def in_seconds(seconds: float) -> str:
    """Write a duration for people: `0.35 s`, `2.1 s`, `3 min 20 s`."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return max(round((end - begin).total_seconds(), 3), 0.0) if begin and end else None


def _note(file: File) -> FileNote:
    return FileNote(file.name, file.media_type, file.size, file.sha256, file.error)


def _mapping(value: Any) -> dict[str, Any]:  # any JSON
    return value if isinstance(value, dict) else {}


def _defaults(prediction: Prediction, inputs: Mapping[str, Input]) -> dict[str, Any]:
    given = _mapping(prediction.input)
    return {name: each.default for name, each in inputs.items() if each.has_default and name not in given}


def _seed(prediction: Prediction, inputs: Mapping[str, Input]) -> tuple[Any, str]:
    given, defaults = _mapping(prediction.input), _defaults(prediction, inputs)
    for source, values in (("input", given), ("default", defaults)):
        if isinstance(seed := values.get("seed"), int) and "seed" not in _secrets(inputs):
            return seed, source
    told = SEED_IN_LOG.search(prediction.logs)
    return (int(told[1]), "log") if told else (None, "")


def _shown_inputs(
    given: Mapping[str, Any], inputs: Mapping[str, Input], notes: Mapping[str, FileNote]
) -> dict[str, Any]:
    secrets = _secrets(inputs)
    return {
        clean(name): HIDDEN if name in secrets and value not in (None, "") else _shown(value, notes)
        for name, value in given.items()
    }


def _secrets(inputs: Mapping[str, Input]) -> set[str]:
    return {name for name, asked in inputs.items() if asked.is_secret}


def _shown(value: Any, notes: Mapping[str, FileNote]) -> Any:
    def note(text: str) -> Any:
        if text.startswith(FILE_REFERENCE):
            return notes.get(text) or FileNote(MISSING_FILE)
        return _note_of_data_uri(text) if is_data_uri(text) else clean(text)

    return _replaced(value, note)


def _note_of_data_uri(text: str) -> FileNote:
    media_type = text[5 : text.index(",")].partition(";")[0]
    try:
        content = decode_data_uri(text)
    except ValueError as error:
        return FileNote(name_of(text, 0), media_type, error=str(error))
    return FileNote(name_of(text, 0), media_type, len(content), hashlib.sha256(content).hexdigest())


def _as_json(value: Any) -> Any:
    match value:
        case FileNote():
            return {"file": value.as_json()}
        case list():
            return [_as_json(part) for part in value]
        case dict():
            return {name: _as_json(part) for name, part in value.items()}
        case _:
            return value


def _replaced(value: Any, replace: Callable[[str], Any], depth: int = 0) -> Any:
    """Return any JSON with all its texts replaced, down to where nobody looks any more."""
    match value:
        case str():
            return replace(value)
        case list() | dict() if depth > DEEPEST:
            return TOO_DEEP
        case list():
            return [_replaced(part, replace, depth + 1) for part in value]
        case dict():
            return {name: _replaced(part, replace, depth + 1) for name, part in value.items()}
        case _:
            return value


def in_text(value: Any) -> str:
    """Write the value of an input for people; JSON stays JSON."""
    match value:
        case str():
            return value
        case FileNote():
            told = value.error or f"{filesizeformat(value.size)}, SHA-256 {value.sha256}" * bool(value.sha256)
            return f"{value.name} ({told})" if told else value.name
        case _:
            return clean(json.dumps(_as_json(value), indent=2, ensure_ascii=False))


# ---------------------------------------------------------------- two answers


@dataclass(frozen=True, slots=True)
class Difference:
    """What two receipts say of the same thing."""

    label: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of a text, and whether the other text has it, too."""

    text: str
    is_shared: bool


def differences(left: Receipt, right: Receipt) -> list[Difference]:
    """Return what differs between two receipts, in the order in which people ask for it."""
    ours, theirs = _facts(left), _facts(right)
    labels = dict.fromkeys([*ours, *theirs])
    pairs = [Difference(label, ours.get(label, "—"), theirs.get(label, "—")) for label in labels]
    return [
        Difference(each.label, _cut(each.left), _cut(each.right))
        for each in pairs[:MOST_DIFFERENCES]
        if each.left != each.right
    ]


def _facts(receipt: Receipt) -> dict[str, str]:
    inputs = {f"Input “{name}”": in_text(value) for name, value in receipt.given.items()}
    first, total, speed = receipt.times.to_first_output, receipt.times.total, receipt.tokens_per_second
    return {
        "Model": receipt.model,
        "Answered": receipt.version_in_words,
        "How sure that is": receipt.grade.label,
        "Why this version": receipt.choice_in_words,
        "Schema": receipt.schema_hash[:SHORT],
        **inputs,
        "Seed": "" if receipt.seed is None else str(receipt.seed),
        "Ended": receipt.status,
        "First text after": "" if first is None else in_seconds(first),
        "Tokens a second": "" if speed is None else str(speed),
        "Took": "" if total is None else in_seconds(total),
        "Cost": receipt.cost_in_words,
        "Characters": str(receipt.characters),
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_DIFFERENCE else text[: LONGEST_DIFFERENCE - 1] + "…"


def compare_words(left: str, right: str) -> tuple[list[Words], list[Words]]:
    """Return both texts in pieces that the other one has, or has not; no more than `MOST_WORDS` of each."""
    ours, theirs = _words(left), _words(right)
    # Words that are everywhere are no landmarks to difflib: without that, a text could be made that takes it minutes.
    matcher = SequenceMatcher(None, [word.strip() for word in ours], [word.strip() for word in theirs])
    pieces: tuple[list[Words], list[Words]] = ([], [])
    for tag, begin, end, their_begin, their_end in matcher.get_opcodes():
        for side, words in zip(pieces, (ours[begin:end], theirs[their_begin:their_end]), strict=True):
            side.extend(_pieces("".join(words), is_shared=tag == "equal"))
    return pieces


def _pieces(text: str, *, is_shared: bool) -> Iterator[Words]:
    """Yield a piece without the blanks at its end, and then these: nobody looks for them, so both texts have them."""
    end = len(text if is_shared else text.rstrip())
    if text[:end]:
        yield Words(text[:end], is_shared)
    if text[end:]:
        yield Words(text[end:], is_shared=True)


def is_compared_whole(text: str) -> bool:
    """Whether `compare_words` looks at all of `text`."""
    return len(text) <= MOST_CHARACTERS and len(WORD.findall(text)) <= MOST_WORDS


def _words(text: str) -> list[str]:
    return [found[0] for found in islice(WORD.finditer(text[:MOST_CHARACTERS]), MOST_WORDS)]


# ---------------------------------------------------------------- once more


def ask_again(prediction: Prediction, version: Version, *, user: Any) -> Prediction:  # a User, or None
    """Ask `version` for what `prediction` was asked for: the same input, and the same files by reference.

    Raises NothingAnswers, or InputRefused where this version would refuse it. Call it in a transaction.
    """
    if not version.answers:
        raise NothingAnswers(GONE)
    files = list(prediction.files.inputs())
    if any(not file.content for file in files):
        raise NothingAnswers(FILE_GONE)
    references = {}
    for file in files:
        known_as, file.id = file.reference, uuid.uuid4()
        references[known_as] = file.reference
    given = _replaced(prediction.input, lambda text: references.get(text, text)) if references else prediction.input
    again = Choice(version, Prediction.Chosen.NAMED).ask(given, user=user)
    for file in files:
        file.prediction, file.provider_url, file.provider_url_until = again, "", None
        file.save(force_insert=True)
    return again
