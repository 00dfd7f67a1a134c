"""What can go wrong with a provider; the message is for people and says what to do.

ProviderError
├── ProviderRefused         a final no: asking again the same way does not help
│   └── AccountRefused      a no to whoever hosts Parley: token, credit
├── NotTaken                nothing was accepted: ask again after `retry_after` seconds
│   ├── ProviderBusy        all slots are taken, or it is still starting
│   ├── RateLimited         the account asks too much; `per_minute` says what it may, where the host does
│   └── ProviderUnavailable it could not be reached, or has trouble
├── AnswerLost              a create may have been accepted, but its answer did not arrive
├── AddressRefused          the guard does not let the request out to this address
├── PredictionGone          the provider knows nothing of this prediction (any more)
└── StreamInterrupted       the event stream ended before the prediction did, or cannot be had
"""


class ProviderError(Exception):
    """The root of the tree."""


class ProviderRefused(ProviderError):
    """A final no."""


class AccountRefused(ProviderRefused):
    """A no that every question would get."""


class NotTaken(ProviderError):
    """Nothing was accepted."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderBusy(NotTaken):
    """No slot is free now."""


class RateLimited(NotTaken):
    """Too much was asked."""

    def __init__(self, message: str, *, retry_after: float, per_minute: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.per_minute = per_minute


class ProviderUnavailable(NotTaken):
    """Not there now."""


class AnswerLost(ProviderError):
    """Perhaps accepted."""


class AddressRefused(ProviderError):
    """Not an address to be asked."""


class PredictionGone(ProviderError):
    """Not known to the provider."""


class StreamInterrupted(ProviderError):
    """No further events from this stream."""
