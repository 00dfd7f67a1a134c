"""What the picker tells of each model: what the version that answers takes and gives."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from predictions.attachments import Rooms, rooms_of
from predictions.models import Model, Version
from predictions.parameter_fields import parameters_of
from predictions.schema import OutputKind
from predictions.standing import Standing

GIVES = {OutputKind.FILE: "a file", OutputKind.FILES: "files", OutputKind.JSON: "data"}  # all else gives text
NO_ROOMS = Rooms(())
REMEMBERED = 500  # schemas that were read; they are long, and every page asks


@dataclass(frozen=True)
class Offer:
    """A model as people choose it."""

    model: Model
    rooms: Rooms = NO_ROOMS
    takes_text: bool = True
    gives: str = "text"
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
    return Offer(
        model,
        rooms_of(version.inputs, family),
        takes_text=bool(family.prompt or family.messages),
        gives=GIVES.get(version.output_kind, "text"),
        has_parameters=bool(parameters_of(version.inputs, family)),
    )


def _with_schemas(versions: Collection[Version]) -> dict[int, Version]:
    """Return versions with the schemas of `versions`, by the keys of these."""
    if len(_described) > REMEMBERED:
        _described.clear()
    unread = [version.pk for version in versions if version.schema_hash not in _described]
    read = Version.objects.in_bulk(unread) if unread else {}
    _described.update({version.schema_hash: version for version in read.values() if version.schema_hash})
    found = {version.pk: read.get(version.pk) or _described.get(version.schema_hash) for version in versions}
    return {key: version for key, version in found.items() if version}
