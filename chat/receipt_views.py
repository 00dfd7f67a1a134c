"""The pages that look into an answer: its receipt, once more on this or another version, two answers side by side."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_POST

from chat.models import AlreadyAnswering, Message
from chat.sidebar_views import EXPORT
from chat.views import STILL_ANSWERING, load_answer, show_conversation, wants_json
from predictions import schema_diff, validation
from predictions.events import clean
from predictions.models import Prediction, SavedPrompt, Version
from predictions.pins import InputRefused, NothingAnswers
from predictions.receipts import (
    GONE,
    RELATIONS,
    Receipt,
    compare_words,
    differences,
    in_seconds,
    in_text,
    is_compared_whole,
)

VERSIONS_OFFERED = 20  # other versions to run it on, the newest; the schema of each is read
SIBLINGS_SHOWN = 20  # other answers to the same question
WARNINGS_SHOWN = 5  # about one version
LONGEST_IN_LINE = 80  # characters of an input that stand beside its name


@require_GET
def receipt_detail(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """What an answer came from."""
    return _show(request, _load_answer(request, message))


@require_GET
@permission_required(EXPORT, raise_exception=True)
def receipt_download(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """The same as JSON, to keep."""
    receipt = Receipt.of(_prediction(_load_answer(request, message)))
    name = f"receipt-{receipt.prediction}.json"
    return JsonResponse(
        receipt.as_json(),
        json_dumps_params={"indent": 2},
        headers={"Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or ""},
    )


@require_POST
def receipt_again(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Ask for the same once more: without a `version` the one that was asked for, else another one of its model."""
    answer = _load_answer(request, message)
    chosen = request.POST.get("version", "")
    version = _version(_prediction(answer), chosen)
    if version is None:
        return _refuse(request, answer, GONE, chosen)
    try:
        answer.conversation.run_again(answer, version)
    except AlreadyAnswering:
        return _refuse(request, answer, STILL_ANSWERING, chosen, status=409)
    except InputRefused as error:
        return _refuse(request, answer, str(error), chosen)
    except NothingAnswers as error:
        return _refuse(request, answer, str(error), chosen, status=409)
    return show_conversation(request, answer.conversation)


