"""The Files API: uploads for batches, and what batches leave."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from itertools import pairwise
from pathlib import Path

from scripts.openai_api.embeddings import ApiError
from scripts.openai_api.vectors import JsonObject


@dataclass(frozen=True)
class StoredFile:
    """One file of the account; `shown` is its object in the API."""

    path: Path
    shown: JsonObject


class Files:
    """The files of the account, in a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Empty; theirs alone.
    max_bytes : int
        A larger upload is refused.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._files: dict[str, StoredFile] = {}

    def upload(self, body: bytes, content_type: str) -> JsonObject:
        """Take ``multipart/form-data`` with the fields ``purpose`` and ``file``.

        Raises
        ------
        ApiError
            When a field is missing or the file is too large.
        """
        fields, names = _read_form(body, content_type)
        purpose = bytes(fields.get("purpose", b"")).decode("utf-8", "replace")
        if purpose != "batch":
            raise ApiError(400, f"'{purpose}' is not one of ['batch'] - 'purpose'", param="purpose")
        if "file" not in fields:
            raise ApiError(400, "'file' is a required property", param="file")
        content = fields["file"]
        if len(content) > self._max_bytes:
            raise ApiError(
                413, f"File is too large. Maximum size is {self._max_bytes} bytes.", param="file"
            )
        return self.add(names["file"] or "upload", purpose, [content]).shown

    def add(self, filename: str, purpose: str, pieces: Iterable[bytes | memoryview]) -> StoredFile:
        """Store a file and return it."""
        identifier = f"file-{secrets.token_hex(12)}"
        path = self._folder / identifier
        with path.open("wb") as file:
            size = sum(file.write(piece) for piece in pieces)
        shown: JsonObject = {
            "id": identifier,
            "object": "file",
            "bytes": size,
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
            "expires_at": None,
            "status_details": None,
        }
        stored = StoredFile(path, shown)
        with self._lock:
            self._files[identifier] = stored
        return stored

    def get(self, identifier: str) -> StoredFile:
        """Return a file.

        Raises
        ------
        ApiError
            When there is none of this name.
        """
        with self._lock:
            if (stored := self._files.get(identifier)) is None:
                raise ApiError(404, f"No such File object: {identifier}", param="id")
            return stored

    def delete(self, identifier: str) -> JsonObject:
        """Remove a file; who is reading it reads on."""
        stored = self.get(identifier)
        with self._lock:
            self._files.pop(identifier, None)
        stored.path.unlink(missing_ok=True)
        return {"id": identifier, "object": "file", "deleted": True}

    def listed(self, query: Mapping[str, str]) -> JsonObject:
        """Return one page: parameters ``purpose``, ``order`` (desc, asc), ``after``, ``limit``."""
        with self._lock:
            shown = [stored.shown for stored in self._files.values()]
        if purpose := query.get("purpose"):
            shown = [file for file in shown if file["purpose"] == purpose]
        if query.get("order", "desc") == "desc":
            shown.reverse()
        return page(shown, query, default=10_000, most=10_000)


def page(
    objects: Sequence[JsonObject], query: Mapping[str, str], *, default: int, most: int
) -> JsonObject:
    """Return one page of a list, as the API pages: after an id, at most so many.

    Raises
    ------
    ApiError
        When the parameters cannot be right.
    """
    given = query.get("limit", str(default))
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise ApiError(400, f"Invalid 'limit': {given!r} is not in 1..{most}.", param="limit")
    start = 0
    if after := query.get("after"):
        places = [place for place, shown in enumerate(objects) if shown["id"] == after]
        if not places:
            raise ApiError(400, f"Invalid 'after': no object {after!r}.", param="after")
        start = places[0] + 1
    data = list(objects[start : start + int(given)])
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + len(data) < len(objects),
    }


def _read_form(body: bytes, content_type: str) -> tuple[dict[str, memoryview], dict[str, str]]:
    """Return the fields of a form, without copying them, and the names of their files."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise ApiError(400, "The request must be multipart/form-data.")
    fields: dict[str, memoryview] = {}
    names: dict[str, str] = {}
    mark = re.compile(rb"(?:\r\n|\A)--" + re.escape(boundary.encode()) + rb"(?:--)?(?:\r\n)?")
    places = [found.span() for found in mark.finditer(body)]
    view = memoryview(body)
    for (_, start), (end, _) in pairwise(places):
        blank = body.index(b"\r\n\r\n", start, end)
        part = Message()
        for line in body[start:blank].decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            part[name] = value.strip()
        field = str(part.get_param("name", header="content-disposition"))
        fields[field] = view[blank + 4 : end]
        names[field] = part.get_filename() or ""
    return fields, names
