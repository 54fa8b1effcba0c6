"""The folder of a run's files: artifacts found again by what went into them.

An artifact is a folder of files that one stage makes, named after the stage and a digest of the
stage's inputs and code. It appears whole or not at all. A workspace may lie in object storage (any
fsspec URL); arrays are then read through a local copy.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from upath import UPath

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.files import atomic_file, locked, read_json, sync_folder, sync_tree

MARKER = ".tagsage"
MANIFEST = "artifact.json"
LOCK = ".lock"
SCRATCH_KEPT_S = 24 * 3600
# What nobody put into a folder: a volume's own.
NOT_CONTENT = {"lost+found"}
# Names of ours: nothing else is ever removed.
ARTIFACT_NAME = re.compile(r"[a-z_]+-[0-9a-f]{16}")
SCRATCH_NAME = re.compile(r"[0-9a-f]{32}")
# What results depend on beside our own code.
NUMERIC_LIBRARIES = (
    *("numpy", "scipy", "pandas", "pyarrow", "scikit-learn"),
    *("iterative-stratification", "jax", "jaxlib", "optax"),
)


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: what tasks pass on is its `ref`."""

    ref: str  # its name, ``stage-digest``
    path: Path  # the local folder of its files
    summary: dict[str, Any]  # what the stage says of it: counts, digests, names of files
    seconds: float  # how long it took to build


