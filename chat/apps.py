"""The app, and what it listens to."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from chat.news import store_html
        from predictions.signals import prediction_ended

        prediction_ended.connect(store_html)
