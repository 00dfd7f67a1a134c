"""The catalogue (`Provider Model Version Pin Condition`) and the predictions (`Prediction OutputChunk File Worker`)."""

from predictions.models.catalogue import Model, Provider, Version
from predictions.models.condition import Condition
from predictions.models.file import File
from predictions.models.pin import Pin, PinChanged
from predictions.models.prediction import OutputChunk, Prediction, WebhookDelivery, Worker

__all__ = [
    "Condition",
    "File",
    "Model",
    "OutputChunk",
    "Pin",
    "PinChanged",
    "Prediction",
    "Provider",
    "Version",
    "WebhookDelivery",
    "Worker",
]