class Workspace:
    """A folder (or fsspec URL) of artifacts, records of runs and published results.

    Old files in it are removed, so it is a folder of its own, marked by the file ``.tagsage``.
    """

    def __init__(self, root: str) -> None:
        self.root = UPath(root)
        self.is_local = self.root.protocol in {"", "file", "local"}
        if self.is_local:
            self.root = UPath(Path(self.root.path).expanduser().resolve())
        self.url = str(self.root)
        self._claimed = False

    @property
    def local_path(self) -> Path:
        """The workspace, or a folder in the user's cache for a remote one; it need not exist."""
        if self.is_local:
            return Path(self.root.path)
        return user_cache_path("tagsage") / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def local_folder(self) -> Path:
        """Make and return the folder for files that must be local: databases, caches, copies."""
        self.claim()
        self.local_path.mkdir(parents=True, exist_ok=True)
        return self.local_path

    def claim(self) -> None:
        """Make and mark the workspace; raises `NonRetryableError` if it holds something else."""
        if self._claimed:
            return
        marker = self.root / MARKER
        try:
            if not marker.exists():
                held = {file.name for file in self.root.iterdir()} if self.root.exists() else set()
                # Another process may have marked it just now.
                if held - NOT_CONTENT and not marker.exists():
                    msg = (
                        f"The folder {self.url} holds other files and is no workspace of tagsage; "
                        "name an empty or a new folder as workspace."
                    )
                    raise NonRetryableError(msg)
                self.root.mkdir(parents=True, exist_ok=True)
                marker.write_text("tagsage keeps its files here, and removes old ones.\n")
        except OSError as error:
            msg = f"Cannot make the folder {self.url}: {error.strerror}; choose another workspace."
            raise TagsageError(msg) from error
        self._claimed = True

    def check(self) -> None:
        """Raise `NonRetryableError` when this is no workspace; for commands that only read."""
        if not (self.root / MARKER).exists():
            msg = (
                f"There is no workspace of tagsage in {self.url}; name another one, or make one "
                "with `tagsage run`."
            )
            raise NonRetryableError(msg)

    def artifact(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], dict[str, Any] | None],
        *,
        code: Collection[str],
    ) -> Artifact:
        """Find an artifact of a stage, or build it.

        `inputs` is everything the result depends on, JSON-able, with the refs of other artifacts;
        `build` fills an empty folder and returns the summary, again after a kill; `code` are the
        rooms (packages below ``tagsage``) whose code makes the result.
        """
        recipe = {"stage": stage, "inputs": dict(inputs), "code": code_digest(tuple(sorted(code)))}
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        ref = f"{stage}-{digest}"
        if not self.exists(ref):
            with self.scratch() as folder:
                started = time.perf_counter()
                summary = build(folder) or {}
                seconds = round(time.perf_counter() - started, 3)
                manifest = {**recipe, "summary": summary, "seconds": seconds}
                (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                self._store(ref, folder)
        return self.open(ref)

    def open(self, ref: str) -> Artifact:
        """Return a finished artifact by its name; `TagsageError` when there is none."""
        folder = self.local_folder() / "artifacts" / ref
        if not (folder / MANIFEST).exists():
            if self.is_local or not self.exists(ref):
                msg = (
                    f"The workspace {self.url} holds no artifact {ref}; "
                    "run the stage that makes it again."
                )
                raise TagsageError(msg)
            with self.scratch() as copy:
                _copy_folder(self.root / "artifacts" / ref, UPath(copy))
                _rename_folder(copy, folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            return Artifact(ref, folder, manifest["summary"], manifest["seconds"])
        except (ValueError, KeyError, TypeError) as error:
            msg = f"The artifact in {folder} is damaged ({error}); remove the folder and run again."
            raise TagsageError(msg) from error

    def publish(self, file: Path, name: str) -> str:
        """Put a file at the top of the workspace, whole or not at all; return where it is."""
        self.claim()
        _copy(UPath(file), self.root / name)
        return str(self.root / name)

    def unpublish(self, *names: str) -> None:
        """Remove files of an earlier run, which must not be taken for those of this run."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def write_json(self, name: str, value: object) -> None:
        """Write a small JSON file at the top of the workspace, whole or not at all."""
        with self.scratch() as folder:
            file = folder / "value.json"
            file.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
            self.publish(file, name)

    def read_json(self, name: str) -> Any | None:
        """Return the content of a JSON file of the workspace, or None when there is none."""
        return read_json(self.root / name)

    def prune(self, keep: Collection[str]) -> int:
        """Remove artifacts not in `keep`, and what killed tasks left; return how many artifacts."""
        removed = 0
        for base in {self.root / "artifacts", UPath(self.local_folder() / "artifacts")}:
            if not base.exists():
                continue
            for folder in list(base.iterdir()):
                if ARTIFACT_NAME.fullmatch(folder.name) and folder.name not in keep:
                    # First what says that it is whole: a kill below must not leave half of one.
                    if folder.is_dir():
                        (folder / MANIFEST).unlink(missing_ok=True)
                    folder.fs.rm(folder.path, recursive=True)
                    removed += 1
        scratch = self.local_folder() / "scratch"
        for left in scratch.iterdir() if scratch.exists() else ():
            # Younger ones may belong to a task that is at work.
            is_ours = SCRATCH_NAME.fullmatch(left.name)
            if is_ours and time.time() - left.stat().st_mtime > SCRATCH_KEPT_S:
                shutil.rmtree(left, ignore_errors=True)
        return removed

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Keep a second run out of this workspace on this machine; `LockedError` for that one."""
        busy = (
            f"Another run is under way in the workspace {self.url}; wait for its end, or choose "
            "another workspace."
        )
        with locked(self.local_folder() / LOCK, busy=busy):
            yield

    @contextmanager
    def scratch(self) -> Generator[Path, None, None]:
        """Give an empty folder on the workspace's own disk; it is removed at the end."""
        # Not tempfile.mkdtemp: its folders, which become artifacts, are closed to other users.
        folder = self.local_folder() / "scratch" / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            msg = f"Cannot write to {folder.parent}: {error.strerror}; choose another workspace."
            raise TagsageError(msg) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def shared_scratch(self) -> Generator[UPath, None, None]:
        """Give an empty folder in the workspace itself, which other machines may see, too."""
        if self.is_local:
            with self.scratch() as own:
                yield UPath(own)
            return
        folder = self.root / "scratch" / uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            if folder.exists():
                folder.fs.rm(folder.path, recursive=True)

    def exists(self, ref: str) -> bool:
        """Tell whether there is a finished artifact of this name."""
        return (self.root / "artifacts" / ref / MANIFEST).exists()

    def _store(self, ref: str, folder: Path) -> None:
        if self.is_local:
            _rename_folder(folder, self.local_folder() / "artifacts" / ref)
        else:
            _copy_folder(UPath(folder), self.root / "artifacts" / ref)


def _copy_folder(source: UPath, target: UPath) -> None:
    """Copy a folder's files, the manifest last: an artifact without one does not exist."""
    files = [file for file in source.rglob("*") if file.is_file()]
    for file in sorted(files, key=lambda file: file.name == MANIFEST):
        _copy(file, target / file.relative_to(source).as_posix())


def _copy(source: UPath, target: UPath | Path) -> None:
    """Copy a file piece by piece, because vectors may be larger than memory."""
    if isinstance(target, Path):
        with source.open("rb") as reader, atomic_file(Path(target)) as file:
            shutil.copyfileobj(reader, file, 1 << 20)
        return
    # Object stores show a file when it is complete.
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def _rename_folder(folder: Path, target: Path) -> None:
    """Move a finished folder to its name; when another process was first, keep that one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync_tree(folder)
    try:
        folder.rename(target)
    except OSError:
        if (target / MANIFEST).exists():
            return
        # What a killed `prune` left of an older one would be in the way for ever.
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    sync_folder(target.parent)


@lru_cache
def code_digest(rooms: tuple[str, ...]) -> str:
    """Digest the source of some rooms, and the versions of the numeric libraries they call.

    A change of code must not meet results of the code before it.
    """
    digest = hashlib.sha256()
    for library in NUMERIC_LIBRARIES:
        digest.update(f"{library}=={version(library)}\n".encode())
    package = Path(__file__).parent
    for room in rooms:
        if not (package / room).is_dir():
            raise ValueError(f"no room named {room!r}")
        for file in sorted((package / room).rglob("*.py")):
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
