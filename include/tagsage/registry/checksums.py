"""The list of a model's files with their SHA-256; the version has the list's digest as a tag."""

from __future__ import annotations

from pathlib import Path

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.files import read_json, sha256_of, write_json

CHECKSUMS = "sha256.json"
REMEDY = "do not use this model; roll back to another version or retrain"


class DamagedModelError(NonRetryableError):
    """A model's files were changed, or it is gone; trying again is useless."""


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file below a folder into its ``sha256.json``."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    digests = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    write_json(folder / CHECKSUMS, digests)


def digest_of(folder: Path) -> str:
    """Return the digest of a model: of its list of files."""
    return f"sha256:{sha256_of(folder / CHECKSUMS)}"


def check_files(folder: Path) -> set[Path]:
    """Compare a model's files with the list; return the unchanged ones, the list among them.

    Raises `DamagedModelError` with the first listed file that is missing or was changed.
    """
    try:
        digests = read_json(folder / CHECKSUMS)
    except (TagsageError, OSError):
        digests = None
    if not isinstance(digests, dict):
        msg = f"The model's file {CHECKSUMS} cannot be read; {REMEDY}."
        raise DamagedModelError(msg)
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            raise DamagedModelError(f"The model's file {name} is missing; {REMEDY}.")
        if sha256_of(file) != digest:
            msg = f"The model's file {name} was changed since it was saved; {REMEDY}."
            raise DamagedModelError(msg)
    return {folder / name for name in (CHECKSUMS, *digests)}


def keep_registered_files(folder: Path, digest: str) -> None:
    """Check the copy of a registered model, and remove every file that is not on its list.

    MLflow executes code from a model's folder, so an added file could be executed, too. Raises
    `DamagedModelError` when a file is missing or was changed, or the list has another digest.
    """
    if not (folder / CHECKSUMS).is_file() or digest_of(folder) != digest:
        raise DamagedModelError(
            f"The model is not what was registered: its {CHECKSUMS} differs; {REMEDY}."
        )
    listed = check_files(folder)
    for file in folder.rglob("*"):
        if file not in listed and not file.is_dir():
            file.unlink()
