"""What can go wrong with a provider; the message is for people and says what to do.

ProviderError
├── ProviderRefused         a final no: asking again the same way does not help
├── NotTaken                nothing was accepted: ask again after `retry_after` seconds
│   ├── ProviderBusy        all slots are taken, or the rate limit is reached
│   └── ProviderUnavailable it could not be reached, or is still starting
├── AnswerLost              a create may have been accepted, but its answer did not arrive
├── PredictionGone          the provider knows nothing of this prediction (any more)
└── StreamInterrupted       the event stream ended before the prediction did, or cannot be had
"""


class ProviderError(Exception):
    """The root of the tree."""


class ProviderRefused(ProviderError):
    """A final no."""


class NotTaken(ProviderError):
    """Nothing was accepted."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderBusy(NotTaken):
    """No slot is free now."""


class ProviderUnavailable(NotTaken):
    """Not there now."""


class AnswerLost(ProviderError):
    """Perhaps accepted."""


class PredictionGone(ProviderError):
    """Not known to the provider."""


class StreamInterrupted(ProviderError):
    """No further events from this stream."""
