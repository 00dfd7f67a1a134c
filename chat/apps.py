"""The app, and what it listens to."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from chat.housekeeping import delete_discarded, delete_discarded_messages, store_missing_html
        from chat.news import store_html
        from predictions.signals import ends_missed, prediction_ended

        prediction_ended.connect(store_html)
        ends_missed.connect(store_missing_html)
        ends_missed.connect(delete_discarded)
        ends_missed.connect(delete_discarded_messages)
