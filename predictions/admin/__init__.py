"""The admin: the catalogue, the pins, and how predictions went."""

from predictions.admin import catalogue, comparisons, pins, predictions

__all__ = ["catalogue", "comparisons", "pins", "predictions"]
