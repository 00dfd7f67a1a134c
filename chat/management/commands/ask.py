"""Ask a model from the command line, on the very path of the page: row, worker, journal, follow."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from predictions import files, pins
from predictions.bus import bus
from predictions.database import query
from predictions.events import SUCCEEDED
from predictions.files import FileLost
from predictions.follow import follow
from predictions.models import File, Model, Prediction
from predictions.models import Worker as WorkerRow
from predictions.prompts import Turn
from predictions.worker import Worker


class Command(BaseCommand):
    help = "Ask a model a question and print the answer as it comes: the smoke test of an installation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("question")
        parser.add_argument(
            "--model", metavar="NAME", help="a model's name or slug; the first of the picker if left out"
        )
        parser.add_argument(
            "--input", metavar="NAME=VALUE", action="append", default=[], help="another input: a text, or JSON"
        )
        parser.add_argument(
            "--file", metavar="NAME=PATH", action="append", default=[], help="a file of this machine as an input"
        )
        parser.add_argument("--save", metavar="FOLDER", type=Path, help="where to put the files of the answer")

    def handle(self, *, question: str, model: str | None, **options: Any) -> None:
        extras = Extras(
            values={name: read_value(value) for name, value in map(split, options["input"])},
            paths={name: Path(path) for name, path in map(split, options["file"])},
        )
        try:
            asyncio.run(self._ask(question, model, extras, options["save"]))
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None

    async def _ask(self, question: str, name: str | None, extras: "Extras", folder: Path | None) -> None:
        async with a_worker():
            model = await wait_for_model(name)
            prediction = await query(create, model, question, extras)
            try:
                await self._print(prediction)
            except asyncio.CancelledError:
                await query(prediction.request_cancel)
                raise
        await query(prediction.refresh_from_db)
        if prediction.status != SUCCEEDED:
            raise CommandError(f"The prediction {prediction.status}: {prediction.error}")
        await query(self._tell_files, prediction, folder)

    def _tell_files(self, prediction: Prediction, folder: Path | None) -> None:
        for file in prediction.files.outputs():
            if file.error:
                self.stdout.write(f"{file.name}: {file.error}")
            elif folder is None:
                self.stdout.write(f"{file.name}: {file.size:,} bytes, {file.media_type} (--save FOLDER copies it)")
            else:
                self.stdout.write(f"{file.name}: {save(file, folder)}")

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


@dataclass(frozen=True, slots=True)
class Extras:
    """Inputs beside the question."""

    values: dict[str, Any]  # JSON
    paths: dict[str, Path]


def split(argument: str) -> tuple[str, str]:
    name, is_there, value = argument.partition("=")
    if not is_there:
        raise CommandError(f"{argument!r} is not understood. Write NAME=VALUE.")
    return name, value


def read_value(text: str) -> Any:
    """Read JSON; what is none is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@transaction.atomic
def create(model: Model, question: str, extras: Extras) -> Prediction:
    """Write the question down; a worker sees it when its files are there too."""
    choice = pins.choose(model)
    version = choice.version
    for name in (*extras.values, *extras.paths):
        if version.inputs and name not in version.inputs:
            raise CommandError(f"{model} takes no {name!r}. It takes {', '.join(version.inputs)}.")
    given = choice.input_for([Turn("user", question)], **extras.values)
    try:
        prediction = choice.ask(given, to_come=extras.paths)
    except pins.NothingAnswers as error:
        raise CommandError(str(error)) from error
    for position, (name, path) in enumerate(extras.paths.items()):
        prediction.input[name] = give(prediction, position, path).reference
    prediction.save(update_fields=["input"])
    transaction.on_commit(lambda: bus.publish(("work", {})))
    return prediction


def give(prediction: Prediction, position: int, path: Path) -> File:
    try:
        with path.open("rb") as content:
            return files.give(prediction, position, path.name, content)
    except (OSError, FileLost) as error:
        raise CommandError(f"{path}: {error}") from error


def save(file: File, folder: Path) -> Path:
    """Copy a file of the answer into `folder`, under a name that is free there."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    if target.exists():
        target = folder / f"{file.id.hex[:8]}-{file.name}"
    with file.content.open() as content, target.open("wb") as copy:
        shutil.copyfileobj(content, copy)
    return target
