"""What a model put out, taken apart: its text, and the addresses of its files. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from predictions.events import clean
from predictions.schema import OutputKind

MOST_FILES = 100  # of one output
DEEPEST = 100  # levels of an output that are looked through
TOO_DEEP = "…"
NAME_LENGTH, ENDING_LENGTH = 100, 20  # characters
TEXT_KINDS = frozenset({OutputKind.TEXT, OutputKind.TEXT_STREAM, OutputKind.TEXTS})
FILE_KINDS = frozenset({OutputKind.FILE, OutputKind.FILES})
DATA_URI = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*(?P<base64>;base64)?,")


def read_output(
    output: Any, kind: OutputKind, *, separator: str, is_file: Callable[[str], bool]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the text of a JSON output (None while there is none) and the addresses of its files, in order.

    Whether a text is the address of a file is asked of `is_file`; data URIs always are, and where the schema promises
    files, so is every web address. In a JSON output the files are called by their names.
    """
    if output is None or kind in TEXT_KINDS:
        return text_of(output, separator), ()
    reading = _Reading(lambda text: is_data_uri(text) or is_file(text) or (kind in FILE_KINDS and _is_address(text)))
    rest = reading.take(output)
    if reading.saw_files_only:
        return "", tuple(reading.files)
    return text_of(rest, separator), tuple(reading.files)


class _Reading:
    """Collects the files of an output while it puts their names in their places."""

    def __init__(self, is_file: Callable[[str], bool]) -> None:
        self.files: list[str] = []
        self.saw_files_only = True
        self._is_file = is_file

    def take(self, value: Any, depth: int = 0) -> Any:
        match value:
            case str() if self._is_file(value):
                if len(self.files) < MOST_FILES:
                    self.files.append(value)
                else:
                    self.saw_files_only = False
                return name_of(value, len(self.files) - 1)
            case list() | dict() if depth > DEEPEST:
                self.saw_files_only = False
                return TOO_DEEP
            case list():
                self.saw_files_only &= depth == 0
                return [self.take(part, depth + 1) for part in value]
            case dict():
                self.saw_files_only = False
                return {name: self.take(part, depth + 1) for name, part in value.items()}
            case _:
                self.saw_files_only = False
                return value


def text_of(output: Any, separator: str = "") -> str | None:
    """Tell a JSON output as text: lists of texts are joined, other JSON is written out; None is None."""
    match output:
        case None:
            return None
        case str():
            return clean(output)
        case list() if all(isinstance(part, str) for part in output):
            return clean(separator.join(output))
        case _:
            return clean(json.dumps(output, indent=2, ensure_ascii=False))


def name_of(address: str, position: int) -> str:
    """Name the file at an address: the last part of its path, else by its place and kind."""
    if match := DATA_URI.match(address):
        ending = (match["media_type"] or "application/octet-stream").partition("/")[2].partition("+")[0]
        return f"output-{position + 1}.{'bin' if ending == 'octet-stream' else ending[:ENDING_LENGTH]}"
    last = unquote(re.split(r"[?#]", address)[0].rpartition("/")[2])
    name = re.sub(r"[^\w.()-]+", "-", clean(last))[-NAME_LENGTH:].strip(".-")
    return name or f"output-{position + 1}"


def is_data_uri(text: str) -> bool:
    return DATA_URI.match(text) is not None


def decode_data_uri(address: str) -> bytes:
    """Return the content of a data URI; raise ValueError if it is damaged."""
    match = DATA_URI.match(address)
    if match is None:
        raise ValueError("this is not a data URI")
    data = address[match.end() :]
    if not match["base64"]:
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(unquote(data), validate=True)
    except binascii.Error as error:
        raise ValueError("the base64 of this data URI is damaged") from error


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://")) and not any(blank in text for blank in " \n\t")
