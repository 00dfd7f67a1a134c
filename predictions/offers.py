"""What the picker tells of each model: what the version that answers takes and gives."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from predictions import examples
from predictions.attachments import FILE, FILM, IMAGE, SOUND, Rooms, rooms_of
from predictions.models import Model, Version
from predictions.parameter_fields import parameters_of
from predictions.schema import OutputKind
from predictions.standing import Standing

TEXT, DATA = "text", "data"  # kinds of what a model gives, beside those of files
GIVES = {TEXT: "text", DATA: "data", IMAGE: "an image", SOUND: "sound", FILM: "a video", FILE: "a file"}
GIVES_MANY = {**GIVES, IMAGE: "images", FILM: "videos", FILE: "files"}
LONGEST_EXAMPLE = 160  # characters of a question that people are offered to begin with
NO_ROOMS = Rooms(())
REMEMBERED = 500  # schemas that were read; they are long, and every page asks


@dataclass(frozen=True)
class Offer:
    """A model as people choose it."""

    model: Model
    rooms: Rooms = NO_ROOMS
    takes_text: bool = True
    kind: str = TEXT  # of what it gives
    gives: str = GIVES[TEXT]
    example: str = ""  # a question that its host shows
    has_parameters: bool = False

    @property
    def takes(self) -> str:
        """`text and one image`."""
        parts = [*(["text"] if self.takes_text else []), *map(str, self.rooms.all)]
        *others, last = parts or ["nothing"]
        return f"{', '.join(others)} and {last}" if others else last


_described: dict[str, Version] = {}  # by the digest of the schema: one that has it, and has read it


def offers_of(standing: Mapping[Model, Standing]) -> list[Offer]:
    """Describe models by the versions that answer here; one query for schemas that were not read before."""
    described = _with_schemas([here.version for here in standing.values() if here.version])
    return [
        offer_of(model, described.get(here.version.pk) if here.version else None) for model, here in standing.items()
    ]


def offer_of(model: Model, version: Version | None) -> Offer:
    """Describe `model` as `version` of it answers."""
    if version is None:
        return Offer(model)
    family = model.family_of(version)
    kind = _kind_of(model, version)
    words = GIVES_MANY if version.output_kind == OutputKind.FILES else GIVES
    return Offer(
        model,
        rooms_of(version.inputs, family),
        takes_text=bool(family.prompt or family.messages),
        kind=kind,
        gives=words[kind],
        example=examples.asked_in(model.facts, family.prompt, longest=LONGEST_EXAMPLE),
        has_parameters=bool(parameters_of(version.inputs, family)),
    )


def _kind_of(model: Model, version: Version) -> str:
    if version.output_kind in {OutputKind.FILE, OutputKind.FILES}:
        return examples.made_in(model.facts)
    return DATA if version.output_kind == OutputKind.JSON else TEXT


def _with_schemas(versions: Collection[Version]) -> dict[int, Version]:
    """Return versions with the schemas of `versions`, by the keys of these."""
    if len(_described) > REMEMBERED:
        _described.clear()
    unread = [version.pk for version in versions if version.schema_hash not in _described]
    read = Version.objects.in_bulk(unread) if unread else {}
    _described.update({version.schema_hash: version for version in read.values() if version.schema_hash})
    found = {version.pk: read.get(version.pk) or _described.get(version.schema_hash) for version in versions}
    return {key: version for key, version in found.items() if version}
