"""The admin: the catalogue, the pins, and how predictions went."""

from predictions.admin import catalogue, pins, predictions

__all__ = ["catalogue", "pins", "predictions"]
