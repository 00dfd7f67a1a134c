"""What predictions cost: exact sums, and nothing where a sum would be a guess."""

import json
from decimal import Decimal, getcontext, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.prices import HIGHEST, MOST, Price, PriceNotUnderstood, cost, describe, format_cost
from predictions.providers.base import metrics_of

TOKENS = Price(per_million_input_tokens=Decimal("0.65"), per_million_output_tokens=Decimal("2.75"))
NAMES = ["predict_time", "input_token_count", "output_token_count", "image_count", "video_output_duration_seconds"]

amounts = st.none() | st.decimals(0, HIGHEST, places=12)
prices = st.builds(
    Price,
    per_second=amounts,
    per_million_input_tokens=amounts,
    per_million_output_tokens=amounts,
    per_file=amounts,
    per_video_second=amounts,
    per_run=amounts,
)
counts = st.integers(0, MOST)
measures = st.dictionaries(st.sampled_from(NAMES), counts | st.floats(0, MOST))
odd = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
anything = st.recursive(
    odd,
    lambda inner: st.dictionaries(
        st.sampled_from(["per_run", "per_second", "per_thousand_input_tokens", "currency"]) | st.text(max_size=5), inner
    ),
)


def dollars(**parts: str) -> Price:
    return Price(**{name: Decimal(amount) for name, amount in parts.items()})


# What a prediction cost


@pytest.mark.parametrize(
    ("price", "metrics", "files", "expected"),
    [
        (dollars(per_second="0.000225"), {"predict_time": 12.924583}, 0, "0.0029080312"),  # …0311 75 is rounded up
        (dollars(per_second="0.1"), {"predict_time": 0.1}, 0, "0.01"),
        (TOKENS, {"input_token_count": 1_000_000, "output_token_count": 0}, 0, "0.65"),
        (TOKENS, {"input_token_count": 263, "output_token_count": 512}, 0, "0.00157895"),
        (TOKENS, {"input_token_count": 0, "output_token_count": 0}, 0, "0"),
        (dollars(per_million_input_tokens="0.00005"), {"input_token_count": 1}, 0, "0.0000000001"),
        (dollars(per_million_input_tokens="0.00004"), {"input_token_count": 1}, 0, "0"),
        (dollars(per_file="0.003"), {}, 4, "0.012"),
        (dollars(per_file="0.003"), {}, 0, "0"),
        (dollars(per_file="0.003"), {"image_count": 2}, 4, "0.006"),
        (dollars(per_file="0.003"), {"image_count": 2, "image_output_count": 1}, 4, "0.003"),
        (dollars(per_video_second="0.5"), {"video_output_duration_seconds": 5}, 1, "2.5"),
        (dollars(per_run="0.01"), {}, 0, "0.01"),
        (dollars(per_run="0.01", per_second="0.001"), {"predict_time": 3}, 0, "0.013"),
        (dollars(per_second="0.001"), {"predict_time": -0.0}, 0, "0"),
        (dollars(per_run="0"), {}, 3, "0"),
        (dollars(per_run="0.01", per_second="0"), {}, 0, "0.01"),
    ],
)
def test_each_part_of_a_price_is_paid_for_what_was_measured(
    price: Price, metrics: dict[str, float], files: int, expected: str
) -> None:
    assert cost(price, metrics, files=files) == Decimal(expected)


@pytest.mark.parametrize(
    ("price", "metrics"),
    [
        (Price(), {"predict_time": 3}),
        (TOKENS, {}),
        (TOKENS, {"input_token_count": 5}),
        (TOKENS, {"output_token_count": 5, "predict_time": 3}),
        (dollars(per_second="0.001"), {"total_time": 3}),
        (dollars(per_second="0.001"), {"predict_time": -3}),
        (dollars(per_second="0.001"), {"predict_time": float("nan")}),
        (dollars(per_second="0.001"), {"predict_time": float("inf")}),
        (dollars(per_second="0.001"), {"predict_time": 10**5_000}),
        (dollars(per_second="0.001"), {"predict_time": "3"}),
        (dollars(per_second="0.001"), {"predict_time": True}),
        (dollars(per_run="0.01", per_video_second="0.5"), {"predict_time": 3}),
    ],
)
def test_a_cost_is_unknown_where_something_was_not_measured(price: Price, metrics: dict[str, Any]) -> None:
    assert cost(price, metrics, files=1) is None


