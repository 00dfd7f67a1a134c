"""Replicate's refusals in people's words: what happened, what to do, how long to wait."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.providers.errors import (
    AccountRefused,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
)
from predictions.providers.http import Answer
from predictions.providers.replicate.words import CODES, SAID_NOTHING, detail_of, model_error, raise_for, retry_after

KNOWN = json.loads((Path(__file__).parent / "data/replicate/replicate-error-bodies.json").read_text())

# How Replicate's own sentence begins, the error that it means here, and how ours ends: with what somebody can do.
MEANINGS = [
    ("You did not pass a valid", AccountRefused, "or an admin enter another token at the provider."),
    ("You did not pass an", AccountRefused, "or an admin enter another token at the provider."),
    ("You have insufficient credit", AccountRefused, "must add some; that takes a few minutes."),
    ("The specified training", ProviderRefused, "An admin can choose another one."),
    ("The requested resource", ProviderRefused, "An admin can choose another one."),
    ("File not found", ProviderRefused, "An admin can choose another one."),
    ("Files must be less than 100MB", ProviderRefused, "a file may have 100 MB."),
    ("The specified version", ProviderRefused, "An admin can choose another one."),
    ("- input: prompt is required", ProviderRefused, "does not accept this input. prompt is required."),
    ("Streaming not supported", ProviderRefused, "not supported for the output type of the requested version."),
]
# The wait that each of the sentences of a 429 names, in seconds.
WAITS = [("resets in ~5s.", 5.0), ("available in 1 second.", 1.0), ("resets in ~30s.", 30.0)]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["detail", "title", "status", "retry_after", "invalid_fields", "field", "description", "type", "msg"]
bodies = st.dictionaries(
    st.sampled_from(KEYS),
    json_values
    | st.lists(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3), max_size=3)
    | st.from_regex(r"reduced to [0-9]{1,9} requests per (minute|second)"),
    max_size=5,
)


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


def refusal(status: int, body: Any = None) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        raise_for(answer(status, body))
    return raised.value


def throttled(body: Any = None, **headers: str) -> RateLimited:
    with pytest.raises(RateLimited) as raised:
        raise_for(answer(429, body, **headers))
    return raised.value


def known(beginning: str) -> Any:
    """Return the one known refusal whose own sentence begins so."""
    [entry] = [entry for entry in KNOWN if entry["body"]["detail"].startswith(beginning)]
    return entry


# ---------------------------------------------------------------- who can do what about it


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_was_accepted_is_no_error(status: int) -> None:
    raise_for(answer(status))


@pytest.mark.parametrize(("beginning", "kind", "ending"), MEANINGS, ids=[beginning for beginning, *_ in MEANINGS])
def test_every_known_refusal_ends_in_what_can_be_done(beginning: str, kind: type[ProviderError], ending: str) -> None:
    entry = known(beginning)

    error = refusal(entry["http"], entry["body"])

    assert type(error) is kind
    assert str(error).endswith(ending)


def test_no_known_refusal_is_left_out() -> None:
    assert len(MEANINGS) + len(WAITS) == len(KNOWN)


def test_a_token_that_may_not_do_this_is_told_as_a_bad_token() -> None:
    assert type(refusal(403, {"detail": "Forbidden"})) is AccountRefused


def test_a_version_that_is_gone_is_told_as_one_that_was_never_there() -> None:
    assert str(refusal(410)) == str(refusal(404))


# ---------------------------------------------------------------- an input that is not accepted


def test_each_parameter_that_is_wrong_is_named_with_the_reason() -> None:
    body = {
        "title": "Input validation failed",
        "detail": "- input.max_tokens: Must be less than or equal to 4096\n- input: Additional property…\n",
        "status": 422,
        "invalid_fields": [
            {"type": "number_lte", "field": "input.max_tokens", "description": "Must be less than or equal to 4096"},
            {"type": "enum", "field": "input.aspect_ratio", "description": 'Must be one of "1:1", "16:9".'},
            {"type": "required", "field": "input", "description": "prompt is required"},
            {"type": "additional_property_not_allowed", "field": "input", "description": "topk is not allowed"},
        ],
    }

    assert str(refusal(422, body)) == (
        "Replicate does not accept this input. max_tokens: Must be less than or equal to 4096. "
        'aspect_ratio: Must be one of "1:1", "16:9". prompt is required. topk is not allowed.'
    )


def test_a_field_that_tells_no_reason_is_named_all_the_same() -> None:
    body = {"invalid_fields": [{"field": "input.seed"}, {"field": "input.width", "type": "number_gte"}, {}, "seed"]}

    assert str(refusal(422, body)).endswith("seed: is not valid. width: number_gte. is not valid.")


def test_of_many_wrong_fields_a_few_are_told() -> None:
    fields = [{"field": f"input.x{i}", "description": "is too large"} for i in range(50)]

    message = str(refusal(422, {"invalid_fields": fields}))

    assert message.count("is too large") == 5
    assert "x0: is too large" in message


def test_details_as_a_list_are_told_one_after_the_other() -> None:
    """Cog's own form, which some hosts hand on."""
    body = {"detail": [{"loc": ["body", "input", "prompt"], "msg": "Field required", "type": "missing"}, "and more"]}

    assert str(refusal(422, body)) == "Replicate does not accept this input: Field required; and more"


