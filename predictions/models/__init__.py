"""The catalogue (`Provider Model Version Pin Condition`) the predictions (`Prediction OutputChunk File Upload Worker`),
how many there may be (`Limits Allowance`), and what is tried out before it is pinned (`SavedPrompt Comparison Case
Trial`)."""

from predictions.models.catalogue import Model, Provider, Version
from predictions.models.comparison import Case, Comparison, SavedPrompt, Trial
from predictions.models.condition import Condition
from predictions.models.file import File
from predictions.models.limits import Allowance, LimitReached, Limits
from predictions.models.pin import Pin, PinChanged
from predictions.models.prediction import OutputChunk, Prediction, WebhookDelivery, Worker
from predictions.models.upload import Upload

__all__ = [
    "Allowance",
    "Case",
    "Comparison",
    "Condition",
    "File",
    "LimitReached",
    "Limits",
    "Model",
    "OutputChunk",
    "Pin",
    "PinChanged",
    "Prediction",
    "Provider",
    "SavedPrompt",
    "Trial",
    "Upload",
    "Version",
    "WebhookDelivery",
    "Worker",
]
