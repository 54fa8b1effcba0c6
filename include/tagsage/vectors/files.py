"""Folders that appear whole or not at all, and damaged ones set aside."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp-"
SET_ASIDE = "damaged-"
STALE_AFTER_S = 24 * 3600.0


def safe_name(name: str) -> str:
    """Return a file name for any string: itself when it is one, else a likeness and a digest.

    Different strings get different names, also where letter case does not count.
    """
    plain = re.sub(r"[^a-z0-9._-]", "_", name)
    if plain == name and 0 < len(name) <= 100 and not name.startswith((".", SET_ASIDE)):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{plain.lstrip('.')[:80]}-{digest}"


@contextmanager
def new_folder(target: Path) -> Generator[Path, None, None]:
    """Give an empty folder that becomes `target` when the block ends well.

    When another process made `target` meanwhile, that one is kept: callers name folders after
    their content.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
        _rename_unless_there(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rename_unless_there(folder: Path, target: Path) -> None:
    while True:
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            if target.is_dir():
                return
            # It was there a moment ago, but another process has just removed it: try again.
        else:
            return


def set_aside(folder: Path, reason: str) -> None:
    """Rename a damaged folder, so that it is no longer read but can be looked at; log why."""
    aside = folder.with_name(f"{SET_ASIDE}{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return  # another process was first
    logger.warning("Set the damaged folder %s aside as %s: %s.", folder, aside.name, reason)


def finished_folders(parent: Path) -> list[Path]:
    """Return the finished folders below `parent`, by name; none when it does not exist."""
    if not parent.is_dir():
        return []
    return sorted(
        folder
        for folder in parent.iterdir()
        if folder.is_dir() and not folder.name.startswith((TEMPORARY, SET_ASIDE))
    )


def remove_stale(parent: Path) -> None:
    """Remove temporary folders that a killed process left below `parent` over a day ago."""
    if not parent.is_dir():
        return
    for folder in parent.iterdir():
        if not folder.name.startswith(TEMPORARY):
            continue
        try:
            age = time.time() - folder.stat().st_mtime
        except FileNotFoundError:
            continue  # its process has just finished
        if age > STALE_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step as others see it; one that is gone already is well."""
    temporary = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        folder.rename(temporary)
    except FileNotFoundError:
        return
    shutil.rmtree(temporary, ignore_errors=True)
