"""Vectors kept by text hash and model, so that only new texts are embedded.

A cache is a folder of immutable segments. A segment holds sorted keys, their vectors and a small
JSON with checksums; it is written under a temporary name and renamed. So any number of processes
may put and read at the same time, and a killed one leaves nothing half-written.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagsage.progress import track
from tagsage.vectors.files import (
    finished_folders,
    new_folder,
    remove_folder,
    remove_stale,
    safe_name,
    set_aside,
)
from tagsage.vectors.text import EMPTY_HASH, HASH_DTYPE, unique_texts

KEYS_FILE = "keys.npy"
VECTORS_FILE = "vectors.npy"
CHECK_FILE = "segment.json"

BLOCK_ROWS = 16_384
# Below this many segments a look-up is quick enough; above, the small ones are joined.
MAX_SEGMENTS = 32
SMALL_SEGMENT_ROWS = 262_144


@dataclass(frozen=True)
class _Segment:
    """One segment: sorted unique keys [n] S32 and their vectors [n, d] float32, memory-mapped."""

    folder: Path
    keys: NDArray[np.bytes_]
    vectors: NDArray[np.float32]
    checksum: int

    def find(self, hashes: NDArray[Any]) -> NDArray[np.int64]:
        """Return each hash's row in this segment, -1 for those it does not hold."""
        row = np.searchsorted(self.keys, hashes)
        row[row == len(self.keys)] = 0
        return np.where(self.keys[row] == hashes, row, -1)

    def is_sound(self) -> bool:
        """Tell whether the vectors are still those that were written."""
        return _checksum(self.vectors) == self.checksum


