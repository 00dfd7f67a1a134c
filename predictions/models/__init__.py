"""The catalogue (`Provider Model Version Pin`) and the predictions (`Prediction OutputChunk Worker`)."""

from predictions.models.catalogue import Model, Pin, Provider, Version
from predictions.models.prediction import OutputChunk, Prediction, Worker

__all__ = ["Model", "OutputChunk", "Pin", "Prediction", "Provider", "Version", "Worker"]
