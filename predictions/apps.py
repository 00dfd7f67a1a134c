"""The app's name."""

from django.apps import AppConfig


class PredictionsConfig(AppConfig):
    name = "predictions"
