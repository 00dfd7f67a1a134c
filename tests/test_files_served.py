"""`GET /files/…`: who gets a file, in which parts, and that nothing in it or in its name does any harm."""

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import AsyncClient, Client
from django.urls import reverse

from chat.models import User
from config.asgi import application
from predictions import files
from predictions.database import query
from predictions.models import File, Model, Prediction

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
SIZE = len(PNG)
HTML = b"<!DOCTYPE html><title>Hi</title><script>alert(document.cookie)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(document.cookie)</script></svg>'
NAUGHTY = Path(__file__).parent / "data/xss/naughty-strings.json"
# RFC 6266: what a browser takes for one name and nothing else.
DISPOSITION = re.compile(r"""(inline|attachment); filename(="([^"\\]|\\.)+"|\*=utf-8''[\w.~%-]+)""", re.ASCII)


@pytest.fixture
def prediction(alice: User, model: Model) -> Prediction:
    return Prediction.objects.create(user=alice, model=model, input={}, status="succeeded")


@pytest.fixture
def image(prediction: Prediction) -> File:
    return keep(prediction, PNG, "out-0.png")


def keep(prediction: Prediction, content: bytes, name: str = "out-0.png") -> File:
    position = prediction.files.count()
    file = File(prediction=prediction, role=File.Role.OUTPUT, position=position, name=name)
    files.store(file, io.BytesIO(content))
    return file


def address_of(file: File) -> str:
    return reverse("file_detail", args=[file.pk])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def __getitem__(self, header: str) -> str:
        return self.headers[header]


async def get(user: User | None, file: File, path: str = "", **headers: str) -> Answer:
    return await ask("get", user, file, path, **headers)


async def ask(verb: str, user: User | None, file: File, path: str = "", **headers: str) -> Answer:
    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await getattr(client, verb)(address_of(file) + path, headers=sent)
    body = b"".join([piece async for piece in response]) if response.streaming else response.content
    response.close()
    return Answer(response.status_code, response.headers, body)


# ---------------------------------------------------------------- who may


async def test_alice_gets_her_file(alice: User, image: File) -> None:
    response = await get(alice, image)

    assert (response.status, response.body) == (200, PNG)
    assert response["Content-Type"] == "image/png"
    assert response["Content-Length"] == str(SIZE)
    assert response["Content-Disposition"] == 'inline; filename="out-0.png"'


async def test_a_stranger_gets_nothing_and_whoever_is_not_signed_in_is_led_to_the_login(
    charlie: User, image: File
) -> None:
    assert (await get(charlie, image)).status == 404
    assert (await get(charlie, image, "?download=1", if_none_match="*")).status == 404
    nobody = await get(None, image)
    assert (nobody.status, nobody["Location"].partition("?")[0]) == (302, reverse("login"))


async def test_a_file_that_was_lost_is_not_there(alice: User, prediction: Prediction, image: File) -> None:
    fields = {"prediction": prediction, "role": File.Role.OUTPUT, "position": 7, "name": "b.png"}
    lost = await query(File.objects.create, **fields, error=files.EXPIRED)
    await query(image.content.storage.delete, image.content.name)

    assert (await get(alice, lost)).status == 404
    assert (await get(alice, image)).status == 404


async def test_nothing_is_written_here(alice: User, image: File) -> None:
    for verb in ("post", "put", "delete"):
        assert (await ask(verb, alice, image)).status == 405


# ---------------------------------------------------------------- what a browser may do with it


async def test_a_browser_may_keep_it_and_can_do_nothing_else_with_it(alice: User, image: File) -> None:
    for response in (await get(alice, image), await get(alice, image, range="bytes=0-1")):
        policy = {part.strip() for part in response["Content-Security-Policy"].split(";")}
        assert {"default-src 'none'", "sandbox"} <= policy
        assert not any(part.startswith("script-src") for part in policy)
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response["Cache-Control"] == "private, no-cache"
        assert response["Accept-Ranges"] == "bytes"


async def test_what_a_browser_has_is_not_sent_again(alice: User, image: File) -> None:
    etag = (await get(alice, image))["ETag"]

    assert etag == f'"{image.sha256}"'
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await get(alice, image, if_none_match=known, range="bytes=0-1")
        assert (response.status, response["ETag"], response.body) == (304, etag, b"")
        assert response["Cache-Control"].startswith("private")
    assert (await get(alice, image, if_none_match='"other"')).status == 200


@pytest.mark.parametrize("content", [HTML, SVG, b"%PDF-1.7 /JavaScript", b"alert(1)", b""])
async def test_what_only_calls_itself_an_image_is_never_shown(
    content: bytes, alice: User, prediction: Prediction
) -> None:
    file = await query(keep, prediction, content, "x.png")

    response = await get(alice, file)

    assert response.body == content
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="x.png"'


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/pdf", "", "image/png; charset=x"])
async def test_a_type_of_the_database_that_is_not_known_is_not_believed(
    media_type: str, alice: User, image: File
) -> None:
    await query(File.objects.filter(pk=image.pk).update, media_type=media_type)

    response = await get(alice, image)

    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")


