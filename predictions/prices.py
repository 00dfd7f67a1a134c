"""What predictions cost: a price as an admin writes it, times what the host measured. Pure.

All amounts are US dollars, as decimals. What a host charges beyond this (discounts, idle deployments, failed
predictions) is not known here: a cost is an estimate.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Context, Decimal

CURRENCY = "USD"
HIGHEST = Decimal(10_000)  # dollars that one unit may cost; more is a slip of the pen
MOST = 10**9  # seconds, tokens or files of one prediction; more is no measure
PLACES = Decimal("1E-10")  # dollars; a cost is rounded to this. With HIGHEST and MOST it has at most 24 digits
LEAST_SHOWN, PLACES_SHOWN = Decimal("0.00001"), 5
AMOUNT = re.compile(r"\$? ?([0-9]{1,8}(?:\.[0-9]{1,12})?)")
LONGEST_AMOUNT = 40  # characters
EXACT = Context(prec=60, rounding=ROUND_HALF_UP)  # its own, so that nobody's settings change a cost

PER_TOKEN = Decimal("0.000001")  # prices of tokens are those of a million
THOUSANDS = {  # other ways to write a price
    "per_thousand_input_tokens": "per_million_input_tokens",
    "per_thousand_output_tokens": "per_million_output_tokens",
}
WORDS = {
    "per_second": "per second of predict time",
    "per_million_input_tokens": "per million input tokens",
    "per_million_output_tokens": "per million output tokens",
    "per_file": "per output file",
    "per_video_second": "per second of video",
    "per_run": "per run",
}
EXAMPLE = '{"per_million_input_tokens": "0.65", "per_million_output_tokens": "2.75"}'
PARTS = ", ".join([*WORDS, *THOUSANDS])


class PriceNotUnderstood(ValueError):
    """Not a price; the message tells an admin why and what would be one."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a host charges, in dollars per unit; the parts add up, and None is a part that nobody has named."""

    per_second: Decimal | None = None
    per_million_input_tokens: Decimal | None = None
    per_million_output_tokens: Decimal | None = None
    per_file: Decimal | None = None
    per_video_second: Decimal | None = None
    per_run: Decimal | None = None

    @classmethod
    def from_json(cls, value: object) -> "Price":
        """Read a price like `EXAMPLE`; null, like {}, is one of which nothing is known. Raise PriceNotUnderstood.

        All of it must be understood: a part that a typing error left out would make every cost too small.
        """
        if value is None:
            return cls()
        if not isinstance(value, dict):
            raise PriceNotUnderstood(f"A price is written like {EXAMPLE}.")
        said = {name: written for name, written in value.items() if written not in (None, "")}
        if said.pop("currency", CURRENCY) != CURRENCY:
            raise PriceNotUnderstood("Prices are in US dollars. Leave the currency out, or write USD.")
        return cls(**_parts(said))

    def to_json(self) -> dict[str, str]:
        return {name: format(amount.normalize(EXACT), "f") for name, amount in self.parts.items()}

    @property
    def parts(self) -> dict[str, Decimal]:
        """The parts that somebody has named, by name, in order."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: amount for name, amount in named if amount is not None}


def cost(price: Price, metrics: Mapping[str, float], *, files: int) -> Decimal | None:
    """Return what a prediction cost, rounded half up to ten places once at the end; None if that cannot be known.

    `files` is how many files came out. Of the host's `metrics`, named as `providers.base.metrics_of` names them:

    - `predict_time`, in seconds
    - `input_token_count`, `output_token_count`
    - `image_output_count`, else `image_count`, before our own count of files
    - `video_output_duration_seconds`

    A part of the price whose measure is missing makes the whole unknown, unless it is free.
    """
    if not price.parts:
        return None
    total = Decimal(0)
    for name, amount in price.parts.items():
        units = _units(name, metrics, files) if amount else Decimal(0)
        if units is None:
            return None
        total = EXACT.fma(amount, units, total)
    return total.quantize(PLACES, context=EXACT)


def describe(price: Price) -> str:
    """Say a price in words: `$0.65 per million input tokens and $2.75 per million output tokens`."""
    if not price.parts:
        return "not known"
    if not any(price.parts.values()):
        return "free"
    *others, last = (f"{_exactly(amount)} {WORDS[name]}" for name, amount in price.parts.items())
    return f"{', '.join(others)} and {last}" if others else last


def format_cost(amount: Decimal) -> str:
    """Write a cost for people: cents, or below ten cents the first two digits that count, as in `$0.00012`."""
    if 0 < amount < LEAST_SHOWN:
        return f"less than ${LEAST_SHOWN}"
    places = min(max(1 - amount.adjusted(), 2), PLACES_SHOWN)
    rounded = amount.quantize(Decimal(1).scaleb(-places), context=EXACT)
    return _dollars(rounded, fewest_places=2)


def _parts(said: Mapping[str, object]) -> dict[str, Decimal]:
    parts: dict[str, Decimal] = {}
    for written_name, written in said.items():
        name = THOUSANDS.get(written_name, written_name)
        if name not in WORDS:
            raise PriceNotUnderstood(f"“{str(name)[:50]}” is no part of a price. These are: {PARTS}.")
        if name in parts:
            raise PriceNotUnderstood(f"The price {WORDS[name]} is there twice. Keep it per thousand or per million.")
        amount = _amount(written_name, written)
        parts[name] = amount * 1_000 if written_name in THOUSANDS else amount
        if parts[name] > HIGHEST:
            raise PriceNotUnderstood(f"{written_name}: nothing costs more than ${HIGHEST:,} {WORDS[name]}.")
    return parts


def _amount(name: str, written: object) -> Decimal:
    match = AMOUNT.fullmatch(_text(written))
    if match is None:
        raise PriceNotUnderstood(
            f"{name}: write dollars in plain digits, with at most 12 of them behind the point, such as 0.000225."
        )
    return Decimal(match[1])


def _text(written: object) -> str:
    """Return an amount as digits. A number of JSON has those that were written, whatever it is in binary."""
    match written:
        case str() if len(written) <= LONGEST_AMOUNT:
            return written.strip()
        case bool():
            return ""
        case int() | float() if 0 <= written <= MOST:
            return format(Decimal(str(written)), "f")
        case _:
            return ""


def _units(name: str, metrics: Mapping[str, float], files: int) -> Decimal | None:
    match name:
        case "per_second":
            return _measure(metrics, "predict_time")
        case "per_million_input_tokens":
            return _per_million(_measure(metrics, "input_token_count"))
        case "per_million_output_tokens":
            return _per_million(_measure(metrics, "output_token_count"))
        case "per_file":
            return _measure({**metrics, "files": files}, "image_output_count", "image_count", "files")
        case "per_video_second":
            return _measure(metrics, "video_output_duration_seconds")
        case _:
            return Decimal(1)


def _measure(metrics: Mapping[str, float], *names: str) -> Decimal | None:
    """Return the first of these metrics that can be a measure. They come from outside, whatever their type says."""
    for name in names:
        value = metrics.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST:
            return Decimal(str(value))
    return None


def _per_million(tokens: Decimal | None) -> Decimal | None:
    return None if tokens is None else EXACT.multiply(tokens, PER_TOKEN)


def _exactly(amount: Decimal) -> str:
    return _dollars(amount, fewest_places=0 if amount == amount.to_integral_value() else 2)


def _dollars(amount: Decimal, *, fewest_places: int) -> str:
    whole, _, fraction = format(amount, ",f").partition(".")
    fraction = fraction.rstrip("0").ljust(fewest_places, "0")
    return f"${whole}.{fraction}" if fraction else f"${whole}"
