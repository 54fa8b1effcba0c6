"""Folders that appear whole or not at all, and damaged ones set aside."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Generator
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

    Once it is there it stays, also when the power fails. When another process made `target`
    meanwhile, that one is kept: callers name folders after their content.
    """
    make_folder(target.parent)
    folder = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
        for path in folder.rglob("*"):
            sync(path)
        sync(folder)
        _rename_unless_there(folder, target)
        sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a power failure does not take them away again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no such call for folders.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():
            raise
    finally:
        os.close(handle)


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
    return _folders(parent, lambda name: not name.startswith((TEMPORARY, SET_ASIDE)))


def damaged_folders(parent: Path) -> list[Path]:
    """Return the folders below `parent` that were set aside, by name."""
    return _folders(parent, lambda name: name.startswith(SET_ASIDE))


def _folders(parent: Path, wanted: Callable[[str], bool]) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if wanted(entry.name) and entry.is_dir()]
    except FileNotFoundError:
        return []
    return [parent / name for name in sorted(names)]


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
    hidden = hide_folder(folder)
    if hidden is not None:
        shutil.rmtree(hidden, ignore_errors=True)


def hide_folder(folder: Path) -> Path | None:
    """Rename a folder so that it no longer counts, and is removed as stale at the latest.

    Returns
    -------
    pathlib.Path or None
        Its new name; None when it was gone already.
    """
    hidden = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        folder.rename(hidden)
    except FileNotFoundError:
        return None
    return hidden


@contextmanager
def locked(file: Path, *, shared: bool = False, wait: bool = True) -> Generator[bool, None, None]:
    """Hold a lock between processes; it ends with the block, or with the process.

    Parameters
    ----------
    file : pathlib.Path
        Made when it does not exist; its folder must.
    shared : bool
        Others may hold it shared too.
    wait : bool
        Wait for it; otherwise go on without.

    Yields
    ------
    bool
        Whether it is held.
    """
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, mode if wait else mode | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(handle)
