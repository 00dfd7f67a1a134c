"""The fake's files: what is uploaded for a model, and what a model puts out."""

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.helpers import FileOutput

from tests.fake_replicate import (
    IMAGE_SCHEMA,
    Answer,
    Cut,
    FakeReplicate,
    Hang,
    Script,
    WrongLength,
    recorded_errors,
)
from tests.fake_replicate.judges import (
    EXCHANGES,
    OPENAPI,
    PATIENCE,
    ask_raw,
    client_fixture,  # noqa: F401  # fixtures are asked for by their names
    disagreements,
    http_fixture,  # noqa: F401
    masked,
    media_type,
)

NASTY = bytes(range(256)) + b"\r\n\r\n--boundary\r\n--\n\r\r\n\x0b\x0c\xe2\x80\xa8\r"


class TestOfficialClient:
    def test_it_uploads_reads_lists_and_deletes(self, fake: FakeReplicate, client: Client) -> None:
        file = client.files.create(io.BytesIO(NASTY), filename="naïve.png", metadata={"customer": 123})

        stored = fake.files[file.id]
        assert (stored.content, stored.name, stored.content_type) == (NASTY, "naïve.png", "image/png")
        assert (file.name, file.size, file.metadata) == ("naïve.png", len(NASTY), {"customer": 123})
        assert client.files.get(file.id).checksums == file.checksums
        assert [listed.id for listed in client.files.list()] == [file.id]
        assert client.files.delete(file.id)
        assert (client.files.list(), fake.files) == ([], {})
        with pytest.raises(ReplicateError, match="File not found"):
            client.files.get(file.id)

    def test_it_uploads_a_file_that_is_an_input(self, fake: FakeReplicate, client: Client, tmp_path: Path) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, schema=IMAGE_SCHEMA)
        picture = tmp_path / "cat.png"
        picture.write_bytes(NASTY)

        prediction = client.models.predictions.create("acme/painter", {"prompt": "A dog", "image": picture})

        [file] = fake.files.values()
        assert (file.name, file.content) == ("cat.png", NASTY)
        assert prediction.input == {"prompt": "A dog", "image": f"{fake.url}/files/{file.id}"}

    def test_it_reads_an_output_file(self, fake: FakeReplicate, client: Client) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, schema=IMAGE_SCHEMA)
        addresses = [fake.output_file(NASTY), fake.output_file(b"two", name="out-1.png")]
        fake.script(Script(chunks=[], output=addresses, stream=False))

        output = client.run("acme/painter", input={"prompt": "A dog", "num_outputs": 2})

        assert output == addresses
        assert [FileOutput(address, client).read() for address in output] == [NASTY, b"two"]
        assert b"".join(FileOutput(output[0], client)) == NASTY