class VectorCache:
    """The vectors of one model.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of all caches; the model's segments lie in a folder below it.
    model_id : str
        Any string; vectors of different models never meet.
    dimensions : int
        Numbers in a vector.

    Raises
    ------
    ValueError
        When `dimensions` is below 1.
    """

    def __init__(self, folder: Path, model_id: str, dimensions: int) -> None:
        if dimensions < 1:
            raise ValueError(f"{dimensions=} must be at least 1")
        self.folder = folder / safe_name(model_id)
        self.model_id = model_id
        self.dimensions = dimensions
        self._sound: set[str] = set()

    def missing(self, hashes: NDArray[Any]) -> NDArray[np.int64]:
        """Return which texts have no vector yet.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            From :func:`tagsage.vectors.text.text_hashes`; may repeat.

        Returns
        -------
        numpy.ndarray of int64
            Rows of `hashes`, ascending: the first of each hash that the cache does not hold.
            Empty texts are never missing: their vector is zero.
        """
        rows = unique_texts(hashes)
        for segment in self._segments():
            rows = rows[segment.find(hashes[rows]) < 0]
        return rows

    def put(self, hashes: NDArray[Any], vectors: NDArray[np.float32]) -> None:
        """Keep vectors; idempotent, and safe while other processes put and read.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            The texts' hashes; of equal ones the first counts.
        vectors : numpy.ndarray of float32, shape (n, dimensions)
            Their vectors.

        Raises
        ------
        ValueError
            When the shapes do not agree or a number is not finite.
        """
        if vectors.shape != (len(hashes), self.dimensions):
            shape = (len(hashes), self.dimensions)
            raise ValueError(f"vectors have shape {vectors.shape}, not {shape}")
        if not np.isfinite(vectors).all():
            raise ValueError("vectors hold a number that is not finite")
        keys, first = np.unique(np.asarray(hashes, HASH_DTYPE), return_index=True)
        if len(keys):
            self._write(keys, vectors[first].astype(np.float32, copy=False))

    def gather(self, hashes: NDArray[Any], out: NDArray[np.float32]) -> int:
        """Copy the vectors of texts, in their order, block by block.

        Parameters
        ----------
        hashes : numpy.ndarray of S32, shape (n,)
            The texts' hashes; may repeat.
        out : numpy.ndarray of float32, shape (n, dimensions)
            Written in place, usually a memory map; rows of empty and of missing texts become zero.

        Returns
        -------
        int
            How many different texts are missing.

        Raises
        ------
        ValueError
            When `out` has another shape.
        """
        if out.shape != (len(hashes), self.dimensions):
            shape = (len(hashes), self.dimensions)
            raise ValueError(f"out has shape {out.shape}, not {shape}")
        segments = self._segments(check_vectors=True)
        unique, position = np.unique(hashes, return_inverse=True)
        source = np.full(len(unique), -1, np.int32)
        row = np.zeros(len(unique), np.int64)
        for number, segment in enumerate(segments):
            todo = np.flatnonzero(source < 0)
            found = segment.find(unique[todo])
            source[todo[found >= 0]] = number
            row[todo[found >= 0]] = found[found >= 0]
        source[unique == EMPTY_HASH] = -1

        for start in track(range(0, len(hashes), BLOCK_ROWS), "gathering vectors"):
            block = position[start : start + BLOCK_ROWS]
            part = np.zeros((len(block), self.dimensions), np.float32)
            for number in np.unique(source[block]):
                if number >= 0:
                    here = source[block] == number
                    part[here] = segments[number].vectors[row[block[here]]]
            out[start : start + BLOCK_ROWS] = part
        return int(np.sum((source < 0) & (unique != EMPTY_HASH)))

    def compact(self) -> int:
        """Join small segments into one, when there are many; vectors do not change.

        Other processes may put and read meanwhile: a reader that loses a segment reads again.

        Returns
        -------
        int
            How many segments were joined.
        """
        segments = self._segments(check_vectors=True)
        small = [segment for segment in segments if len(segment.keys) <= SMALL_SEGMENT_ROWS]
        if len(segments) <= MAX_SEGMENTS or len(small) < 2:
            return 0
        keys, first = np.unique(np.concatenate([s.keys for s in small]), return_index=True)
        starts = np.cumsum([0] + [len(segment.keys) for segment in small])
        number = np.searchsorted(starts, first, side="right") - 1
        joined = self._write(
            keys, _Joined([s.vectors for s in small], number, first - starts[number])
        )
        for segment in small:
            # One that held the keys of all others has their name and was kept.
            if segment.folder.name != joined:
                remove_folder(segment.folder)
        return len(small)

    def _write(self, keys: NDArray[np.bytes_], vectors: NDArray[np.float32] | _Joined) -> str:
        # Named after its keys: what is put twice, after a kill say, is one segment.
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
        with new_folder(self.folder / name) as folder:
            np.save(folder / KEYS_FILE, keys, allow_pickle=False)
            shape = (len(keys), self.dimensions)
            file = np.lib.format.open_memmap(
                folder / VECTORS_FILE, mode="w+", dtype=np.float32, shape=shape
            )
            for start in range(0, len(keys), BLOCK_ROWS):
                file[start : start + BLOCK_ROWS] = vectors[start : start + BLOCK_ROWS]
            file.flush()
            check = {"keys": _checksum(keys), "vectors": _checksum(file)}
            (folder / CHECK_FILE).write_text(json.dumps(check), encoding="utf-8")
        return name

    def _segments(self, *, check_vectors: bool = False) -> list[_Segment]:
        """Open the sound segments, by name; damaged ones are set aside."""
        while True:
            opened: list[_Segment] = []
            for folder in finished_folders(self.folder):
                try:
                    segment = self._open(folder)
                except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                    if not folder.exists():
                        break  # another process has just joined it with others: look again
                    set_aside(folder, str(error))
                    continue
                if check_vectors and folder.name not in self._sound:
                    if not segment.is_sound():
                        set_aside(folder, "its vectors do not match their checksum")
                        continue
                    self._sound.add(folder.name)
                opened.append(segment)
            else:
                return opened

    def _open(self, folder: Path) -> _Segment:
        check = json.loads((folder / CHECK_FILE).read_text(encoding="utf-8"))
        keys = np.load(folder / KEYS_FILE, allow_pickle=False)
        vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        if keys.dtype != HASH_DTYPE or keys.ndim != 1 or _checksum(keys) != check["keys"]:
            raise ValueError("its keys do not match their checksum")
        if vectors.shape != (len(keys), self.dimensions) or vectors.dtype != np.float32:
            raise ValueError(
                f"its vectors are {vectors.dtype} {vectors.shape}, "
                f"not float32 {(len(keys), self.dimensions)}"
            )
        return _Segment(folder, keys, vectors, check["vectors"])


class _Joined:
    """Rows of several arrays as if they were one; only slices are ever in memory."""

    def __init__(
        self,
        arrays: Sequence[NDArray[np.float32]],
        number: NDArray[np.int64],
        row: NDArray[np.int64],
    ) -> None:
        self.arrays, self.number, self.row = arrays, number, row

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        number, row = self.number[rows], self.row[rows]
        part = np.empty((len(row), self.arrays[0].shape[1]), np.float32)
        for source in np.unique(number):
            part[number == source] = self.arrays[source][row[number == source]]
        return part


def _checksum(array: NDArray[Any]) -> int:
    checksum = 0
    for start in range(0, len(array), BLOCK_ROWS):
        block = np.ascontiguousarray(array[start : start + BLOCK_ROWS])
        checksum = zlib.crc32(block.tobytes(), checksum)
    return checksum


def prune_caches(folder: Path, keep: Collection[str]) -> set[str]:
    """Remove the caches of other models, and leftovers of killed processes.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of all caches.
    keep : collection of str
        Ids of the models whose vectors stay.

    Returns
    -------
    set of str
        Names of the folders that were removed.
    """
    kept = {safe_name(model_id) for model_id in keep}
    removed = {cache.name for cache in finished_folders(folder) if cache.name not in kept}
    for name in removed:
        remove_folder(folder / name)
    for cache in finished_folders(folder):
        remove_stale(cache)
    return removed
