"""A list of a folder's files with their digests: a file that was changed later is found out."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tagsage.errors import NonRetryableError

SEAL = "sha256.json"
REMEDY = "do not use this model; roll back to another version or retrain"


class DamagedModelError(NonRetryableError):
    """A model's files were changed, or it is gone: no later try will load it."""


def seal(folder: Path) -> str:
    """Write the SHA-256 of every file below a folder into ``sha256.json``; return that of the list.

    A sealed folder below is a part like any other, its own list included.
    """
    files = {
        file.relative_to(folder).as_posix(): _digest(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / SEAL
    }
    (folder / SEAL).write_text(json.dumps(files, indent=1), encoding="utf-8")
    return f"sha256:{_digest(folder / SEAL)}"


def is_sealed(folder: Path) -> bool:
    """Return whether a folder was sealed."""
    return (folder / SEAL).is_file()


def check_seal(folder: Path) -> list[str]:
    """See that the files that were sealed are as they were; files that came later are let be.

    Returns
    -------
    list of str
        The files that were sealed, relative to the folder.

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
    return list(names)


def copy_sealed(folder: Path, target: Path, digest: str | None) -> None:
    """Copy the files that were sealed, and no others, once they are known to be unchanged.

    MLflow executes code of a model's folder and puts the folder on the path of modules: a file that
    came later, compiled code too, could be executed in the place of one that was sealed. The copy
    has none.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    target : pathlib.Path
        Does not exist yet.
    digest : str or None
        What :func:`seal` returned, as it was kept elsewhere.

    Raises
    ------
    DamagedModelError
        When a file was changed or is missing, or the list of them is not the one that was kept.
    """
    if not is_sealed(folder) or f"sha256:{_digest(folder / SEAL)}" != digest:
        raise DamagedModelError(
            f"The model in {folder} is not what was registered: its {SEAL} differs; {REMEDY}."
        )
    for name in [*check_seal(folder), SEAL]:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
