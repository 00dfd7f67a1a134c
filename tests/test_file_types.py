"""What kind of file some bytes are: only what a browser may be shown has a name of its own."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.file_types import HEAD_LENGTH, SHOWN, UNKNOWN, media_type_of

NAUGHTY = Path(__file__).parent / "data/xss/naughty-strings.json"


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\xff\xd8\xff\xe1\x00\x10Exif", "image/jpeg"),
        (b"GIF87a\x01\x00", "image/gif"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "image/avif"),
        (b"ID3\x04\x00\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x00", "audio/mpeg"),
        (b"\xff\xf3\x90\x00", "audio/mpeg"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"fLaC\x00\x00\x00\x22", "audio/flac"),
        (b"OggS\x00\x02", "audio/ogg"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00", "audio/mp4"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "video/mp4"),
        (b"\x00\x00\x00\x20ftypmp42\x00\x00\x02\x00", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
    ],
)
def test_images_sounds_and_films_are_known_by_their_first_bytes(head: bytes, media_type: str) -> None:
    assert media_type_of(head.ljust(HEAD_LENGTH, b"\0")) == media_type
    assert media_type in SHOWN


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!DOCTYPE html><script>alert(1)</script>",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>',
        b"\xef\xbb\xbf<html>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"alert(1)",
        b"GIF88a",
        b"RIFF\x24\x00\x00\x00AVI LIST",
        b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x23\x42\x82\x88matroska",
        b"\x00\x00\x00\x20ftypheic",
    ],
)
def test_all_else_is_just_bytes(head: bytes) -> None:
    assert media_type_of(head) == UNKNOWN


def test_no_text_is_taken_for_anything_else() -> None:
    for text in json.loads(NAUGHTY.read_text())["strings"]:
        assert media_type_of(text.encode(errors="replace")[:HEAD_LENGTH]) == UNKNOWN, text


@given(st.binary(max_size=2 * HEAD_LENGTH))
def test_whatever_comes_gets_a_type_that_holds_no_script(head: bytes) -> None:
    assert media_type_of(head) in SHOWN | {UNKNOWN}


def test_no_type_that_could_hold_a_script_is_shown() -> None:
    assert {media_type.partition("/")[0] for media_type in SHOWN} == {"image", "audio", "video"}
    assert not any("xml" in media_type for media_type in SHOWN)
