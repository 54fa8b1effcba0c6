"""A folder's files and their digests: what was changed after it was written is found out."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tagsage.errors import FinalError

SEAL = "sha256.json"
CACHE = "__pycache__"
REMEDY = "do not use this model; roll back to another version or retrain"


class DamagedModelError(FinalError):
    """A model's files were changed, or it is gone: no later try will load it."""


def seal(folder: Path) -> None:
    """Write the SHA-256 of every file below a folder into ``sha256.json``."""
    files = {
        file.relative_to(folder).as_posix(): _digest(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != SEAL
    }
    (folder / SEAL).write_text(json.dumps(files, indent=1), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Return whether a folder was sealed."""
    return (folder / SEAL).exists()


def check_seal(folder: Path) -> None:
    """See that the files below a folder are those that were sealed.

    Files that came later are let be: nothing reads them.

    Raises
    ------
    DamagedModelError
        Naming the first file that is missing or was changed.
    """
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        names = {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, AttributeError) as error:
        msg = f"The model's file {SEAL} in {folder} cannot be read ({error}); {REMEDY}."
        raise DamagedModelError(msg) from error
    for name, digest in names.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise DamagedModelError(
                f"The model's {SEAL} names {name}, outside of {folder}; {REMEDY}."
            )
        if not file.is_file():
            raise DamagedModelError(f"The model's file {name} in {folder} is missing; {REMEDY}.")
        if _digest(file) != digest:
            msg = f"The model's file {name} in {folder} was changed since it was saved; {REMEDY}."
            raise DamagedModelError(msg)


def folder_digest(folder: Path) -> str:
    """Return one SHA-256 of the names and the contents of all files below a folder.

    What Python itself keeps in ``__pycache__`` does not count; see :func:`check_folder`.
    """
    whole = hashlib.sha256()
    for entry in sorted(folder.rglob("*")):
        name = entry.relative_to(folder)
        if CACHE in name.parts or (entry.is_dir() and not entry.is_symlink()):
            continue
        content = _digest(entry) if entry.is_file() else ""
        whole.update(json.dumps([name.as_posix(), content]).encode())
    return f"sha256:{whole.hexdigest()}"


def check_folder(folder: Path, digest: str | None) -> None:
    """See that a folder is, file for file, the one that a digest was made of, before it is loaded.

    Parameters
    ----------
    folder : pathlib.Path
        The folder. Compiled code in it is removed: Python runs that in the place of its source.
    digest : str or None
        What :func:`folder_digest` said. None where none was kept: nothing is checked.

    Raises
    ------
    DamagedModelError
        When a file was changed, added or removed, or compiled code cannot be removed.
    """
    if digest is None:
        return
    if folder_digest(folder) != digest:
        msg = f"The model in {folder} is not what was registered: a file differs; {REMEDY}."
        raise DamagedModelError(msg)
    for cache in sorted(folder.rglob(CACHE)):
        try:
            shutil.rmtree(cache)
        except FileNotFoundError:
            continue
        except OSError as error:
            msg = f"The compiled code in {cache} cannot be removed ({error}); {REMEDY}."
            raise DamagedModelError(msg) from error


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
