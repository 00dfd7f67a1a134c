"""What a model put out, taken apart: texts stay texts, files are found, names are harmless."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from predictions.outputs import MOST_FILES, NAME_LENGTH, decode_data_uri, is_data_uri, name_of, read_output
from predictions.providers.http import HostClient
from predictions.schema import OutputKind, output_of, separator_of

PNG = b"\x89PNG\r\n\x1a\n\x00picture%,;"
PICTURE = "https://replicate.delivery/pbxt/gDoc64M9/out-0.png"
OTHER = "https://pbxt.replicate.delivery/YXbcL/out-1.png"
ELSEWHERE = "https://example.com/out-2.png"
DATA_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PERCENT_ENCODED = f"data:image/png,{quote_from_bytes(PNG)}"

TEXT = {"type": "string"}
FILE = {"type": "string", "format": "uri"}
PARTS = {"type": "array", "items": TEXT, "x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"}
SEPARATE = {"type": "array", "items": TEXT, "x-cog-array-type": "iterator"}
FILES = {"type": "array", "items": FILE}
OBJECT = {"type": "object", "properties": {"mask": FILE}}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from([PICTURE, OTHER, ELSEWHERE, DATA_URI, PERCENT_ENCODED, f"{PICTURE}\x00\ud800", "data:,"]),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec=None), max_size=5), inner, max_size=3)
    ),
    max_leaves=20,
)

# The one that decides in life which addresses may be files; it is never connected here.
may_hold_files = HostClient("https://api.replicate.com/v1", file_hosts=["replicate.delivery"]).may_hold_files


def read(output: Any, schema: dict[str, Any] | None) -> tuple[str | None, tuple[str, ...]]:
    """Read `output` as of a version that describes it with `schema`."""
    document = {"components": {"schemas": {"Output": schema}}} if schema else {}
    return read_output(output, output_of(document), separator=separator_of(document), is_file=may_hold_files)


# ---------------------------------------------------------------- every kind of output


@pytest.mark.parametrize(
    ("schema", "output", "text", "files"),
    [
        (TEXT, "Paris.", "Paris.", ()),
        (FILE, PICTURE, "", (PICTURE,)),
        (PARTS, ["Pa", "ris", "", "."], "Paris.", ()),
        (SEPARATE, ["Paris", "Rome"], "Paris\nRome", ()),
        (FILES, [PICTURE, OTHER], "", (PICTURE, OTHER)),
        (OBJECT, {"mask": PICTURE, "score": 0.5}, '{\n  "mask": "out-0.png",\n  "score": 0.5\n}', (PICTURE,)),
        ({"$ref": "#/components/schemas/Answer"}, {"city": "Paris"}, '{\n  "city": "Paris"\n}', ()),
        ({"type": "integer"}, 7, "7", ()),
        ({"type": "boolean"}, False, "false", ()),
        (None, "Paris.", "Paris.", ()),
        (None, ["Pa", "ris."], "Paris.", ()),
        (None, [PICTURE, OTHER], "", (PICTURE, OTHER)),
        (None, PICTURE, "", (PICTURE,)),
    ],
    ids=[
        *(
            "one text",
            "one file",
            "parts of a text",
            "separate texts",
            "files",
            "object",
            "reference",
            "number",
            "truth",
        ),
        *("undescribed text", "undescribed parts", "undescribed files", "undescribed file"),
    ],
)
def test_each_kind_of_output_is_read(
    schema: dict[str, Any] | None, output: Any, text: str, files: tuple[str, ...]
) -> None:
    assert read(output, schema) == (text, files)


@pytest.mark.parametrize("schema", [TEXT, FILE, PARTS, SEPARATE, FILES, OBJECT, None])
def test_no_output_is_no_text(schema: dict[str, Any] | None) -> None:
    assert read(None, schema) == (None, ())


@pytest.mark.parametrize("schema", [FILE, FILES, None])
def test_an_output_of_nothing_is_an_empty_text(schema: dict[str, Any] | None) -> None:
    assert read([], schema) == ("", ())
    assert read("", schema) == ("", ())


def test_a_model_that_puts_out_something_other_than_it_says_is_written_out() -> None:
    assert read({"city": "Paris"}, TEXT) == ('{\n  "city": "Paris"\n}', ())
    assert read(["Pa", 7], PARTS) == ('[\n  "Pa",\n  7\n]', ())
    assert read("no picture today", FILE) == ("no picture today", ())


# ---------------------------------------------------------------- what is a file, and what a text


@pytest.mark.parametrize("schema", [TEXT, PARTS, SEPARATE])
@pytest.mark.parametrize("said", [PICTURE, DATA_URI, "data:,x", f"Look: {PICTURE}"])
def test_a_text_that_mentions_an_address_is_a_text(schema: dict[str, Any], said: str) -> None:
    assert read(said, schema) == (said, ())
    assert read([said], schema) == (said, ())


@pytest.mark.parametrize("schema", [None, OBJECT, FILES])
@pytest.mark.parametrize(
    "said", [f"See {PICTURE} and {DATA_URI}", f"{ELSEWHERE} is the one", f"{ELSEWHERE}\n{ELSEWHERE}"]
)
def test_an_address_within_a_sentence_is_no_file(schema: dict[str, Any] | None, said: str) -> None:
    assert read([said], schema) == (said, ())


def test_an_address_elsewhere_is_a_file_only_where_files_are_promised() -> None:
    assert read([ELSEWHERE], FILES) == ("", (ELSEWHERE,))
    assert read(ELSEWHERE, FILE) == ("", (ELSEWHERE,))
    assert read([ELSEWHERE], None) == (ELSEWHERE, ())
    assert read({"source": ELSEWHERE}, OBJECT) == (f'{{\n  "source": "{ELSEWHERE}"\n}}', ())


@pytest.mark.parametrize(
    "address", ["ftp://replicate.delivery/a", "javascript:alert(1)", "file:///etc/passwd", "//a/b"]
)
def test_only_web_addresses_are_files(address: str) -> None:
    assert read([address], FILES) == (address, ())


@pytest.mark.parametrize("schema", [FILE, FILES, OBJECT, None])
@pytest.mark.parametrize("address", [DATA_URI, PERCENT_ENCODED])
def test_a_file_within_the_output_is_a_file(schema: dict[str, Any] | None, address: str) -> None:
    assert read([address], schema) == ("", (address,))


def test_files_deep_in_an_output_are_found_in_order_and_named_in_their_places() -> None:
    output = {"masks": [{"at": OTHER}, [DATA_URI]], "scores": [0.5], "again": OTHER, "note": "done"}

    text, files = read(output, OBJECT)

    assert files == (OTHER, DATA_URI, OTHER)
    assert json.loads(text or "") == {
        "masks": [{"at": "out-1.png"}, ["output-2.png"]],
        "scores": [0.5],
        "again": "out-1.png",
        "note": "done",
    }


def test_a_text_beside_files_is_kept() -> None:
    assert read(["Here: ", PICTURE], None) == ("Here: out-0.png", (PICTURE,))


def test_the_same_file_twice_is_two_files() -> None:
    assert read([PICTURE, PICTURE], FILES) == ("", (PICTURE, PICTURE))


def test_no_more_than_a_hundred_files_are_taken() -> None:
    addresses = [f"https://replicate.delivery/{i}.png" for i in range(MOST_FILES + 5)]

    assert read(addresses[:MOST_FILES], FILES) == ("", tuple(addresses[:MOST_FILES]))
    text, files = read(addresses, FILES)
    assert files == tuple(addresses[:MOST_FILES])
    assert f"{MOST_FILES}.png" in (text or "")  # what is not copied is not hidden either
    assert addresses[0] not in (text or "")


# ---------------------------------------------------------------- files within the output


@pytest.mark.parametrize(
    "address",
    [
        DATA_URI,
        PERCENT_ENCODED,
        DATA_URI.replace("image/png", ""),
        DATA_URI.replace("image/png", "image/svg+xml;charset=utf-8"),
        DATA_URI.replace("=", "%3D"),
    ],
    ids=["base64", "percent", "no type", "parameter", "percent in base64"],
)
def test_the_content_of_a_data_uri_is_what_was_put_in(address: str) -> None:
    assert is_data_uri(address)
    assert decode_data_uri(address) == PNG


@given(st.binary(max_size=200), st.booleans())
def test_any_content_comes_through_a_data_uri(content: bytes, is_base64: bool) -> None:
    data = ";base64," + base64.b64encode(content).decode() if is_base64 else "," + quote_from_bytes(content)

    assert decode_data_uri(f"data:application/octet-stream{data}") == content


@pytest.mark.parametrize(
    "address",
    [
        DATA_URI[:-1],
        DATA_URI[:40] + "…" + DATA_URI[41:],
        DATA_URI[:40] + "\ud800" + DATA_URI[41:],
        "data:image/png;base64,****",
        "data:image/png;base64,A",
        "data:text/plain,\ud800",
        "data:image/png;base64",
        "data:nonsense,abc",
        PICTURE,
        "",
    ],
)
def test_a_damaged_data_uri_is_told_as_damaged(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_data_uri(address)


@given(st.text(st.characters(codec=None), max_size=60), st.sampled_from(["data:", "data:a/b;base64,", "data:a/b,", ""]))
def test_any_text_is_a_data_uri_or_damaged(rest: str, beginning: str) -> None:
    try:
        content = decode_data_uri(beginning + rest)
    except ValueError:
        return

    assert isinstance(content, bytes)
    assert is_data_uri(beginning + rest)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (PICTURE, "out-0.png"),
        (f"{PICTURE}?signature=abc/def#top", "out-0.png"),
        ("https://replicate.delivery/a/My%20cat%20(1).png", "My-cat-(1).png"),
        ("https://replicate.delivery/a/Kätzchen.png", "Kätzchen.png"),
        ("https://replicate.delivery/a/..%2F..%2Fetc%2Fpasswd", "etc-passwd"),
        ("https://replicate.delivery/a/%5C%5Chost%5Cshare.exe", "host-share.exe"),
        ("https://replicate.delivery/a/.htaccess", "htaccess"),
        ("https://replicate.delivery/a/a%00b.png", "a-b.png"),
        ("https://replicate.delivery/a/a%0d%0aSet-Cookie:%20x", "a-Set-Cookie-x"),
        ("https://replicate.delivery/a/%E2%80%AEgnp.exe", "gnp.exe"),
        ("https://replicate.delivery/a/<img src=x onerror=alert(1)>.png", "img-src-x-onerror-alert(1)-.png"),
        ("https://replicate.delivery/a/...", "output-4"),
        ("https://replicate.delivery/a/", "output-4"),
        ("https://replicate.delivery/", "output-4"),
        (DATA_URI, "output-4.png"),
        ("data:image/svg+xml;base64,", "output-4.svg"),
        ("data:application/octet-stream,", "output-4.bin"),
        ("data:,hello", "output-4.bin"),
    ],
)
def test_the_name_of_a_file(address: str, name: str) -> None:
    assert name_of(address, 3) == name


@pytest.mark.parametrize(
    "address",
    [
        f"https://replicate.delivery/{'x' * 5_000}.png",
        f"https://replicate.delivery/{'x' * 50}.{'y' * (NAME_LENGTH - 1)}",
        f"https://replicate.delivery/{'x' * 50}-{'y' * (NAME_LENGTH - 1)}",
        f"data:image/{'x' * 5_000};base64,",
    ],
    ids=["long", "dot at the cut", "dash at the cut", "long type"],
)
def test_a_long_name_is_cut_and_keeps_its_ending(address: str) -> None:
    name = name_of(address, 0)

    assert len(name) <= NAME_LENGTH
    assert name[0] not in ".-"
    assert name[-3:] in {"png", "yyy", "xxx"}


@given(st.text(st.characters(codec=None)), st.sampled_from(["https://a/", "https://a/x.", "data:image/", "data:,", ""]))
@example("%2e%2e%2f%2e%2e%2f", "https://a/")
def test_any_name_is_harmless(rest: str, beginning: str) -> None:
    name = name_of(beginning + rest, 0)

    assert re.fullmatch(r"[\w.()+-]+", name)
    assert len(name) <= NAME_LENGTH
    assert name[0] not in ".-"
    name.encode()


# ---------------------------------------------------------------- whatever a model puts out


@given(json_values, st.sampled_from(OutputKind), st.sampled_from(["", "\n"]))
def test_whatever_a_model_puts_out_can_be_read_and_stored(output: Any, kind: OutputKind, separator: str) -> None:
    text, files = read_output(output, kind, separator=separator, is_file=may_hold_files)

    assert (text is None) == (output is None)
    assert "\x00" not in (text or "")
    (text or "").encode()
    assert all(isinstance(file, str) for file in files)
    assert len(files) <= MOST_FILES


@pytest.mark.parametrize("kind", OutputKind)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_an_output_as_deep_as_json_is_read_goes_through(kind: OutputKind, opening: str, closing: str) -> None:
    output = json.loads(opening * 800 + "1" + closing * 800)

    text, files = read_output(output, kind, separator="", is_file=may_hold_files)

    assert text
    assert files == ()