@require_POST
def receipt_keep(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Keep the question of an answer, and what was said before it, as a prompt to try versions with."""
    if not request.user.has_perm("predictions.add_savedprompt"):
        raise PermissionDenied
    answer = _load_answer(request, message)
    prompt = SavedPrompt.keep(answer.conversation.turns_before(answer), user=request.user)
    return redirect("admin:predictions_savedprompt_change", prompt.pk)


@require_GET
def receipt_diff(request: HttpRequest, message: uuid.UUID) -> HttpResponse:
    """Two answers to the same question side by side."""
    left = _load_answer(request, message)
    right = _load_answer(request, _as_id(request.GET.get("with", "")))
    if left.parent_id != right.parent_id:
        raise Http404
    texts = [left.text_so_far, right.text_so_far]
    receipts = [Receipt.of(_prediction(each)) for each in (left, right)]
    pieces = compare_words(*texts)
    context = {
        **_frame(request, left),
        "answers": [
            {"message": each, "receipt": receipt, "words": words}
            for each, receipt, words in zip((left, right), receipts, pieces, strict=True)
        ],
        "is_same": texts[0] == texts[1],
        "is_cut": not all(map(is_compared_whole, texts)),
        "differences": differences(*receipts),
    }
    return render(request, "chat/receipt_diff.html", context)


# ---------------------------------------------------------------- what the pages show


@dataclass(frozen=True, slots=True)
class InputRow:
    """One input as the page shows it: in a line, as a text, or as the messages that it is made of."""

    name: str
    title: str
    text: str
    turns: tuple[tuple[str, str], ...] = ()

    @property
    def is_long(self) -> bool:
        return bool(self.turns) or len(self.text) > LONGEST_IN_LINE or "\n" in self.text


@dataclass(frozen=True, slots=True)
class Offer:
    """Another version on which the same can be run, and what may be in its way."""

    identifier: str
    short: str
    released_at: datetime | None
    problems: dict[str, str]  # sentences by input, because of which it would be refused
    warnings: list[tuple[str, str]]  # likewise: it would be taken, and act otherwise


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the time that an answer took. `offset` and `share` are percent of the whole."""

    name: str
    words: str
    seconds: str
    offset: float
    share: float


def _show(
    request: HttpRequest, answer: Message, *, problem: str = "", chosen: str = "", status: int = 200
) -> HttpResponse:
    prediction = _prediction(answer)
    receipt = Receipt.of(prediction)
    rows = _rows(receipt.given, receipt.titles)
    context = {
        **_frame(request, answer),
        "message": answer,
        "receipt": receipt,
        "long_inputs": [row for row in rows if row.is_long],
        "short_inputs": [row for row in rows if not row.is_long],
        "defaults": _rows(receipt.defaults, receipt.titles),
        "phases": _phases(receipt),
        "siblings": _siblings(answer),
        "following": answer.conversation.tree.newest_below(answer.pk) != answer.pk,
        "offers": _offers(prediction),
        "can_run_again": prediction.version is not None and prediction.version.answers,
        "problem": problem,
        "chosen": chosen,
    }
    return render(request, "chat/receipt_detail.html", context, status=status)


def _frame(request: HttpRequest, answer: Message) -> dict[str, Any]:
    """What the layout around each page shows."""
    return {"conversation": answer.conversation, "question": answer.parent}


def _rows(values: Mapping[str, Any], titles: Mapping[str, str]) -> list[InputRow]:
    return [InputRow(name, titles.get(name, name), in_text(value), _turns(value)) for name, value in values.items()]


def _turns(value: Any) -> tuple[tuple[str, str], ...]:
    """Return a list of messages as (who, what); none if it is something else."""
    if isinstance(value, str) and value.startswith("[{"):
        value = _parsed(value)
    if not isinstance(value, list) or not all(isinstance(each, dict) and "role" in each for each in value):
        return ()
    return tuple((str(each["role"]), in_text(each.get("content", ""))) for each in value)


def _parsed(text: str) -> Any:  # any JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _phases(receipt: Receipt) -> list[Phase]:
    """Divide the time that an answer took; empty until it has ended."""
    times, total = receipt.times, receipt.times.total
    if not total:
        return []
    began = None if times.started_at is None else (times.started_at - times.queued_at).total_seconds()
    first = None if times.first_output_at is None else (times.first_output_at - times.queued_at).total_seconds()
    asked = None if times.asked_at is None else (times.asked_at - times.queued_at).total_seconds()
    known = [
        ("queued", "Waiting for its turn", 0.0),
        ("starting", "Asked its host, which got ready", asked),
        ("thinking", "Running, before the first text", began),
        ("writing", "Writing", first),
    ]
    begins = [(name, words, min(max(at, 0.0), total)) for name, words, at in known if at is not None]
    ends = [*(begin for _, _, begin in begins[1:]), total]
    return [
        Phase(name, words, in_seconds(max(end - begin, 0.0)), 100 * begin / total, 100 * max(end - begin, 0.0) / total)
        for (name, words, begin), end in zip(begins, ends, strict=True)
    ]


def _siblings(answer: Message) -> list[Message]:
    others = Message.objects.present().filter(parent=answer.parent_id, prediction__isnull=False).exclude(pk=answer.pk)
    others = others.select_related("prediction__model", "prediction__version")
    return list(others.defer("prediction__version__openapi_schema").order_by("-ordinal")[:SIBLINGS_SHOWN])


def _offers(prediction: Prediction) -> list[Offer]:
    """The other versions that can be asked, newest first."""
    others = prediction.model.versions.answering().exclude(pk=prediction.version_id or 0).exclude(identifier="")
    return [_offer(version, prediction) for version in others[:VERSIONS_OFFERED]]


def _offer(version: Version, prediction: Prediction) -> Offer:
    before = prediction.version.openapi_schema if prediction.version else {}
    problems = validation.problems(version.inputs, prediction.input)
    changes = schema_diff.compare(before, version.openapi_schema, used=prediction.input)
    hits = [change for change in changes if change.hit and change.input not in problems]
    return Offer(
        version.identifier,
        version.short,
        version.released_at,
        {clean(name): clean(sentence) for name, sentence in problems.items()},
        [(clean(change.input), clean(change.sentence)) for change in hits[:WARNINGS_SHOWN]],
    )


# ---------------------------------------------------------------- what the pages share


def _load_answer(request: HttpRequest, key: uuid.UUID) -> Message:
    return load_answer(request, key, "parent", *(f"prediction__{relation}" for relation in RELATIONS))


def _prediction(answer: Message) -> Prediction:
    assert answer.prediction is not None  # noqa: S101 - load_answer sees to it
    return answer.prediction


def _as_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise Http404 from error


def _version(prediction: Prediction, identifier: str) -> Version | None:
    """Return the version with this identifier, or the one that was asked for; None if it cannot be asked."""
    if not identifier:
        return prediction.version
    return prediction.model.versions.answering().filter(identifier=identifier).first()


def _refuse(request: HttpRequest, answer: Message, reason: str, chosen: str, *, status: int = 422) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"detail": reason}, status=status)
    return _show(request, answer, problem=reason, chosen=chosen, status=status)