@pytest.mark.parametrize("names", ["input_token_count output_token_count", "token_input_count token_output_count"])
def test_tokens_are_paid_for_under_whichever_name_the_host_counts_them(names: str) -> None:
    metrics = metrics_of(dict(zip(names.split(), (1_000_000, 2_000_000), strict=True)))

    assert cost(TOKENS, metrics, files=0) == Decimal("6.15")


@given(prices, st.dictionaries(st.sampled_from(NAMES), odd), st.integers())
def test_odd_metrics_make_no_odd_costs(price: Price, metrics: dict[str, Any], files: int) -> None:
    amount = cost(price, metrics, files=files)

    assert amount is None or (amount >= 0 and not amount.is_signed())


@given(prices, measures, st.sampled_from(NAMES[:3]), counts, st.integers(0, 100))
def test_more_tokens_or_seconds_never_cost_less(
    price: Price, metrics: dict[str, float], name: str, more: int, files: int
) -> None:
    metrics = {**metrics, name: metrics.get(name, 0)}
    less = cost(price, metrics, files=files)
    amount = cost(price, {**metrics, name: min(metrics[name] + more, MOST)}, files=files)

    assert (less is None and amount is None) or (less is not None and amount is not None and less <= amount)


@given(prices, measures)
def test_every_cost_fits_into_a_column_of_24_digits(price: Price, metrics: dict[str, float]) -> None:
    amount = cost(price, metrics, files=MOST)

    assert amount is None or (amount.as_tuple().exponent == -10 and len(amount.as_tuple().digits) <= 24)


def test_what_others_do_with_decimals_does_not_change_a_cost() -> None:
    with localcontext():
        getcontext().prec = 2
        assert cost(TOKENS, {"input_token_count": 263, "output_token_count": 512}, files=0) == Decimal("0.00157895")


# Prices as JSON


@pytest.mark.parametrize(
    ("written", "price"),
    [
        (None, Price()),
        ({}, Price()),
        ({"per_run": None, "per_second": ""}, Price()),
        ({"currency": "USD", "per_run": 1}, dollars(per_run="1")),
        ({"per_second": "0.000225"}, dollars(per_second="0.000225")),
        ({"per_second": " $0.1 "}, dollars(per_second="0.1")),
        ({"per_second": 0.1}, dollars(per_second="0.1")),
        ({"per_second": 0.00001}, dollars(per_second="0.00001")),
        ({"per_million_input_tokens": 0.65, "per_million_output_tokens": "2.75"}, TOKENS),
        ({"per_thousand_input_tokens": 0.00065, "per_thousand_output_tokens": "0.00275"}, TOKENS),
        ({"per_file": "0.003", "per_video_second": "0.50"}, dollars(per_file="0.003", per_video_second="0.5")),
    ],
)
def test_a_price_is_read_digit_by_digit(written: Any, price: Price) -> None:
    assert Price.from_json(written) == price


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0.65", "A price is written like {"),
        ([1], "A price is written like {"),
        ({"per_milion_input_tokens": "1"}, "“per_milion_input_tokens” is no part of a price. These are: per_second, "),
        ({"currency": "EUR", "per_run": "1"}, "Prices are in US dollars."),
        ({"currency": ["USD"], "per_run": "1"}, "Prices are in US dollars."),
        (
            {"per_thousand_input_tokens": "1", "per_million_input_tokens": "1000"},
            "The price per million input tokens is there twice.",
        ),
        ({"per_run": "-1"}, "per_run: write dollars in plain digits"),
        ({"per_run": -1}, "per_run: write dollars in plain digits"),
        ({"per_run": True}, "per_run: write dollars in plain digits"),
        ({"per_run": "1,5"}, "per_run: write dollars in plain digits"),
        ({"per_run": "1e-3"}, "per_run: write dollars in plain digits"),
        ({"per_run": "NaN"}, "per_run: write dollars in plain digits"),
        ({"per_run": "٣"}, "per_run: write dollars in plain digits"),
        ({"per_run": float("nan")}, "per_run: write dollars in plain digits"),
        ({"per_run": 10**5_000}, "per_run: write dollars in plain digits"),
        ({"per_run": "1" * 100_000}, "per_run: write dollars in plain digits"),
        ({"per_run": "0.0000000000001"}, "per_run: write dollars in plain digits"),
        ({"per_run": {"usd": 1}}, "per_run: write dollars in plain digits"),
        ({"per_run": "10000.01"}, "per_run: nothing costs more than $10,000 per run."),
        ({"per_thousand_input_tokens": "11"}, "per_thousand_input_tokens: nothing costs more than $10,000 per million"),
    ],
)
def test_a_price_that_is_not_understood_says_why(written: Any, words: str) -> None:
    with pytest.raises(PriceNotUnderstood) as refusal:
        Price.from_json(written)

    assert str(refusal.value).startswith(words)
    assert len(str(refusal.value)) < 500