@pytest.mark.parametrize("body", [None, {}, [], "", {"detail": ""}, {"detail": None}, {"invalid_fields": []}])
def test_an_input_refused_without_a_reason_is_told_so(body: Any) -> None:
    assert str(refusal(422, body)) == "Replicate does not accept this input: it gave no reason."


@pytest.mark.parametrize("fields", [7, True, "max_tokens", {"field": "input.seed"}, [None, 3], 0.5])
def test_fields_in_another_form_leave_the_sentence(fields: Any) -> None:
    body = {"invalid_fields": fields, "detail": "seed is wrong"}

    assert str(refusal(422, body)) == "Replicate does not accept this input: seed is wrong"


# ---------------------------------------------------------------- what it has no words for


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
def test_troubles_of_the_host_are_waited_out(status: int) -> None:
    error = refusal(status)  # the edge answers with HTML, of which nothing is kept

    assert type(error) is ProviderUnavailable
    assert str(error) == f"Replicate has trouble (error {status})."
    assert 0 < error.retry_after < 60


def test_another_refusal_is_told_with_its_number_and_the_hosts_own_words() -> None:
    assert (
        str(refusal(418, {"detail": " I'm a teapot\n"})) == "Replicate refused the question (error 418). I'm a teapot"
    )
    assert str(refusal(400, {"detail": "Invalid version"})).endswith("(error 400). Invalid version")
    assert type(refusal(418)) is ProviderRefused


def test_a_page_instead_of_json_leaves_only_the_number() -> None:
    assert str(refusal(418, None)) == "Replicate refused the question (error 418)."


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"detail": "  one\n"}, "one"),
        ({"detail": ["one", {"msg": "two"}, {"loc": ["body"]}]}, "one; two; {'loc': ['body']}"),
        ({"detail": "a\x00b\ud800"}, "a\ufffdb\ufffd"),
        ({"detail": {"msg": "nested"}}, ""),
        ({"detail": 7}, ""),
        ({"detail": []}, ""),
        (["detail"], ""),
        ("<html>", ""),
        (None, ""),
    ],
)
def test_the_detail_of_a_body_in_any_form(body: Any, detail: str) -> None:
    assert detail_of(body) == detail


@given(st.sampled_from([400, 401, 402, 404, 413, 418, 422, 422, 422, 429, 500]), bodies | json_values)
def test_whatever_the_host_writes_is_one_of_our_errors_and_can_be_stored(status: int, body: Any) -> None:
    error = refusal(status, body)

    assert str(error).strip()
    assert "\x00" not in str(error)
    str(error).encode()


# ---------------------------------------------------------------- how long to wait


@pytest.mark.parametrize(("sentence", "seconds"), WAITS)
def test_the_wait_is_found_in_the_sentence_alone(sentence: str, seconds: float) -> None:
    [body] = [entry["body"] for entry in KNOWN if entry["body"]["detail"].endswith(sentence)]

    assert throttled({"detail": body["detail"]}).retry_after == seconds
    assert throttled(body).retry_after == seconds


def test_the_body_counts_before_the_headers_and_these_before_the_sentence() -> None:
    sentence = {"detail": "Request was throttled. Your rate limit resets in ~9s."}

    assert throttled({**sentence, "retry_after": 2}, retry_after="3", ratelimit_reset="4").retry_after == 2
    assert throttled(sentence, retry_after="3", ratelimit_reset="4").retry_after == 3
    assert throttled(sentence, ratelimit_reset="4").retry_after == 4
    assert throttled(sentence).retry_after == 9


def test_a_wait_may_be_a_text_or_a_fraction() -> None:
    assert throttled({"retry_after": "2.5"}).retry_after == 2.5
    assert throttled(None, retry_after=" 7 ").retry_after == 7
    assert throttled({"detail": "Your rate limit resets in ~1.5s."}).retry_after == 1.5


def test_a_date_is_waited_for() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=40)

    wait = throttled(None, Retry_After=format_datetime(soon, usegmt=True)).retry_after

    assert 0.5 < wait <= 40


