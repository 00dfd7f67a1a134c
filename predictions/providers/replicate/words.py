"""Replicate's refusals and failures in people's words, with what to do. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from predictions.events import FAILED, clean
from predictions.providers.errors import (
    AccountRefused,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
)
from predictions.providers.http import Answer

SHORTEST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds that a 429 may make us wait
USUAL_WAIT = 5.0  # seconds, where a 429 says nothing of them
FIELDS_TOLD = 5  # of an input that was refused

BAD_ACCESS = (
    "Replicate does not accept this site’s API token. Whoever hosts Parley must set REPLICATE_API_TOKEN, or an admin "
    "enter another token at the provider."
)
NO_CREDIT = "The Replicate account has no credit left. Whoever hosts Parley must add some; that takes a few minutes."
MODEL_GONE = "Replicate does not know this model or version, or not any more. An admin can choose another one."
NOT_PERMITTED = (
    "Replicate does not run this version: it does not exist (any more), is not open to this account, or the model must "
    "be asked by a version of its own. An admin can choose another one."
)
TOO_LARGE = "This is too large for Replicate: a file may have 100 MB."
REMOVED = (
    "The answer was ready, but it was not fetched in time: Replicate keeps answers for an hour. What had arrived is "
    "kept here. Try again if you still want it."
)
SAID_NOTHING = "The model failed without giving a reason."

# https://replicate.com/docs/topics/predictions/error-codes, and what people have met besides.
CODES: Mapping[str, str] = {
    "E1000": "Something went wrong at Replicate, and it does not say what. Try again.",
    "E1001": "The model ran out of memory. Try a shorter or smaller input.",
    "E4875": "Replicate was given an empty address for its webhook. Whoever hosts Parley must mend PARLEY_PUBLIC_URL.",
    "E6716": "The model did not start in time. Try again in a few minutes.",
    "E8367": "Replicate stopped the model before it was done. Try again.",
    "E8765": "The model started, but did not get well. Try again in a few minutes.",
    "E9243": "The model could not be started. Try again; if that does not help, its author has to mend it.",
    "E9825": "A file of the answer could not be stored at Replicate. Try again.",
    "E9828": "Something went wrong at Replicate while the model ran. Try again.",
    "PA": "Replicate interrupted the model. Try again.",
}
CODE = re.compile(r"\b(E\d{4})\b|\(code: (\w{2,6})\)")
WAIT = re.compile(r"(?:resets in|available in) ~?(\d+(?:\.\d+)?) ?s", re.IGNORECASE)
PACE = re.compile(r"(\d+) requests per (minute|second)")


def raise_for(answer: Answer) -> None:
    """Raise the error of `errors` that an answer's status means; return if it means none."""
    detail = detail_of(answer.json)
    match answer.status:
        case 200 | 201 | 202 | 204:
            return
        case 401 | 403:
            raise AccountRefused(BAD_ACCESS)
        case 402:
            raise AccountRefused(NO_CREDIT)
        case 404 | 410:
            raise ProviderRefused(MODEL_GONE)
        case 413:
            raise ProviderRefused(TOO_LARGE)
        case 422:
            raise ProviderRefused(_input_refused(answer.json))
        case 429:
            wait = retry_after(answer)
            raise RateLimited("Replicate’s rate limit is reached.", retry_after=wait, per_minute=_reduced_pace(detail))
        case status if status >= 500:
            raise ProviderUnavailable(f"Replicate has trouble (error {status}).", retry_after=2.0)
        case status:
            raise ProviderRefused(f"Replicate refused the question (error {status}). {detail}".strip())


def retry_after(answer: Answer) -> float:
    """Find how many seconds to wait: in the body, a header, or only in the sentence."""
    body: Mapping[str, Any] = answer.json if isinstance(answer.json, dict) else {}
    sentence = WAIT.search(detail_of(body))
    told = (
        body.get("retry_after"),
        answer.headers.get("retry-after"),
        answer.headers.get("ratelimit-reset"),
        sentence and sentence[1],
    )
    waits = [seconds for value in told if (seconds := _seconds(value)) is not None]
    return min(max(waits[0], SHORTEST_WAIT), LONGEST_WAIT) if waits else USUAL_WAIT


def _seconds(value: Any) -> float | None:
    """Read `5`, `"5"` or an HTTP date as seconds from now."""
    try:
        seconds = float(value)
    except OverflowError:
        return LONGEST_WAIT
    except (TypeError, ValueError):
        pass
    else:
        return seconds if isfinite(seconds) else None
    try:
        return (parsedate_to_datetime(str(value)) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None


def model_error(error: Any, status: str) -> str:
    """Tell the `error` of a prediction in words; the model's own are kept."""
    text = clean(str(error or "")).strip()
    if not text:
        return SAID_NOTHING if status == FAILED else ""
    code = CODE.search(text)
    words = CODES.get(code[1] or code[2]) if code else None
    return f"{words} Replicate says: {text}" if words else text


def detail_of(body: Any) -> str:
    """Return the `detail` of an error's body, which may be missing or a list."""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        detail = "; ".join(str(part.get("msg", part)) if isinstance(part, dict) else str(part) for part in detail)
    return clean(detail.strip()) if isinstance(detail, str) else ""


def _input_refused(body: Any) -> str:
    """Tell a 422: which parameter, and what is wrong with it.

    `{"invalid_fields": [{"type": "number_lte", "field": "input.max_tokens", "description": "Must be …"}]}`
    """
    fields = body.get("invalid_fields") if isinstance(body, dict) else None
    told = [_field_refused(field) for field in fields if isinstance(field, dict)] if isinstance(fields, list) else []
    if told:
        return f"Replicate does not accept this input. {' '.join(told[:FIELDS_TOLD])}"
    if isinstance(body, dict) and "version" in str(body.get("title", "")).lower():
        return NOT_PERMITTED
    return f"Replicate does not accept this input: {detail_of(body) or 'it gave no reason.'}"


def _field_refused(field: Mapping[str, Any]) -> str:
    name = clean(str(field.get("field") or "")).removeprefix("input.")
    reason = clean(str(field.get("description") or field.get("type") or "is not valid")).rstrip(".")
    # What is missing is named in the reason: {"field": "input", "description": "prompt is required"}.
    return f"{reason}." if name in {"", "input", "(root)"} else f"{name}: {reason}."


def _reduced_pace(detail: str) -> float | None:
    """Find the pace in `… is reduced to 6 requests per minute with a burst of 1 requests while …`."""
    pace = PACE.search(detail)
    if pace is None or "reduced" not in detail:
        return None
    return float(pace[1]) * (60 if pace[2] == "second" else 1) or None
