"""How many requests the account may send, and how a refusal tells when the next may come."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from .scripts import Answer, recorded_errors

Form = Literal["body", "header", "sentence", "poor"]
"""Where a refusal names the seconds: in the body's `retry_after`; in the header `Retry-After`; in the sentence alone;
in the body as reported by an account with little credit."""

_POOR, _, _IN_SENTENCE = recorded_errors(429)


class Allowance:
    """A token bucket: `burst` requests at once, and `per_minute` in the long run."""

    def __init__(self, per_minute: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()

    def take(self) -> bool:
        """Use one, if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def remaining(self) -> int:
        """How many requests would pass at once."""
        self._fill()
        return int(self._tokens)

    @property
    def reset(self) -> int:
        """Seconds until one more would, rounded up."""
        self._fill()
        missing = math.floor(self._tokens) + 1 - self._tokens
        return max(1, math.ceil(missing / self._per_second))

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now


class Throttle:
    """The account's two allowances: of creates, and of everything else."""

    def __init__(self, creates: Allowance, reads: Allowance, form: Form) -> None:
        self._creates = creates
        self._reads = reads
        self._form = form

    def admit(self, door: str) -> tuple[Mapping[str, str], Answer | None]:
        """Return the headers that tell what is left, and the refusal if nothing was."""
        allowance = self._creates if door == "create" else self._reads
        passes = allowance.take()
        headers = {"ratelimit-remaining": str(allowance.remaining), "ratelimit-reset": str(allowance.reset)}
        return headers, None if passes else _refusal(self._form, allowance.reset, headers)


def _refusal(form: Form, wait: int, limits: Mapping[str, str]) -> Answer:
    sentence = _IN_SENTENCE.body["detail"].replace("~30s", f"~{wait}s")
    match form:
        case "body":
            return replace(_IN_SENTENCE, body={"detail": sentence, "status": 429, "retry_after": wait}, headers=limits)
        case "header":
            body = {"detail": "Request was throttled."}
            return replace(_IN_SENTENCE, body=body, headers={**limits, "retry-after": str(wait)})
        case "sentence":
            return replace(_IN_SENTENCE, body={"detail": sentence})  # without the other headers too
        case "poor":
            told = _POOR.body["detail"].replace("~5s", f"~{wait}s")
            return replace(_POOR, body=_POOR.body | {"detail": told, "retry_after": wait}, headers=limits)
