"""The app, and what it listens to."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from chat.housekeeping import delete_discarded, delete_discarded_messages, store_missing_html
        from chat.news import store_html
        from chat.titles import make_missing_titles, note_end
        from predictions.signals import ends_missed, prediction_ended

        prediction_ended.connect(store_html)
        prediction_ended.connect(note_end)
        ends_missed.connect(store_missing_html)
        ends_missed.connect(make_missing_titles)
        ends_missed.connect(delete_discarded)
        ends_missed.connect(delete_discarded_messages)
