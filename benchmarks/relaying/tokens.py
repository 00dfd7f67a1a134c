"""Tokens that are their own send times, so that any reader can tell from the text alone how long each was under way.

Four characters of Base64 are 24 bits: the monotonic clock in units of 10 µs. It is the same in all processes of a
machine and begins anew after 168 seconds, which is the longest delay that can be told.
"""

import binascii
from array import array
from time import monotonic_ns

LENGTH = 4  # characters of a token
UNITS_PER_MS = 100
_UNIT = 10_000  # nanoseconds
_MASK = 0xFFFFFF


def now() -> int:
    return monotonic_ns() // _UNIT


def stamp() -> bytes:
    """Return the token of this moment."""
    return binascii.b2a_base64((monotonic_ns() // _UNIT & _MASK).to_bytes(3, "big"), newline=False)


def read_delays(tokens: str, arrived: int, delays: "array[int]") -> None:
    """Add to `delays` how long each of `tokens` had been under way at `arrived`, in units of 10 µs."""
    times = binascii.a2b_base64(tokens)
    for first, second, third in zip(times[::3], times[1::3], times[2::3], strict=True):
        delays.append(arrived - (first << 16 | second << 8 | third) & _MASK)
