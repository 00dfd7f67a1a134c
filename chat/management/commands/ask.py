"""Ask a model from the command line, on the very path of the page: row, worker, journal, follow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.prompts import Turn, build_input
from predictions import pins
from predictions.bus import bus
from predictions.database import query
from predictions.events import SUCCEEDED
from predictions.follow import follow
from predictions.models import Model, Prediction
from predictions.models import Worker as WorkerRow
from predictions.worker import Worker


class Command(BaseCommand):
    help = "Ask a model a question and print the answer as it comes: the smoke test of an installation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("question")
        parser.add_argument(
            "--model", metavar="NAME", help="a model's name or slug; the first of the picker if left out"
        )

    def handle(self, *, question: str, model: str | None, **options: Any) -> None:
        try:
            asyncio.run(self._ask(question, model))
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None

    async def _ask(self, question: str, name: str | None) -> None:
        async with a_worker():
            model = await wait_for_model(name)
            prediction = await query(create, model, question)
            try:
                await self._print(prediction)
            except asyncio.CancelledError:
                await query(prediction.request_cancel)
                raise
        await query(prediction.refresh_from_db)
        if prediction.status != SUCCEEDED:
            raise CommandError(f"The prediction {prediction.status}: {prediction.error}")

    async def _print(self, prediction: Prediction) -> None:
        edition = 0
        async for frame in follow(prediction.pk):
            if frame.edition != edition:
                self.stdout.write("\n[The answer was replaced:]")
                edition = frame.edition
            self.stdout.write(frame.text, ending="")
            self.stdout.flush()
        self.stdout.write("")


@asynccontextmanager
async def a_worker() -> AsyncIterator[None]:
    """Use the installation's worker; run one for as long as it takes where there is none."""
    if await query(WorkerRow.objects.alive().exists):
        yield
        return
    worker = Worker()
    run = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await run


async def wait_for_model(name: str | None, patience: float = 30.0) -> Model:
    """Find the model; one whose host has not described it yet is waited for, `patience` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        model = await query(find_model, name)
        if model is not None and await query(pins.version_for, model) is not None:
            return model
        if model is None or loop.time() > end:
            raise CommandError(await query(explain_missing, name))
        await asyncio.sleep(0.2)


def find_model(name: str | None) -> Model | None:
    offered = Model.objects.filter(enabled=True, provider__enabled=True).select_related("provider")
    if name is None:
        return offered.first()
    return offered.filter(slug=name).first() or offered.filter(name__iexact=name).first()


def explain_missing(name: str | None) -> str:
    names = ", ".join(Model.objects.available().values_list("slug", flat=True))
    if not names:
        return "No model is available. `manage.py doctor` says why."
    return f"There is no model {name!r} that can be asked now. There are: {names}."


def create(model: Model, question: str) -> Prediction:
    version = pins.version_for(model)
    assert version is not None  # noqa: S101 - it was waited for
    prediction = Prediction.objects.create(
        model=model,
        version=version,
        input=build_input(
            version.inputs,
            [Turn("user", question)],
            system_prompt=model.system_prompt,
            default_input=model.default_input,
        ),
    )
    bus.publish(("work", {}))
    return prediction
