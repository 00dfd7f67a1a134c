"""Which inputs of a version take the files that people give with a question. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from predictions.families import Family
from predictions.file_types import UNKNOWN
from predictions.schema import Input, InputKind

MOST = 10  # files with one question, whatever a model takes
IMAGE, SOUND, FILM, FILE = "image", "audio", "video", "file"
NOUNS = {IMAGE: "image", SOUND: "sound", FILM: "video", FILE: "file"}
HINTS = {  # in the names of inputs
    IMAGE: ("image", "img", "photo", "picture", "frame", "face", "mask"),
    SOUND: ("audio", "voice", "speech", "sound", "song", "speaker", "wav", "mp3"),
    FILM: ("video", "clip", "movie"),
}
# What a file may also count as, where nothing takes it as what it is: sounds are often kept in a film's container.
ALSO = {IMAGE: (FILE,), SOUND: (FILE,), FILM: (FILE, SOUND), FILE: ()}
# What names claim, for kinds that first bytes do not tell here.
NAMES = {
    IMAGE: ("bmp", "heic", "heif", "jxl", "svg", "tif", "tiff"),
    SOUND: ("aac", "aif", "aiff", "amr", "m4a", "mp3", "opus", "wma"),
    FILM: ("3gp", "avi", "m4v", "mkv", "mpeg", "mpg", "wmv"),
}
NOT_FOR_PEOPLE = ("weights", "lora")  # in the names of inputs that take parts of models


class NotTaken(Exception):
    """The model does not take these files; the message is for people."""


class Given(Protocol):
    """A file that is to be an input."""

    @property
    def name(self) -> str: ...

    @property
    def media_type(self) -> str: ...

    @property
    def reference(self) -> str: ...


@dataclass(frozen=True)
class Room:
    """What one input takes."""

    input: str
    kind: str
    most: int
    is_list: bool

    def __str__(self) -> str:
        noun = NOUNS[self.kind]
        if self.most == 1:
            return f"one {noun}"
        return f"up to {self.most} {noun}s"


@dataclass(frozen=True)
class Rooms:
    """What a version takes of files: at most one input for each kind."""

    all: tuple[Room, ...]

    @cached_property
    def by_kind(self) -> dict[str, Room]:
        """The input that takes a file of each kind; those that none takes are left out."""
        own = {room.kind: room for room in self.all}
        found = {kind: next((own[each] for each in (kind, *ALSO[kind]) if each in own), None) for kind in NOUNS}
        return {kind: room for kind, room in found.items() if room}

    @property
    def accept(self) -> str:
        """The `accept` attribute of a picker: "" means that it may be any file."""
        return "" if FILE in self.by_kind else ",".join(f"{kind}/*" for kind in self.by_kind)

    def as_json(self) -> dict[str, list[str | int]]:
        """For each kind the input that takes it, and how many that takes."""
        return {kind: [room.input, room.most] for kind, room in self.by_kind.items()}

    def __str__(self) -> str:
        """`one image and up to 4 sounds`; `no files`."""
        *others, last = [str(room) for room in self.all] or ["no files"]
        return f"{', '.join(others)} and {last}" if others else last

    def place(self, files: Sequence[Given], model: str) -> dict[str, str | list[str]]:
        """Return the inputs that hold `files`, by name; raise NotTaken in words about `model`."""
        if len(files) > MOST:
            raise NotTaken(f"There are {len(files)} files here, and one message takes {MOST}. Remove some.")
        held: dict[Room, list[str]] = {}
        for file in files:
            room = self.by_kind.get(kind_of(file.media_type, file.name))
            if room is None:
                raise NotTaken(f"{model} takes {self}, so it cannot take “{file.name}”. {self._way_out}")
            held.setdefault(room, []).append(file.reference)
        for room, references in held.items():
            if len(references) > room.most:
                raise NotTaken(f"{model} takes {self}, and there are {len(references)} here. {self._way_out}")
        return {room.input: references if room.is_list else references[0] for room, references in held.items()}

    @property
    def _way_out(self) -> str:
        return "Remove what it does not take, or choose another model."


def rooms_of(inputs: Mapping[str, Input], family: Family) -> Rooms:
    """Say what a version takes of files that people give: of each kind, the likeliest input."""
    found: dict[str, Room] = {}
    for kind, asked in _candidates(inputs, family):
        if kind not in found and asked.name not in {room.input for room in found.values()}:
            found[kind] = _room(kind, asked)
    return Rooms(tuple(found[kind] for kind in NOUNS if kind in found))


def kind_of(media_type: str, name: str) -> str:
    """Say what a file is, by its first bytes; where these tell nothing, by what its name claims."""
    kind = media_type.partition("/")[0]
    if kind in NAMES:
        return kind
    ending = name.rpartition(".")[2].lower() if media_type in {"", UNKNOWN} else ""
    return next((each for each, endings in NAMES.items() if ending in endings), FILE)


def takes_files(asked: Input) -> bool:
    """Whether it is the composer’s files that an input holds, and not something to be set."""
    return asked.kind in {InputKind.FILE, InputKind.FILES}


def _candidates(inputs: Mapping[str, Input], family: Family) -> Iterator[tuple[str, Input]]:
    for kind, role in ((IMAGE, family.images), (SOUND, family.audio)):
        if role and role in inputs:
            yield kind, inputs[role]
    for name, asked in inputs.items():
        if takes_files(asked) and not _has_any(name.lower(), NOT_FOR_PEOPLE):
            yield _hinted(name), asked


def _hinted(name: str) -> str:
    return next((kind for kind, hints in HINTS.items() if _has_any(name.lower(), hints)), FILE)


def _has_any(name: str, words: Iterable[str]) -> bool:
    return any(word in name for word in words)


def _room(kind: str, asked: Input) -> Room:
    is_list = asked.kind in {InputKind.FILES, InputKind.LIST}
    most = min(asked.max_items or MOST, MOST) if is_list else 1
    return Room(asked.name, kind, most, is_list)