@given(prices)
def test_a_price_survives_json(price: Price) -> None:
    assert Price.from_json(json.loads(json.dumps(price.to_json()))) == price


@given(anything)
def test_odd_json_is_a_price_or_is_refused(value: Any) -> None:
    try:
        price = Price.from_json(value)
    except PriceNotUnderstood:
        return

    assert Price.from_json(price.to_json()) == price


def test_a_price_is_kept_as_people_would_write_it() -> None:
    price = Price.from_json({"per_thousand_input_tokens": 0.00065, "per_run": "10.00", "per_second": 0})

    assert price.to_json() == {"per_second": "0", "per_million_input_tokens": "0.65", "per_run": "10"}


# Words


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (Price(), "not known"),
        (dollars(per_run="0"), "free"),
        (dollars(per_second="0.000225"), "$0.000225 per second of predict time"),
        (dollars(per_million_input_tokens="3"), "$3 per million input tokens"),
        (dollars(per_million_output_tokens="1000.5"), "$1,000.50 per million output tokens"),
        (TOKENS, "$0.65 per million input tokens and $2.75 per million output tokens"),
        (dollars(per_file="0.003"), "$0.003 per output file"),
        (dollars(per_video_second="0.50"), "$0.50 per second of video"),
        (dollars(per_run="10.00"), "$10 per run"),
        (
            dollars(per_run="0.01", per_second="0.001", per_file="0"),
            "$0.001 per second of predict time, $0 per output file and $0.01 per run",
        ),
        (dollars(per_second="0.000000000001"), "$0.000000000001 per second of predict time"),
    ],
)
def test_a_price_in_words(price: Price, words: str) -> None:
    assert describe(price) == words


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0E-10", "$0.00"),
        ("0.0000000001", "less than $0.00001"),
        ("0.0000099999", "less than $0.00001"),
        ("0.00001", "$0.00001"),
        ("0.0000149", "$0.00001"),
        ("0.000123", "$0.00012"),
        ("0.000125", "$0.00013"),
        ("0.0029080312", "$0.0029"),
        ("0.000996", "$0.001"),
        ("0.012345", "$0.012"),
        ("0.05", "$0.05"),
        ("0.0999", "$0.10"),
        ("0.1", "$0.10"),
        ("0.125", "$0.13"),
        ("3", "$3.00"),
        ("1234.5", "$1,234.50"),
        ("99999999999999.9999999999", "$100,000,000,000,000.00"),
    ],
)
def test_a_cost_is_written_with_the_digits_that_count(amount: str, shown: str) -> None:
    assert format_cost(Decimal(amount)) == shown


@given(prices, measures)
def test_every_cost_can_be_shown(price: Price, metrics: dict[str, float]) -> None:
    amount = cost(price, metrics, files=MOST)

    assert amount is None or "$" in format_cost(amount)
