"""Files that appear whole or not at all, locks between processes, and digests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tagsage.errors import TagsageError

if TYPE_CHECKING:
    from upath import UPath

TEMPORARY = ".temporary-"


class LockedError(TagsageError):
    """Another process holds the lock."""


@contextmanager
def atomic_file(target: Path) -> Generator[IO[bytes], None, None]:
    """Write a file that takes its name when the block ends without an error.

    Whatever happens, `target` is the old file or the new one. Its folder is made if need be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a file, whole or not at all (see `atomic_file`)."""
    with atomic_file(target) as file:
        file.write(data)


def write_text(target: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(target, text.encode("utf-8"))


def write_json(target: Path, value: object) -> None:
    """Write a small JSON file, whole or not at all; the same value gives the same bytes."""
    write_text(target, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def read_json(file: Path | UPath) -> Any | None:
    """Return the content of a JSON file; None when there is none; `TagsageError` when damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        msg = f"{file} is not JSON ({error}); remove it and run again."
        raise TagsageError(msg) from error


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder, so that a rename outlives a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Have the disk keep every file below a folder, before the folder is renamed."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


@contextmanager
def locked(file: Path, *, busy: str = "") -> Generator[None, None, None]:
    """Hold a lock between the processes of one machine; it ends with the block or the process.

    `file` is made when it does not exist; it stays behind, empty. When another process holds the
    lock, `LockedError` is raised with the sentence `busy`; without one, that is waited for.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if busy else fcntl.LOCK_EX)
        except BlockingIOError:
            raise LockedError(busy) from None
        yield
    finally:
        os.close(handle)


def sha256_of(file: Path | UPath) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with file.open("rb") as opened:
        # UPath types its files too narrowly.
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]