class TestUploads:
    def test_recorded_upload_read_and_delete(self, http: httpx.Client) -> None:
        request, recorded = EXCHANGES["file-create"]["request"], EXCHANGES["file-create"]["response"]

        created = http.post("/files", content=request["body"].encode(), headers=request["headers"])
        read = http.get(created.json()["urls"]["get"])
        deleted = http.delete(created.json()["urls"]["get"])

        for answer in (created, read):
            assert masked(answer.json(), without=set()) == masked(recorded["body"], without=set())
            assert media_type(answer.headers["content-type"]) == "application/json"
            assert "ratelimit-remaining" not in answer.headers
        assert [answer.status_code for answer in (created, read, deleted)] == [
            EXCHANGES[name]["response"]["status"] for name in ("file-create", "file-get", "file-delete")
        ]
        times = [datetime.fromisoformat(read.json()[name]) for name in ("created_at", "expires_at")]
        assert times[1] - times[0] == timedelta(hours=24)
        assert (deleted.content, "content-length" in deleted.headers) == (b"", False)

    def test_answers_fit_the_document(self, http: httpx.Client) -> None:
        created = http.post("/files", files={"content": ("a.txt", b"a", "text/plain")}).json()
        listed = http.get("/files").json()

        schema = OPENAPI["paths"]["/files"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert disagreements(created, "schemas_file_response") == set()
        assert disagreements(listed, schema) == set()
        assert listed["results"] == [created]

    def test_form_fields_count_more_than_the_part_itself(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fields = {"filename": "b.md", "type": "text/markdown", "metadata": '{"a": 1}'}

        file = http.post("/files", files={"content": ("a.txt", b"a", "text/plain")}, data=fields).json()

        assert (file["name"], file["content_type"], file["metadata"]) == ("b.md", "text/markdown", {"a": 1})

    def test_pages_begin_with_the_newest(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.page_size = 2
        for name in ("a", "b", "c"):
            http.post("/files", files={"content": (name, b"", "text/plain")})

        first = http.get("/files").json()
        second = http.get(first["next"]).json()

        names = [[file["name"] for file in page["results"]] for page in (first, second)]
        assert (names, second["next"]) == ([["c", "b"], ["a"]], None)

    def test_too_large_a_file_is_refused_as_documented(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.file_limit = 10

        fits, exceeds = (http.post("/files", files={"content": b"x" * size}) for size in (10, 11))

        assert fits.status_code == 201
        assert (exceeds.status_code, exceeds.json()) == (413, recorded_errors(413)[0].body)
        assert exceeds.headers["content-type"] == "application/problem+json"
        assert len(fake.files) == 1

    def test_what_is_no_upload_is_refused(self, fake: FakeReplicate, http: httpx.Client) -> None:
        refused = [
            http.post("/files", json={"content": "a"}),
            http.post("/files", files={"file": b"a"}),
            http.post("/files", files={"content": b"a"}, data={"metadata": "{"}),
            http.post("/files", files={"content": ("ä" * 128, b"a")}),
        ]

        assert [answer.status_code for answer in refused] == [400] * 4
        assert fake.files == {}

    def test_unknown_files_and_strangers_are_refused(self, fake: FakeReplicate, http: httpx.Client) -> None:
        file = http.post("/files", files={"content": b"a"}).json()

        for ask in (http.get, http.delete):
            assert ask("/files/nothing").json() == recorded_errors(404)[2].body
            assert ask(file["urls"]["get"], headers={"authorization": ""}).status_code == 401
        assert http.post("/files", files={"content": b"a"}, headers={"authorization": ""}).status_code == 401
        assert list(fake.files) == [file["id"]]

    def test_an_upload_may_fail(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.fail("upload", Answer(500), Answer(500, handled=True))

        statuses = [http.post("/files", files={"content": b"a"}).status_code for _ in range(3)]

        assert statuses == [500, 500, 201]
        assert len(fake.files) == 2


class TestOutputs:
    @pytest.fixture
    def stranger(self) -> Iterator[httpx.Client]:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as stranger:
            yield stranger

    def test_whoever_knows_the_address_may_read_it(self, fake: FakeReplicate, stranger: httpx.Client) -> None:
        address = fake.output_file(NASTY, name="ein Bild.webp", content_type="image/webp")

        answer = stranger.get(address)

        assert address.startswith(f"{fake.origin}/files/")
        assert (answer.status_code, answer.content) == (200, NASTY)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert len(fake.ledger.to("output")) == 1

    def test_it_is_gone_when_it_has_expired(self, fake: FakeReplicate, stranger: httpx.Client) -> None:
        first, second = fake.output_file(b"a", name="ein Bild.png"), fake.output_file(b"b")

        fake.expire(first)

        assert [stranger.get(address).status_code for address in (first, second)] == [404, 200]

    def test_it_may_be_refused_or_lead_elsewhere(self, fake: FakeReplicate, stranger: httpx.Client) -> None:
        address = fake.output_file(NASTY)
        redirect = Answer(302, headers={"location": "http://169.254.169.254/"})
        page = Answer(200, "<html>", "text/html")
        fake.fail("output", Answer(404), Answer(403), redirect, page)

        answers = [stranger.get(address) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [404, 403, 302, 200, 200]
        assert answers[2].headers["location"] == "http://169.254.169.254/"
        assert answers[3].headers["content-type"] == "text/html"
        assert answers[4].content == NASTY

    def test_it_may_break_off_or_hang(self, fake: FakeReplicate, stranger: httpx.Client) -> None:
        address = fake.output_file(NASTY)
        fake.fail("output", Cut(after=10), Cut(), Hang())

        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                stranger.get(address)
        with pytest.raises(httpx.ReadTimeout):
            stranger.get(address, timeout=0.1)

    def test_its_length_may_be_a_lie_or_untold(self, fake: FakeReplicate, stranger: httpx.Client) -> None:
        address = fake.output_file(NASTY)
        fake.fail("output", WrongLength(10), WrongLength(10), WrongLength(1000), WrongLength(None))

        sent = ask_raw(fake, f"GET {urlsplit(address).path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        shortened = stranger.get(address)
        with pytest.raises(httpx.RemoteProtocolError, match="received 284 bytes, expected 1000"):
            stranger.get(address)
        chunked = stranger.get(address)

        assert sent.endswith(b"\r\n\r\n" + NASTY)
        assert b"\r\ncontent-length: 10\r\n" in sent
        assert (shortened.headers["content-length"], shortened.content) == ("10", NASTY[:10])
        assert ("content-length" in chunked.headers, chunked.content) == (False, NASTY)
        assert stranger.get(address).content == NASTY