def test_a_date_that_has_passed_is_waited_for_shortly() -> None:
    assert throttled(None, retry_after="Wed, 21 Oct 2015 07:28:00 GMT").retry_after == 0.5


@pytest.mark.parametrize("nothing", ["", "soon", "NaN", "inf", "-inf", "Mon, 01 Jan 2026 00:00:00 -0000", None, [], {}])
def test_a_wait_that_says_nothing_leaves_the_next_one(nothing: Any) -> None:
    assert throttled({"retry_after": nothing}, retry_after="3").retry_after == 3
    assert throttled({"retry_after": nothing}).retry_after == 5


@pytest.mark.parametrize("body", [None, {}, [], "<html>", {"detail": "Request was throttled."}])
def test_without_any_wait_the_usual_one_is_kept(body: Any) -> None:
    assert throttled(body).retry_after == 5


@pytest.mark.parametrize(("told", "seconds"), [(-3, 0.5), (0, 0.5), (0.01, 0.5), (61, 60), (1e300, 60), (10**300, 60)])
def test_a_wait_is_neither_too_short_nor_too_long(told: float, seconds: float) -> None:
    assert throttled({"retry_after": told}).retry_after == seconds


@pytest.mark.parametrize(
    "immense",
    [10**400, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999"],
    ids=["number", "year", "zone"],
)
def test_a_wait_that_no_machine_can_count_is_still_a_rate_limit(immense: Any) -> None:
    assert 0.5 <= throttled({"retry_after": immense}).retry_after <= 60


@given(json_values, st.text(st.characters(codec="ascii"), max_size=40), st.text(max_size=40))
def test_any_wait_is_a_wait(told: Any, header: str, sentence: str) -> None:
    body = {"retry_after": told, "detail": sentence}

    assert 0.5 <= retry_after(answer(429, body, retry_after=header)) <= 60


# ---------------------------------------------------------------- a reduced pace


def test_a_reduced_pace_is_read_from_the_sentence() -> None:
    [body] = [entry["body"] for entry in KNOWN if "reduced" in entry["body"]["detail"]]

    assert throttled(body).per_minute == 6


@pytest.mark.parametrize(
    ("sentence", "per_minute"),
    [
        ("Your rate limit is reduced to 1 requests per second until you add a payment method.", 60),
        ("Your rate limit is reduced to 0 requests per minute.", None),
        ("You may make 600 requests per minute. Your rate limit resets in ~5s.", None),
        ("Your rate limit is reduced.", None),
        ("Request was throttled. Expected available in 1 second.", None),
    ],
)
def test_only_a_sentence_about_a_reduction_reduces_the_pace(sentence: str, per_minute: float | None) -> None:
    assert throttled({"detail": sentence}).per_minute == per_minute


# ---------------------------------------------------------------- what a model died of


@pytest.mark.parametrize("code", [code for code in CODES if code != "PA"])
def test_a_code_of_replicates_is_told_with_what_to_do(code: str) -> None:
    said = f"Director: unexpected error handling prediction ({code})"

    told = model_error(said, "failed")

    assert told == f"{CODES[code]} Replicate says: {said}"
    assert "Try " in CODES[code] or "Whoever hosts Parley must" in CODES[code]


def test_an_interruption_is_told_with_what_to_do() -> None:
    said = "Prediction interrupted; please retry (code: PA)"

    assert model_error(said, "failed") == f"Replicate interrupted the model. Try again. Replicate says: {said}"


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB",
        "unknown code (E0000)",
        "Prediction stopped (code: XY)",
        "PA is not a code here",
        "E10010 is a product's number",
    ],
)
def test_the_models_own_words_are_kept_as_they_are(said: str) -> None:
    assert model_error(f" {said}\n", "failed") == said


@pytest.mark.parametrize("silence", [None, "", False, [], {}])
def test_a_failure_without_a_reason_is_told_so(silence: Any) -> None:
    assert model_error(silence, "failed") == SAID_NOTHING
    assert model_error(silence, "canceled") == ""


def test_a_failure_with_a_blank_reason_is_told_as_one_without() -> None:
    assert model_error(" \n", "failed") == SAID_NOTHING


def test_what_cannot_be_stored_of_a_models_words_is_marked() -> None:
    assert model_error("a\x00b\ud800", "failed") == "a\ufffdb\ufffd"


@given(json_values, st.sampled_from(["failed", "canceled", "succeeded", "aborted", "queued"]))
def test_any_error_can_be_told_and_stored(said: Any, status: str) -> None:
    told = model_error(said, status)

    assert "\x00" not in told
    told.encode()
