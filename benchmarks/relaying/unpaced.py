"""An app that lifts the pace of creates and looks: hundreds of answers are to begin at once."""

from django.apps import AppConfig

CAPACITY = 2_000  # predictions at once in one worker


class Unpaced(AppConfig):
    name = "benchmarks.relaying"

    def ready(self) -> None:
        from predictions import worker  # noqa: PLC0415 - models exist once the apps are ready
        from predictions.models import condition  # noqa: PLC0415

        condition.CREATES.clear()
        condition.READS.clear()
        assert worker.CAPACITY < CAPACITY
        worker.CAPACITY = CAPACITY
