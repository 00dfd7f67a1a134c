"""The admin: the catalogue, the pins, how predictions went, and how many there may be."""

from predictions.admin import catalogue, comparisons, limits, pins, predictions

__all__ = ["catalogue", "comparisons", "limits", "pins", "predictions"]