async def test_an_image_can_be_downloaded_under_its_name(alice: User, prediction: Prediction) -> None:
    file = await query(keep, prediction, PNG, "Grüße 👩‍🚀.png")

    response = await get(alice, file, "?download=1")

    assert response["Content-Disposition"].startswith("attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%20")


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a.png\r\nSet-Cookie: a=b", '"a.png Set-Cookie: a=b"'),
        ("../../etc/passwd", '"etc passwd"'),
        ("..\\..\\x.png", '"x.png"'),
        ('a"; filename="b.exe', r'"a\"; filename=\"b.exe"'),
        ("cod\u202egnp.exe", '"cod gnp.exe"'),
        ("..", '"file"'),
        ("\u200b\u0007", '"file"'),
    ],
)
async def test_a_name_is_a_name_and_nothing_more(name: str, sent: str, alice: User, image: File) -> None:
    await query(File.objects.filter(pk=image.pk).update, name=name)

    assert (await get(alice, image))["Content-Disposition"] == f"inline; filename={sent}"


async def test_no_name_breaks_the_header(alice: User, image: File) -> None:
    client = AsyncClient()
    await client.aforce_login(alice)
    for name in json.loads(NAUGHTY.read_text())["strings"]:
        await query(File.objects.filter(pk=image.pk).update, name=name[:120])
        response = await client.head(address_of(image))
        assert response.status_code == 200, name
        assert DISPOSITION.fullmatch(response["Content-Disposition"]), name


# ---------------------------------------------------------------- in parts


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=1000-1009", 1000, 1009),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=1000-999999999", 1000, SIZE - 1),
        ("bytes=-24", SIZE - 24, SIZE - 1),
        ("bytes=-999999999", 0, SIZE - 1),
        ("Bytes=3-5", 3, 5),
    ],
)
async def test_a_player_gets_the_part_it_asks_for(asked: str, first: int, last: int, alice: User, image: File) -> None:
    response = await get(alice, image, range=asked)

    assert (response.status, response.body) == (206, PNG[first : last + 1])
    assert response["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert response["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999-1000000", "bytes=-0"])
async def test_a_part_that_is_not_there_is_refused_with_the_size(asked: str, alice: User, image: File) -> None:
    response = await get(alice, image, range=asked)

    assert (response.status, response.body) == (416, b"")
    assert response["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=5-2", "bytes=-", "bytes=0-1,3-4", "bytes=0-1, 3-4", "bytes=a-b", "bytes=--1", "bytes=+1-2"),
        *("bytes", "0-1", "items=0-1", "bytes=\xb2-\xb3", "bytes=0-1;", "bytes=" + "9" * 5_000 + "-"),
    ],
)
async def test_several_parts_or_nonsense_get_the_whole_file(asked: str, alice: User, image: File) -> None:
    response = await get(alice, image, range=asked)

    assert (response.status, response.body) == (200, PNG)
    assert "Content-Range" not in response.headers


async def test_a_part_of_another_file_than_the_player_has_is_not_sent(alice: User, image: File) -> None:
    same = await get(alice, image, range="bytes=0-1", if_range=f'"{image.sha256}"')
    other = await get(alice, image, range="bytes=0-1", if_range='"other"')
    dated = await get(alice, image, range="bytes=0-1", if_range="Wed, 21 Oct 2026 07:28:00 GMT")

    assert [response.status for response in (same, other, dated)] == [206, 200, 200]
    assert [response.body for response in (same, other, dated)] == [PNG[:2], PNG, PNG]


async def test_an_empty_file_has_no_parts(alice: User, prediction: Prediction) -> None:
    file = await query(keep, prediction, b"")

    assert (await get(alice, file, range="bytes=0-")).status == 416
    assert (await get(alice, file)).body == b""


async def test_head_tells_of_the_file_without_sending_it(alice: User, image: File) -> None:
    response = await ask("head", alice, image, range="bytes=0-1")

    assert (response.status, response.body) == (200, b"")
    assert (response["Content-Length"], response["Content-Type"]) == (str(SIZE), "image/png")
    assert response["ETag"] == f'"{image.sha256}"'


# ---------------------------------------------------------------- in small pieces


class Reader:
    """A browser that has asked for a file, right at the application, as a server would put it."""

    def __init__(self, user: User, file: File) -> None:
        client = Client()
        client.force_login(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        scope = {
            "type": "http",
            "method": "GET",
            "path": address_of(file),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode())],
        }
        self._communicator = ApplicationCommunicator(application, scope)

    async def start(self) -> None:
        await self._communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
        assert (await self._communicator.receive_output(10))["status"] == 200

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._communicator.receive_output(10)
        return message

    async def leave(self) -> None:
        await self._communicator.send_input({"type": "http.disconnect"})
        await self._communicator.wait(10)


def is_open(file: File) -> bool:
    """Whether this process holds the file's content open."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # it was that of the listing itself
            continue
    return file.content.path in targets


async def test_a_large_file_is_read_in_small_pieces(alice: User, prediction: Prediction) -> None:
    content = PNG + os.urandom(1_000_000)
    file = await query(keep, prediction, content)
    client = AsyncClient()
    await client.aforce_login(alice)

    response = await client.get(address_of(file))
    pieces = [piece async for piece in response]
    response.close()

    assert b"".join(pieces) == content
    assert max(map(len, pieces)) == 65_536


async def test_a_file_is_closed_at_its_end(alice: User, prediction: Prediction) -> None:
    file = await query(keep, prediction, PNG)
    reader = await query(Reader, alice, file)
    await reader.start()
    while (await reader.next()).get("more_body"):
        pass
    await reader.leave()

    assert not is_open(file)


async def test_a_reader_who_goes_leaves_no_file_open(alice: User, prediction: Prediction) -> None:
    file = await query(keep, prediction, PNG + bytes(30_000_000))
    reader = await query(Reader, alice, file)
    await reader.start()
    assert (await reader.next())["more_body"]
    assert is_open(file)

    await reader.leave()

    assert not is_open(file)
