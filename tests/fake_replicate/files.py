"""Files: those that were uploaded to be inputs, and those that a model put out."""

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import MIMEPart
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from .front import Front
from .ledger import Call
from .predictions import random_id, stamp
from .replies import Refused, Reply, json_reply, origin_of
from .scripts import Answer, recorded_errors

FILE_LIMIT = 100 * 1024 * 1024  # bytes, as documented
NAME_LIMIT = 255  # bytes, as documented
KEPT = timedelta(hours=24)  # as recorded; the document's example says one hour

_, _, _FILE_NOT_FOUND = recorded_errors(404)
[_FILE_TOO_LARGE] = recorded_errors(413)
_OUTPUT_NOT_FOUND = Answer(404, "Not Found", "text/plain")  # a guess: another host answers there

FILE_DOORS = (
    ("POST", r"/v1/files", "upload", "_upload"),
    ("GET", r"/v1/files", "files", "_list_files"),
    ("GET", r"/v1/files/(?P<file_id>[^/]+)", "file", "_file"),
    ("DELETE", r"/v1/files/(?P<file_id>[^/]+)", "delete_file", "_delete_file"),
    ("GET", r"/files/(?P<key>.+)", "output", "_output"),
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was uploaded."""

    content: bytes
    name: str
    content_type: str
    metadata: dict[str, Any]
    id: str = field(default_factory=lambda: base64.b64encode(str(uuid.uuid4()).encode()).decode())
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self, origin: str) -> dict[str, Any]:
        md5 = hashlib.md5(self.content).hexdigest()
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": len(self.content),
            "etag": md5,
            "checksums": {"sha256": hashlib.sha256(self.content).hexdigest(), "md5": md5},
            "metadata": self.metadata,
            "created_at": stamp(self.created_at, "milliseconds"),
            "expires_at": stamp(self.created_at + KEPT, "milliseconds"),
            "urls": {"get": f"{origin}/v1/files/{self.id}"},
        }


@dataclass(frozen=True, slots=True)
class OutputFile:
    content: bytes
    content_type: str


class FileDoors(Front):
    def __init__(self, *, token: str) -> None:
        super().__init__(token=token)
        self.file_limit = FILE_LIMIT
        self._files: dict[str, StoredFile] = {}
        self._outputs: dict[str, OutputFile] = {}

    @property
    def files(self) -> dict[str, StoredFile]:
        """The files that were uploaded, by id, oldest first."""
        return dict(self._files)

    def expire(self, url: str) -> None:
        """Let the address of an output file lead nowhere, as happens an hour after the prediction's end."""
        del self._outputs[unquote(urlsplit(url).path.removeprefix("/files/"))]

    def _keep_output(self, content: bytes, name: str, content_type: str) -> str:
        """Return the path under which it can be had."""
        key = f"{random_id(44)}/{name}"
        self._outputs[key] = OutputFile(content, content_type)
        return f"/files/{quote(key)}"

    async def _upload(self, call: Call) -> Reply:
        file = _read_upload(call)
        if len(file.content) > self.file_limit:
            raise Refused(_FILE_TOO_LARGE)
        self._files[file.id] = file
        return json_reply(201, file.as_json(origin_of(call)))

    async def _list_files(self, call: Call) -> Reply:
        newest_first = dict(reversed(self._files.items()))
        return self._page(call, newest_first, lambda file: file.as_json(origin_of(call)))

    async def _file(self, call: Call, file_id: str) -> Reply:
        return json_reply(200, self._find_file(file_id).as_json(origin_of(call)))

    async def _delete_file(self, call: Call, file_id: str) -> Reply:
        del self._files[self._find_file(file_id).id]
        return Reply(204, b"", {"content-type": "text/plain; charset=UTF-8"})

    def _find_file(self, file_id: str) -> StoredFile:
        if file_id not in self._files:
            raise Refused(_FILE_NOT_FOUND)
        return self._files[file_id]

    async def _output(self, call: Call, key: str) -> Reply:
        output = self._outputs.get(key)
        if output is None:
            raise Refused(_OUTPUT_NOT_FOUND)
        headers = {"content-type": output.content_type, "cache-control": "public, max-age=3600"}
        return Reply(200, output.content, headers)


def _read_upload(call: Call) -> StoredFile:
    """Read the form; how a wrong one is refused is a guess."""
    form = _read_form(call)
    if "content" not in form:
        raise _unreadable("content is required")
    part = form["content"]
    name = _text(form["filename"]) if "filename" in form else part.get_filename() or "file"
    if len(name.encode()) > NAME_LIMIT:
        raise _unreadable(f"filename must have at most {NAME_LIMIT} bytes")
    try:
        metadata = json.loads(_text(form["metadata"])) if "metadata" in form else {}
    except ValueError:
        raise _unreadable("metadata must be valid JSON") from None
    content_type = _text(form["type"]) if "type" in form else part.get_content_type()
    return StoredFile(_bytes(part), name, content_type, metadata)


def _read_form(call: Call) -> dict[str, MIMEPart]:
    head = f"Content-Type: {call.headers.get('content-type', '')}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=HTTP).parsebytes(head + call.body)
    return {str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()}


def _bytes(part: MIMEPart) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _text(part: MIMEPart) -> str:
    return _bytes(part).decode()


def _unreadable(detail: str) -> Refused:
    return Refused(Answer(400, {"detail": detail, "status": 400}, "application/problem+json"))
